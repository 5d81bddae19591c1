//! The directory of a rig, which says by a lock that the rig is alive.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// What the names of these directories begin with.
pub const PREFIX: &str = "hawser-rig-";
/// The file whose lock is held as long as the rig is alive.
const LOCK: &str = "lock";

/// A directory below the system's temporary one. It is removed when this is dropped; if that never happens, by a rig that begins
/// later.
#[derive(Debug)]
pub struct Site {
    path: PathBuf,
    shared: PathBuf,
    // Held open for its lock.
    _lock: File,
}

impl Site {
    /// A new directory; those of rigs that died are removed.
    pub fn new() -> Self {
        sweep();
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
        let path = fs::canonicalize(path).unwrap();
        // It gets its name when it is locked: a directory without that file is one that is just being made.
        let draft = path.join("draft");
        let lock = File::create_new(&draft).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        fs::rename(draft, path.join(LOCK)).unwrap();
        let site = Self { shared: path.join("shared"), path, _lock: lock };
        for directory in [site.shared(), &site.disks()] {
            fs::create_dir(directory).unwrap();
        }
        site
    }

    /// What the nodes see too.
    pub fn shared(&self) -> &Path {
        &self.shared
    }

    /// Where the disks are.
    pub fn disks(&self) -> PathBuf {
        self.path.join("disks")
    }

    /// What belongs to one node alone; made if it is missing.
    pub fn of_node(&self, name: &str) -> PathBuf {
        let path = self.path.join("nodes").join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && !std::thread::panicking()
        {
            panic!("remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the directories whose lock nobody holds.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Another rig may be sweeping it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

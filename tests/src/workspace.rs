//! The directory of one case, and getting rid of it whatever is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

use crate::kernel::{loops_below, mounts_below};

/// How long a mount may stay busy before it is taken away lazily.
const BUSY: Duration = Duration::from_secs(5);

/// A temporary directory. When it is dropped, everything below it is unmounted, deepest first, every loop device that is bound
/// to a file below it is freed, and it is removed.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
}

impl Workspace {
    /// A new, empty directory below the system's temporary directory.
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// A new, empty directory below `parent`.
    pub fn within(parent: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("hawser-test-").tempdir_in(parent).unwrap().keep();
        Self { path: fs::canonicalize(directory).unwrap() }
    }

    /// Where it is, without a symlink in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made if it is missing.
    pub fn directory(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let begun = Instant::now();
        while let Some(mount) = mounts_below(&self.path).pop() {
            // A plugin that was killed in the middle of a cut may have left the filesystem frozen; unmounting would wait for ever.
            let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&mount.point).output();
            if unmount(&mount.point, UnmountFlags::NOFOLLOW).is_err() {
                if begun.elapsed() > BUSY {
                    let _ = unmount(&mount.point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        for bound in loops_below(&self.path) {
            let _ = Command::new("losetup").arg("--detach").arg(&bound.device).output();
        }
        if let Err(error) = fs::remove_dir_all(&self.path)
            && !std::thread::panicking()
        {
            panic!("remove {}: {error}", self.path.display());
        }
    }
}

//! Removing large trees: in parallel, step by step, so that it can stop anywhere and go on later.
//!
//! Directories are opened anew from the root of the tree with links and other mounts forbidden on the way, so what is planted in the tree
//! while it is removed leads nowhere. One level of paths is remembered, not descriptors, so no depth and no width exhausts them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use hawser_volume::{Error, Result};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use crate::beneath::Directory;
use crate::errno;
use crate::remote::{Pulse, is_stale};

/// The directories that are to be emptied, and those that are to be removed once all below them is gone.
#[derive(Default)]
struct Work {
    waiting: Vec<PathBuf>,
    found: Vec<PathBuf>,
    busy: usize,
    failure: Option<Error>,
}

struct Removal<'a> {
    directory: &'a Directory,
    pulse: &'a Pulse,
    work: Mutex<Work>,
    changed: Condvar,
    removed: AtomicU64,
}

/// Removes what is called `name` in `directory`, a tree or a file, with `workers` directories at a time. Returns how many files and
/// directories were removed. When it fails, or is killed, what is left is removed by the same call later.
pub fn remove(directory: &Directory, name: impl AsRef<OsStr>, workers: usize, pulse: &Pulse) -> Result<u64> {
    let name = name.as_ref();
    match directory.entry(name)? {
        None => return Ok(0),
        Some(entry) if !entry.is_directory => {
            directory.remove_file(name)?;
            return Ok(1);
        }
        Some(_) => {}
    }
    let removal = Removal {
        directory,
        pulse,
        work: Mutex::new(Work { waiting: vec![PathBuf::from(name)], ..Work::default() }),
        changed: Condvar::new(),
        removed: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.max(1) {
            scope.spawn(|| removal.run());
        }
        removal.run();
    });
    let work = removal.work.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut failure = work.failure;
    // A directory was found before what is in it; the other way round each is empty.
    for path in work.found.iter().rev() {
        pulse.beat();
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let removed = directory.enter(above).and_then(|parent| match parent {
            Some(parent) => parent.remove_directory(path.file_name().unwrap_or_default()).map(Some),
            None => Ok(None),
        });
        match unless_gone(directory, removed, None) {
            Ok(None) => {}
            Ok(Some(true)) => {
                removal.removed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Some(false)) => {
                failure.get_or_insert_with(|| {
                    Error::precondition(format!(
                        "{} is not empty yet: something is still made in it",
                        directory.shown().join(path).display()
                    ))
                });
            }
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(removal.removed.into_inner()), Err)
}

/// What came of working in a tree that others may remove at the same time. An NFS server does not know a directory any more that is gone;
/// then `gone` has come of it, unless it does not know the tree's root either.
fn unless_gone<T>(root: &Directory, result: Result<T>, gone: T) -> Result<T> {
    match result {
        Err(error) if is_stale(&error) && root.itself().is_ok() => Ok(gone),
        result => result,
    }
}

impl Removal<'_> {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties directories until there are none.
    fn run(&self) {
        let mut work = self.work();
        loop {
            if let Some(path) = work.waiting.pop() {
                work.busy += 1;
                work.found.push(path.clone());
                drop(work);
                let emptied = unless_gone(self.directory, self.empty(&path), Vec::new());
                work = self.work();
                work.busy -= 1;
                match emptied {
                    Ok(inner) => work.waiting.extend(inner.into_iter().map(|name| path.join(name))),
                    Err(error) => {
                        work.failure.get_or_insert(error);
                    }
                }
                self.changed.notify_all();
            } else if work.busy == 0 {
                return;
            } else {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Removes what is no directory, and says which directories there are.
    fn empty(&self, path: &Path) -> Result<Vec<OsString>> {
        let held = match self.directory.walk(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(held) => held,
            // Removed or replaced meanwhile; what replaced it is removed with the directory above, or the next time.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno::error(format!("open {}", self.directory.shown().join(path).display()), errno)),
        };
        let held = Directory::held(held, self.directory.shown().join(path));
        let failed = |name: &OsStr, errno| errno::error(format!("remove {}", held.shown().join(name).display()), errno);
        let mut directories = Vec::new();
        for name in held.names()? {
            self.pulse.beat();
            match rustix::fs::unlinkat(&held, &name, AtFlags::empty()) {
                Ok(()) => {
                    self.removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(Errno::NOENT) => {}
                // POSIX says EPERM for a directory, Linux EISDIR, and an NFS server what it likes. It may have gone since.
                Err(errno @ (Errno::ISDIR | Errno::PERM)) => match held.entry(&name)? {
                    Some(entry) if entry.is_directory => directories.push(name),
                    None => {}
                    Some(_) => return Err(failed(&name, errno)),
                },
                Err(errno) => return Err(failed(&name, errno)),
            }
        }
        Ok(directories)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_hostile_tree_goes_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let root = Directory::open(place.path()).unwrap();
        let tree = place.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::create_dir(place.path().join("outside")).unwrap();
        std::fs::write(place.path().join("outside/data"), "x").unwrap();
        std::fs::hard_link(place.path().join("outside/data"), tree.join("a/hard")).unwrap();
        symlink("/", tree.join("root")).unwrap();
        symlink(place.path().join("outside"), tree.join("a/b/out")).unwrap();
        std::fs::write(tree.join("x".repeat(255)), "").unwrap();
        std::fs::write(tree.join("new\nline"), "").unwrap();
        for number in 0..50 {
            std::fs::create_dir_all(tree.join(format!("wide{number}/deeper"))).unwrap();
            std::fs::write(tree.join(format!("wide{number}/deeper/file")), "x").unwrap();
        }
        let mut at = root.enter_existing("tree").unwrap();
        for _ in 0..60 {
            let name = "d".repeat(200);
            at.make(&name, 0o700).unwrap();
            at = at.enter_existing(&name).unwrap();
        }
        let removed = remove(&root, "tree", 4, &Pulse::default()).unwrap();
        assert_eq!(removed, 4 + 5 + 150 + 60);
        assert_eq!(remove(&root, "tree", 4, &Pulse::default()).unwrap(), 0);
        assert!(!tree.exists());
        assert_eq!(std::fs::read_to_string(place.path().join("outside/data")).unwrap(), "x");
        symlink(place.path().join("outside"), place.path().join("link")).unwrap();
        assert_eq!(remove(&root, "link", 4, &Pulse::default()).unwrap(), 1);
        assert!(place.path().join("outside/data").exists());
    }
}

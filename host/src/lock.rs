//! Locks between processes, on files.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use hawser_volume::{Deadline, Error, Result};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::errno::{self, Attempt};

/// A lock on a file (flock(2)), held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a program that is being started and has a copy of the descriptor for a moment.
        let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingUnlock);
    }
}

impl FileLock {
    /// Takes the lock alone on the file at `path`, which is created (mode 0600) when it is not there; waits until `deadline`.
    /// `Unavailable` when somebody else has it until then.
    pub fn acquire(path: &Path, deadline: Deadline) -> Result<Self> {
        Self::wait(path, deadline, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock together with others who take it so, as [`FileLock::acquire`] does.
    pub fn acquire_shared(path: &Path, deadline: Deadline) -> Result<Self> {
        Self::wait(path, deadline, FlockOperation::NonBlockingLockShared)
    }

    fn wait(path: &Path, deadline: Deadline, operation: FlockOperation) -> Result<Self> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Self::attempt(path, operation)? {
                return Ok(lock);
            }
            if deadline.passed() {
                return Err(Error::unavailable(format!("{} is locked by another process; try again later", path.display())));
            }
            std::thread::sleep(pause.min(deadline.remaining()));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Takes the lock alone if nobody has it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        Self::attempt(path, FlockOperation::NonBlockingLockExclusive)
    }

    fn attempt(path: &Path, operation: FlockOperation) -> Result<Option<Self>> {
        let what = || format!("lock {}", path.display());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).attempt(what)?);
        match rustix::fs::flock(&file, operation) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno::error(what(), errno)),
        }
        // A lock on a file that was removed or replaced meanwhile excludes nobody.
        let held = rustix::fs::fstat(&file).attempt(what)?;
        match rustix::fs::lstat(path) {
            Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => Ok(Some(Self { file })),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno::error(what(), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hawser_volume::Kind;

    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        let first = FileLock::try_acquire(&path).unwrap().unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        let error = FileLock::acquire(&path, Deadline::after(Duration::from_millis(30))).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("lock"));
        drop(first);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn a_lock_file_that_is_removed_all_the_time_still_excludes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = FileLock::acquire(&path, Deadline::after(Duration::from_secs(20))).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        std::fs::remove_file(&path).unwrap();
                    }
                });
            }
        });
    }
}

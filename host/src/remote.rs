//! Touching what may never answer.
//!
//! A call to a filesystem whose server is gone waits in the kernel for as long as the mount says, which may be for ever, and nothing but
//! the end of the process interrupts it. So it is made on a thread of its own, waited for with patience, and then left behind. Only work
//! that has no effect of its own may be left behind: it opens, asks or flushes, and whoever asked does the rest if the answer came.
//!
//! At most one such thread is left behind for one object: until it comes back, who asks again is told so at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hawser_volume::{Error, Result};

use crate::mountinfo::{MountEntry, MountTable};

/// How long a remote filesystem is waited for.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Whether what is mounted there is on another machine.
pub fn is_remote(mount: &MountEntry) -> bool {
    matches!(mount.filesystem.as_str(), "nfs" | "nfs4")
}

/// Whether an error says that the server answers, and does not know what was asked for any more: it was removed there, or the export is
/// another one now. Asking again does not help.
pub fn is_stale(error: &Error) -> bool {
    error.os_error().is_some_and(|cause| cause.raw_os_error() == Some(libc::ESTALE))
}

/// A sign of life of long work, which takes as long as it takes as long as it goes on.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Life>);

#[derive(Debug, Default)]
struct Life {
    beats: AtomicU64,
    stopped: AtomicBool,
}

impl Pulse {
    /// Something was done.
    pub fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was done.
    pub fn count(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// Asks whoever is at work to end soon, with an error.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked for that.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }
}

/// The touches that nobody waits for any more, by their object, and since when they hang.
static LEFT_BEHIND: Mutex<Option<HashMap<String, Instant>>> = Mutex::new(None);

fn left_behind() -> MutexGuard<'static, Option<HashMap<String, Instant>>> {
    LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work`, which touches what is at `path`: as [`within`] if that is remote, else as it is.
pub fn patiently<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let table = MountTable::read()?;
    match path.ancestors().find_map(|ancestor| table.top(ancestor)) {
        Some(mount) if is_remote(mount) => within(&object(mount), patience, work),
        _ => work(),
    }
}

/// What a remote mount is called in messages, and the object of touches.
pub(crate) fn object(mount: &MountEntry) -> String {
    format!("{} (mounted as device {})", mount.source.display(), mount.device)
}

/// Does `work` on a thread of its own and waits for at most `patience`; `object` is what it touches, for the message and for the rule
/// that one touch at a time is left behind. `Unavailable` when it does not come back in time, and at once while an earlier one has not.
pub fn within<T: Send + 'static>(
    object: &str,
    patience: Duration,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let silent = |since: Instant| {
        Error::unavailable(format!(
            "{object} has not answered for {} s; it is used again as soon as it answers",
            since.elapsed().as_secs().max(1)
        ))
    };
    if let Some(since) = left_behind().as_ref().and_then(|left| left.get(object)) {
        return Err(silent(*since));
    }
    let began = Instant::now();
    let (sender, receiver) = mpsc::sync_channel(1);
    let (key, span) = (object.to_owned(), tracing::Span::current());
    let touch = move || {
        let result = span.in_scope(work);
        // Who waits takes it; otherwise it is dropped here, with whatever it holds.
        let _ = sender.send(result);
        if let Some(left) = left_behind().as_mut() {
            left.remove(&key);
        }
    };
    thread::Builder::new()
        .name("touch".to_owned())
        .spawn(touch)
        .map_err(|error| Error::unavailable(format!("no thread to ask {object}")).caused_by(error))?;
    match receiver.recv_timeout(patience) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::internal(format!("asking {object} panicked; see the log"))),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            let mut left = left_behind();
            // It may have come back between the two.
            match receiver.try_recv() {
                Ok(result) => result,
                Err(_) => {
                    left.get_or_insert_default().insert(object.to_owned(), began);
                    tracing::warn!(object, seconds = patience.as_secs(), "no answer; the thread that asked is left behind");
                    Err(silent(began))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use hawser_volume::Kind;

    use super::*;

    #[test]
    fn a_touch_that_hangs_is_left_behind_once_and_recovers_by_itself() {
        let (release, held) = mpsc::channel::<()>();
        let hang = move || {
            let _ = held.recv();
            Ok(())
        };
        let error = within("a server", Duration::from_millis(50), hang).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        let second = within("a server", Duration::from_secs(60), || -> Result<()> { panic!("never asked") });
        assert_eq!(second.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(within("another server", Duration::from_secs(60), || Ok(7)).unwrap(), 7);
        release.send(()).unwrap();
        let began = Instant::now();
        while within("a server", Duration::from_secs(60), || Ok(())).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "it never recovers");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_is_stale_is_told_from_what_does_not_answer() {
        let failed = |errno| Error::unavailable("stat").caused_by(io::Error::from_raw_os_error(errno)).while_doing("stats");
        assert!(is_stale(&failed(libc::ESTALE)));
        assert!(!is_stale(&failed(libc::ETIMEDOUT)));
        assert!(!is_stale(&Error::unavailable("no")));
    }

    #[test]
    fn an_error_is_passed_on() {
        let result = within("x", Duration::from_secs(60), || -> Result<()> { Err(Error::not_found("no")) });
        assert_eq!(result.unwrap_err().kind(), Kind::NotFound);
    }
}

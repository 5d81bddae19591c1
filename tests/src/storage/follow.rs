//! Keeping a machine as a simulated storage system says: what it gives has a device there, and what it takes has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Who makes the devices of one machine.
pub(crate) trait Follow: Send + 'static {
    /// Waits until something may have changed, but not for long; then makes the machine as it is to be.
    fn look(&mut self);

    /// Takes from the machine what it must not keep.
    fn end(&mut self);
}

/// A thread that follows, until this is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    pub(crate) fn start(mut follower: impl Follow) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                follower.look();
            }
            follower.end();
        });
        Self { end, thread: Some(thread) }
    }

    /// Whether it follows: it ends early when a device cannot be made, and says why.
    pub(crate) fn is_well(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let followed = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = followed
            && !std::thread::panicking()
        {
            panic!("the devices were not followed to the end");
        }
    }
}

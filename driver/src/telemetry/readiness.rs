//! Whether a process serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does not serve yet.
    Starting = 0,
    /// It serves.
    Ready = 1,
    /// It was told to stop, and takes nothing new.
    Stopping = 2,
}

/// How far this process is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// It serves from now on, unless it is stopping already.
    pub fn ready(&self) {
        let _ = self.0.compare_exchange(State::Starting as u8, State::Ready as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// It takes nothing new from now on.
    pub fn stopping(&self) {
        self.0.store(State::Stopping as u8, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn state(&self) -> State {
        match self.0.load(Ordering::Relaxed) {
            0 => State::Starting,
            1 => State::Ready,
            _ => State::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_is_not_ready_again() {
        let readiness = Readiness::default();
        assert_eq!(readiness.state(), State::Starting);
        readiness.ready();
        assert_eq!(readiness.state(), State::Ready);
        readiness.stopping();
        readiness.ready();
        assert_eq!(readiness.state(), State::Stopping);
    }
}

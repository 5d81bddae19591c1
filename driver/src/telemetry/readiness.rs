//! Whether a process serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sd_notify::NotifyState;

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

/// How far a process, or a part of it, is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    state: Arc<AtomicU8>,
    /// Whether it is the whole process, which a service manager may wait for.
    is_whole: bool,
}

impl Readiness {
    /// That of the whole process: systemd is told, if it has asked (sd_notify(3)).
    pub fn of_process() -> Self {
        Self { is_whole: true, ..Self::default() }
    }

    /// It serves from now on, unless it is stopping already.
    pub fn ready(&self) {
        let (starting, ready) = (State::Starting as u8, State::Ready as u8);
        if self.state.compare_exchange(starting, ready, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.tell(NotifyState::Ready);
        }
    }

    /// It takes nothing new from now on.
    pub fn stopping(&self) {
        self.state.store(State::Stopping as u8, Ordering::Relaxed);
        self.tell(NotifyState::Stopping);
    }

    fn tell(&self, state: NotifyState<'_>) {
        if self.is_whole
            && let Err(error) = sd_notify::notify(false, &[state])
        {
            tracing::warn!(%error, "systemd could not be told how far this process is");
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
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

//! When a request is sent again.

use std::time::Duration;

use hawser_volume::attempt::{Repeat, jittered};

use crate::refusal::{Class, Refusal};

/// Most attempts at one action that EC2 or the network fails. Throttled ones are bounded by the deadline alone.
const FAILED_MAX: u32 = 8;

/// The pauses of one action.
#[derive(Debug)]
pub(crate) struct Pauses {
    repeat: Repeat,
    throttled: u32,
    failed: u32,
}

impl Pauses {
    pub(crate) fn new(repeat: Repeat) -> Self {
        Self { repeat, throttled: 0, failed: 0 }
    }

    /// How long to wait before the next attempt; nothing when there shall be none.
    pub(crate) fn after(&mut self, refusal: &Refusal) -> Option<Duration> {
        match refusal.class() {
            Class::Throttled => {
                self.throttled += 1;
                Some(jittered(Duration::from_millis(500), Duration::from_secs(20), self.throttled))
            }
            Class::Transient if self.repeat.allows(refusal.is_uncertain()) => {
                self.failed += 1;
                (self.failed < FAILED_MAX).then(|| jittered(Duration::from_millis(100), Duration::from_secs(5), self.failed))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Refusal {
        Refusal::unanswered("X", "lost", true)
    }

    #[test]
    fn what_may_have_been_done_is_not_sent_again() {
        assert!(Pauses::new(Repeat::IfNotDone).after(&lost()).is_none());
        assert!(Pauses::new(Repeat::IfNotDone).after(&Refusal::unanswered("X", "no route", false)).is_some());
        assert!(Pauses::new(Repeat::Always).after(&lost()).is_some());
    }

    #[test]
    fn attempts_end_and_pauses_are_bounded() {
        let mut pauses = Pauses::new(Repeat::Always);
        let all: Vec<Duration> = std::iter::from_fn(|| pauses.after(&lost())).take(100).collect();
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|pause| *pause <= Duration::from_secs(5)));
        let refused =
            Refusal::answered("X", 400, b"<Response><Errors><Error><Code>VolumeInUse</Code></Error></Errors></Response>");
        assert!(Pauses::new(Repeat::Always).after(&refused).is_none());
    }
}

//! When a request is sent again.

use std::time::Duration;

use hawser_volume::attempt::{Repeat, jittered};

use crate::refusal::{Class, Refusal};

/// Most rounds over all gateways of one call.
const ROUNDS_MAX: u32 = 6;

/// The pauses of one call.
#[derive(Debug)]
pub(crate) struct Pauses {
    repeat: Repeat,
    gateways: u32,
    failed: u32,
    busy: u32,
}

impl Pauses {
    /// For a call that `gateways` addresses can be asked for.
    pub(crate) fn new(repeat: Repeat, gateways: usize) -> Self {
        Self { repeat, gateways: u32::try_from(gateways).unwrap_or(u32::MAX).max(1), failed: 0, busy: 0 }
    }

    /// How long to wait before the next attempt; nothing when there shall be none. Within a round the next gateway is asked at once.
    pub(crate) fn after(&mut self, refusal: &Refusal) -> Option<Duration> {
        match refusal.class() {
            // The array has done nothing, and says so; how long that lasts is bounded by the deadline alone.
            Class::Busy => {
                self.busy += 1;
                Some(jittered(Duration::from_millis(250), Duration::from_secs(5), self.busy))
            }
            Class::Transient if self.repeat.allows(refusal.is_uncertain()) => {
                self.failed += 1;
                match (self.failed / self.gateways, self.failed % self.gateways) {
                    (rounds, _) if rounds >= ROUNDS_MAX => None,
                    (rounds, 0) => Some(jittered(Duration::from_millis(200), Duration::from_secs(5), rounds)),
                    _ => Some(Duration::ZERO),
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(uncertain: bool) -> Refusal {
        Refusal::unanswered("x", "lost", uncertain)
    }

    #[test]
    fn what_may_have_been_done_is_not_sent_again() {
        assert!(Pauses::new(Repeat::IfNotDone, 2).after(&lost(true)).is_none());
        assert!(Pauses::new(Repeat::IfNotDone, 2).after(&lost(false)).is_some());
        assert!(Pauses::new(Repeat::Always, 2).after(&lost(true)).is_some());
    }

    #[test]
    fn every_gateway_is_asked_at_once_and_rounds_end() {
        let mut pauses = Pauses::new(Repeat::Always, 3);
        let all: Vec<Duration> = std::iter::from_fn(|| pauses.after(&lost(true))).take(100).collect();
        assert_eq!(all.len(), 17);
        assert!(all.iter().enumerate().all(|(n, pause)| n % 3 == 2 || pause.is_zero()), "{all:?}");
        assert!(all.iter().all(|pause| *pause <= Duration::from_secs(5)));
    }

    #[test]
    fn a_refusal_is_not_sent_again() {
        let refused =
            Refusal::answered("x", 500, b"{\"message\":\"Volume is mapped\",\"httpStatusCode\":500,\"errorCode\":104}", false);
        assert!(Pauses::new(Repeat::Always, 1).after(&refused).is_none());
    }
}

//! Requests to a storage system: whether one may be sent again, how long to wait before that, and how often each was sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is the same as once: it reads, its name or token is a lock, or it names what to remove for ever.
    Always,
    /// Only when it surely was not done.
    IfNotDone,
}

impl Repeat {
    /// Whether one that failed may be sent again, which `uncertain`ly was done.
    pub fn allows(self, uncertain: bool) -> bool {
        self == Repeat::Always || !uncertain
    }
}

/// A random part of a span that doubles from `base` with each attempt, the first of which is 1, up to `most`: "full jitter"
/// (Brooker, Exponential Backoff And Jitter). Those that failed together do not come back together.
pub fn jittered(base: Duration, most: Duration, attempt: u32) -> Duration {
    base.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(most).mul_f64(fastrand::f64())
}

/// A client that counts what it sends to a storage system.
pub trait Requests: Send + Sync + std::fmt::Debug {
    /// Requests so far: action, what came of it in one word, and how many.
    fn requests(&self) -> Vec<(&'static str, &'static str, u64)>;

    /// How many of them were sent again, by action.
    fn repeats(&self) -> Vec<(&'static str, u64)>;
}

/// Requests by action and outcome, each attempt one.
#[derive(Debug)]
pub struct Counts<O>(Mutex<BTreeMap<(&'static str, O), u64>>);

impl<O> Default for Counts<O> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<O: Copy + Ord> Counts<O> {
    /// Counts one request.
    pub fn add(&self, action: &'static str, outcome: O) {
        *self.lock().entry((action, outcome)).or_default() += 1;
    }

    /// The counts now.
    pub fn read(&self) -> BTreeMap<(&'static str, O), u64> {
        self.lock().clone()
    }

    /// How often `action` was sent.
    pub fn of(&self, action: &str) -> u64 {
        self.lock().iter().filter(|((known, _), _)| *known == action).map(|(_, count)| count).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, O), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (base, most) = (Duration::from_millis(100), Duration::from_secs(5));
        for (attempt, span) in [(0, 100), (1, 100), (2, 200), (3, 400), (6, 3200), (7, 5000), (40, 5000), (u32::MAX, 5000)] {
            let pauses: Vec<Duration> = (0..200).map(|_| jittered(base, most, attempt)).collect();
            let (least, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*longest <= Duration::from_millis(span), "{attempt}: {longest:?}");
            // Two hundred throws come near both ends.
            assert!(*longest > Duration::from_millis(span * 3 / 4) && *least < Duration::from_millis(span / 4), "{attempt}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_sent_again_only_where_that_is_no_harm() {
        let all = [Repeat::Always, Repeat::IfNotDone].map(|repeat| [repeat.allows(true), repeat.allows(false)]);
        assert_eq!(all, [[true, true], [false, true]]);
    }

    #[test]
    fn each_action_is_counted_by_what_came_of_it() {
        let counts = Counts::default();
        for outcome in [true, false, true] {
            counts.add("Map", outcome);
        }
        counts.add("Unmap", true);
        assert_eq!((counts.of("Map"), counts.of("Unmap"), counts.of("Look")), (3, 1, 0));
        assert_eq!(counts.read(), BTreeMap::from([(("Map", true), 2), (("Map", false), 1), (("Unmap", true), 1)]));
    }
}

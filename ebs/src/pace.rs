//! How soon a look is worth it: how long EC2 takes to do a thing of one kind, as it has taken lately.
//!
//! Nothing that is looked for before it can be there is found, and each such look is a request. So the first look comes a [pause](PAUSE)
//! after the least time that such things take: who is served that quickly waits no longer than if there had been a look every pause, and
//! for the others that many looks are saved. The least time is found out on the way. Now and then it is tried whether something is there
//! as early as that, and if so it is less.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(400);

/// What the least time grows by when something took longer than expected. Little: most things take longer than the least time, and what is
/// asked for is not how long they take on the average.
const STEP: Duration = Duration::from_millis(20);

/// What one wait alone says of the least time is not taken for more than this: it may have been slow.
const ALONE_MAX: Duration = Duration::from_secs(2);

/// The least time is never taken for longer than this: nobody waits for an estimate.
const LEAST_MAX: Duration = Duration::from_secs(5);

/// A look that was due at a time is of a moment later.
const SLACK: Duration = Duration::from_millis(50);

/// One wait of so many is a try whether it is there as early as that.
const TRIED_EVERY: u32 = 8;

/// What is known of one kind of thing. It is a guess that saves requests, and nothing else depends on it.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    least: Duration,
    waits: u32,
}

impl Pace {
    /// When to look for what was asked for now: first after so long, and then every [`PAUSE`].
    pub fn first(&self) -> Duration {
        let mut known = self.known();
        known.waits = known.waits.saturating_add(1);
        let is_tried = known.waits % TRIED_EVERY == TRIED_EVERY / 2;
        if is_tried && !known.least.is_zero() { known.least } else { known.least + PAUSE }
    }

    /// It was not there yet when looked for after `missed` (zero: there was no such look), and it was there after `found`.
    pub fn took(&self, missed: Duration, found: Duration) {
        let mut known = self.known();
        known.least = if found <= known.least + SLACK {
            // Less than a pause is nothing that could be looked for earlier.
            Some(known.least / 2).filter(|half| *half >= PAUSE).unwrap_or_default()
        } else if missed + SLACK < known.least + PAUSE {
            known.least
        } else if known.least.is_zero() {
            missed.min(ALONE_MAX)
        } else {
            (known.least + STEP).min(LEAST_MAX)
        };
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for something that takes `needed`; returns how many looks that took, and how long it was there unseen.
    fn wait(pace: &Pace, needed: Duration) -> (u32, Duration) {
        let (mut at, mut missed, mut looks) = (pace.first(), Duration::ZERO, 1);
        while at < needed {
            (missed, at, looks) = (at, at + PAUSE, looks + 1);
        }
        pace.took(missed, at);
        (looks, at - needed)
    }

    #[test]
    fn what_always_takes_as_long_is_looked_for_once() {
        for millis in [0, 250, 1000, 1003, 2350] {
            let (pace, needed) = (Pace::default(), Duration::from_millis(millis));
            wait(&pace, needed);
            let waits: Vec<(u32, Duration)> = (0..64).map(|_| wait(&pace, needed)).collect();
            let looks: u32 = waits.iter().map(|(looks, _)| looks).sum();
            assert!(looks <= 64 + 16, "{millis} ms: {looks} looks for 64");
            assert!(waits.iter().all(|(_, unseen)| *unseen <= PAUSE), "{millis} ms: {waits:?}");
        }
    }

    #[test]
    fn what_takes_now_less_and_now_more_waits_hardly_longer_than_it_would_with_a_look_every_pause() {
        let pace = Pace::default();
        // 1 to 4 s, in no order that repeats soon.
        let needed = (0..1000_u64).map(|number| Duration::from_millis(1000 + number * 1_327 % 3_001));
        let waits: Vec<(u32, Duration)> = needed.map(|needed| wait(&pace, needed)).collect();
        let looks: u32 = waits.iter().map(|(looks, _)| looks).sum();
        let unseen: Duration = waits.iter().map(|(_, unseen)| *unseen).sum();
        // Every 400 ms would be 6800 looks, and 200 ms unseen.
        assert!(looks < 5000, "{looks} looks");
        assert!(unseen / 1000 < Duration::from_millis(350), "{:?} unseen", unseen / 1000);
    }

    #[test]
    fn what_was_slow_once_is_looked_for_soon_again() {
        let pace = Pace::default();
        wait(&pace, Duration::from_secs(60));
        for _ in 0..64 {
            wait(&pace, Duration::from_millis(100));
        }
        assert!(wait(&pace, Duration::from_millis(100)).1 <= PAUSE);
    }
}

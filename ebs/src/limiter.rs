//! How fast an action is sent: a bucket of tokens that slows down when EC2 says that there were too many.
//!
//! EC2 refills a bucket per account, region and action ("Request throttling for the Amazon EC2 API"). Requests that would be
//! refused cost tokens too, so a client that knows the rate gets more done than one that finds it out by refusals. Others may
//! share the account: each refusal lowers the rate, and each success raises it again, up to what is configured.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use hawser_volume::Deadline;
use tokio::time::Instant;

/// What a bucket holds and how fast it fills, in requests and requests a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests that may be sent at once.
    pub burst: f64,
    /// Requests a second after that.
    pub refill: f64,
}

/// The account's limits for actions that read, where AWS has set no others. One less than EC2 has at once: it counts a request
/// when it arrives, and its bucket began to fill a moment after ours.
pub const READING: Rate = Rate { burst: 99.0, refill: 20.0 };

/// The same for actions that change something.
pub const CHANGING: Rate = Rate { burst: 49.0, refill: 5.0 };

/// What is left of the rate after a refusal.
const SLOWER: f64 = 0.7;

/// How much of the configured rate a success gives back.
const FASTER: f64 = 0.02;

/// The slowest rate, as a part of the configured one.
const SLOWEST: f64 = 0.05;

/// Refusals this close together are one: they were sent before the first came back.
const SAME: Duration = Duration::from_secs(1);

/// One bucket an action.
#[derive(Debug)]
pub struct Limiter {
    buckets: Mutex<HashMap<&'static str, Bucket>>,
    factor: f64,
}

#[derive(Debug)]
struct Bucket {
    configured: Rate,
    /// Now, in requests a second.
    refill: f64,
    /// Below zero: so many wait.
    tokens: f64,
    at: Instant,
    slowed: Option<Instant>,
}

impl Bucket {
    fn new(configured: Rate, now: Instant) -> Self {
        Self { configured, refill: configured.refill, tokens: configured.burst, at: now, slowed: None }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.refill).min(self.configured.burst);
        self.at = now;
    }
}

impl Limiter {
    /// Buckets of `factor` times the usual rates: more for an account with higher limits, less for one that is shared.
    pub fn new(factor: f64) -> Self {
        Self { buckets: Mutex::default(), factor }
    }

    /// Waits for a token for `action`; false, and no token taken, when that would be after `deadline`.
    pub async fn wait(&self, action: &'static str, deadline: Deadline) -> bool {
        let pause = self.change(action, |bucket| {
            let pause = Duration::from_secs_f64(((1.0 - bucket.tokens) / bucket.refill).max(0.0));
            if pause > deadline.remaining() {
                return None;
            }
            bucket.tokens -= 1.0;
            Some(pause)
        });
        match pause {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                true
            }
            None => false,
        }
    }

    /// EC2 said that there were too many.
    pub fn refused(&self, action: &'static str) {
        let (refill, slowed) = self.change(action, |bucket| {
            let now = bucket.at;
            let first = bucket.slowed.is_none_or(|slowed| now.saturating_duration_since(slowed) >= SAME);
            if first {
                bucket.slowed = Some(now);
                bucket.refill = (bucket.refill * SLOWER).max(bucket.configured.refill * SLOWEST);
                // Its bucket is empty, whatever ours says.
                bucket.tokens = bucket.tokens.min(0.0);
            }
            (bucket.refill, first)
        });
        if slowed {
            tracing::info!(action, per_second = refill, "EC2 is asked more slowly");
        }
    }

    /// EC2 answered.
    pub fn answered(&self, action: &'static str) {
        self.change(action, |bucket| {
            bucket.refill = (bucket.refill + bucket.configured.refill * FASTER).min(bucket.configured.refill);
        });
    }

    fn change<T>(&self, action: &'static str, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bucket = buckets.entry(action).or_insert_with(|| {
            let rate = if action.starts_with("Describe") { READING } else { CHANGING };
            Bucket::new(Rate { burst: (rate.burst * self.factor).max(1.0), refill: rate.refill * self.factor }, now)
        });
        bucket.fill(now);
        change(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(limiter: &Limiter, action: &'static str, within: Duration) -> u32 {
        let end = Instant::now() + within;
        let mut count = 0;
        while Instant::now() < end {
            assert!(limiter.wait(action, Deadline::after(Duration::from_secs(60))).await);
            if Instant::now() < end {
                count += 1;
                limiter.answered(action);
            }
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_the_refill() {
        let limiter = Limiter::new(1.0);
        let count = sent(&limiter, "CreateVolume", Duration::from_secs(10)).await;
        assert!((98..=101).contains(&count), "{count}");
        // Another action has its own.
        assert!(sent(&limiter, "DeleteVolume", Duration::from_secs(1)).await >= 50);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_slow_it_down_and_answers_speed_it_up_again() {
        let limiter = Limiter::new(1.0);
        assert!(limiter.wait("AttachVolume", Deadline::after(Duration::from_secs(1))).await);
        for _ in 0..20 {
            // Those of one moment are one.
            limiter.refused("AttachVolume");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let slow = limiter.change("AttachVolume", |bucket| bucket.refill);
        assert!((slow - 3.5).abs() < 0.01, "{slow}");
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(2)).await;
            limiter.refused("AttachVolume");
        }
        let slowest = limiter.change("AttachVolume", |bucket| bucket.refill);
        assert!((slowest - 0.25).abs() < 0.01, "{slowest}");
        sent(&limiter, "AttachVolume", Duration::from_secs(120)).await;
        let again = limiter.change("AttachVolume", |bucket| bucket.refill);
        assert!((again - 5.0).abs() < 0.01, "{again}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_served_in_time_takes_no_token() {
        let limiter = Limiter::new(0.02);
        let soon = || Deadline::after(Duration::from_secs(5));
        assert!(limiter.wait("CreateVolume", soon()).await);
        for _ in 0..50 {
            assert!(!limiter.wait("CreateVolume", soon()).await);
        }
        assert!(limiter.wait("CreateVolume", Deadline::after(Duration::from_secs(60))).await);
    }
}

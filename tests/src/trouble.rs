//! What befalls requests to a simulated storage system.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// What befalls one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// It is refused as one too many.
    Throttle,
    /// The storage system fails before it has done anything.
    Fail,
    /// It is done, and the storage system fails to say so.
    FailAfter,
    /// It is lost on its way.
    LoseRequest,
    /// It is done, and the answer is lost.
    LoseAnswer,
}

/// How likely it is, of a thousand requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chances {
    /// To be throttled.
    pub throttle: u32,
    /// To fail, done or not.
    pub fail: u32,
    /// To be lost, done or not.
    pub lose: u32,
}

#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) asked: BTreeMap<String, u64>,
    pub(crate) throttled: u64,
    rate: Option<(f64, f64)>,
    buckets: BTreeMap<String, (f64, Instant)>,
    tricks: BTreeMap<String, VecDeque<Trick>>,
    chances: Chances,
    seed: u64,
}

impl Trouble {
    pub(crate) fn new(rate: Option<(f64, f64)>) -> Self {
        let (asked, buckets, tricks) = Default::default();
        Self { asked, throttled: 0, rate, buckets, tricks, chances: Chances::default(), seed: 1 }
    }

    pub(crate) fn chances(&mut self, chances: Chances, seed: u64) {
        (self.chances, self.seed) = (chances, seed.max(1));
    }

    pub(crate) fn trick(&mut self, action: &str, trick: Trick) {
        self.tricks.entry(action.to_owned()).or_default().push_back(trick);
    }

    /// What befalls the next request for `action`.
    pub(crate) fn next(&mut self, action: &str) -> Option<Trick> {
        *self.asked.entry(action.to_owned()).or_default() += 1;
        if let Some((burst, refill)) = self.rate {
            // As EC2 has it: twice as many at once to read, and four times as many after that.
            let (burst, refill) = if action.starts_with("Describe") { (burst * 2.0, refill * 4.0) } else { (burst, refill) };
            let now = Instant::now();
            let (tokens, at) = self.buckets.entry(action.to_owned()).or_insert((burst, now));
            *tokens = (*tokens + now.duration_since(*at).as_secs_f64() * refill).min(burst);
            *at = now;
            if *tokens < 1.0 {
                self.throttled += 1;
                return Some(Trick::Throttle);
            }
            *tokens -= 1.0;
        }
        if let Some(trick) = self.tricks.get_mut(action).and_then(VecDeque::pop_front) {
            return Some(trick);
        }
        let Chances { throttle, fail, lose } = self.chances;
        let (thrown, coin) = (self.roll() % 1000, self.roll().is_multiple_of(2));
        match thrown {
            n if n < throttle => Some(Trick::Throttle),
            n if n < throttle + fail => Some(if coin { Trick::Fail } else { Trick::FailAfter }),
            n if n < throttle + fail + lose => Some(if coin { Trick::LoseRequest } else { Trick::LoseAnswer }),
            _ => None,
        }
    }

    /// A number of xorshift64*.
    fn roll(&mut self) -> u32 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        u32::try_from(self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap()
    }
}

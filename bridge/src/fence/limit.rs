//! How often one volume may be taken over.
//!
//! A volume that goes back and forth between two nodes is in the hands of a mistake, and each move costs its users their mounts.
//! REX-Ray's preempt had no such limit, and volumes were left "attaching" for good (rexray/rexray issue 427).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

use super::moment::rfc3339;

/// At most `count` takeovers of one volume within `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: usize,
    /// Within which time.
    pub window: Duration,
}

impl Default for Limit {
    /// Three in ten minutes.
    fn default() -> Self {
        Self { count: 3, window: Duration::from_secs(600) }
    }
}

/// The takeovers of late, by volume. Failed ones count: they too have pulled at the volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Takeovers {
    by_volume: BTreeMap<String, Vec<Taken>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Taken(#[serde(with = "rfc3339")] SystemTime);

impl Takeovers {
    /// Counts a takeover of `volume` at `now`, or says in `Precondition` when the next one is allowed.
    ///
    /// A takeover that lies in the future was counted before the clock was set back; it counts as one of this moment.
    pub fn admit(&mut self, volume: &str, limit: Limit, now: SystemTime) -> Result<()> {
        for takeovers in self.by_volume.values_mut() {
            for taken in takeovers.iter_mut() {
                taken.0 = taken.0.min(now);
            }
            takeovers.retain(|taken| now.duration_since(taken.0).is_ok_and(|age| age < limit.window));
        }
        self.by_volume.retain(|_, takeovers| !takeovers.is_empty());
        let takeovers = self.by_volume.entry(volume.to_owned()).or_default();
        takeovers.sort();
        if takeovers.len() >= limit.count {
            let oldest = takeovers.get(takeovers.len() - limit.count).map_or(now, |taken| taken.0);
            // Rounded up, so that whoever comes at that second is let in.
            let next = humantime::format_rfc3339_seconds(oldest + limit.window + Duration::from_millis(999));
            return Err(Error::precondition(format!(
                "{volume} was taken over {} times in {}, which is the limit; the next time is {next}. Find out first why it moves",
                takeovers.len(),
                humantime::format_duration(limit.window)
            )));
        }
        takeovers.push(Taken(now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn the_fourth_takeover_waits_for_the_first_to_be_ten_minutes_old() {
        let mut takeovers = Takeovers::default();
        for (volume, seconds) in [("v", 0), ("v", 100), ("w", 150), ("v", 200)] {
            takeovers.admit(volume, Limit::default(), at(seconds)).unwrap();
        }
        let refused = takeovers.admit("v", Limit::default(), at(300)).unwrap_err();
        assert_eq!(refused.kind(), hawser_volume::Kind::Precondition);
        let next = humantime::format_rfc3339_seconds(at(600)).to_string();
        assert!(refused.to_string().contains(&next), "{refused} has not {next}");
        takeovers.admit("w", Limit::default(), at(300)).unwrap();
        assert!(takeovers.admit("v", Limit::default(), at(599)).is_err());
        takeovers.admit("v", Limit::default(), at(600)).unwrap();
        assert!(takeovers.admit("v", Limit::default(), at(601)).is_err(), "100, 200 and 600");
    }

    #[test]
    fn what_was_counted_survives_its_file() {
        let mut takeovers = Takeovers::default();
        for seconds in 0..3 {
            takeovers.admit("v", Limit::default(), at(seconds)).unwrap();
        }
        let text = serde_json::to_string(&takeovers).unwrap();
        let mut read: Takeovers = serde_json::from_str(&text).unwrap();
        assert_eq!(read, takeovers);
        assert!(read.admit("v", Limit::default(), at(3)).is_err());
        assert!(serde_json::from_str::<Takeovers>(r#"{"v":["yesterday"]}"#).is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_neither_forgets_nor_locks_out_for_years() {
        let mut takeovers = Takeovers::default();
        for seconds in 0..3 {
            takeovers.admit("v", Limit::default(), at(100_000_000 + seconds)).unwrap();
        }
        assert!(takeovers.admit("v", Limit::default(), at(0)).is_err());
        assert!(takeovers.admit("v", Limit::default(), at(599)).is_err());
        takeovers.admit("v", Limit::default(), at(600)).unwrap();
    }

    #[test]
    fn volumes_that_were_not_taken_of_late_are_forgotten() {
        let mut takeovers = Takeovers::default();
        for number in 0..100 {
            takeovers.admit(&format!("v{number}"), Limit::default(), at(0)).unwrap();
        }
        takeovers.admit("v", Limit::default(), at(600)).unwrap();
        assert_eq!(takeovers.by_volume.len(), 1);
        let none = Limit { count: 0, window: Duration::from_secs(1) };
        assert!(takeovers.admit("x", none, at(600)).is_err(), "no takeover at all is a limit too");
    }
}

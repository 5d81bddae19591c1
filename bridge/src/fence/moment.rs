//! A moment, told by two clocks: the one that people read, and the one that nobody sets.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, Serializer};

/// When something was said. Written in RFC 3339, in UTC, with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    wall: SystemTime,
    steady: Instant,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// This moment as people read it.
    pub fn wall(self) -> SystemTime {
        self.wall
    }

    /// How old this moment is at `now`, at most. The clock that says more counts: the steady one stands still while the machine
    /// sleeps, and the other one may be set back.
    pub fn age(self, now: Moment) -> Duration {
        now.steady.saturating_duration_since(self.steady).max(now.wall.duration_since(self.wall).unwrap_or_default())
    }

    /// How much time has passed until `now`, at least: what both clocks agree on.
    pub fn passed(self, now: Moment) -> Duration {
        now.steady.saturating_duration_since(self.steady).min(now.wall.duration_since(self.wall).unwrap_or_default())
    }

    /// This moment and `more`, by both clocks.
    #[must_use]
    pub fn later(self, more: Duration) -> Self {
        Self { wall: self.wall + more, steady: self.steady + more }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(self.wall))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Times as text, for records that people read too.
pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(|_| de::Error::custom(format!("{text:?} is no time as in RFC 3339")))
    }

    /// The same for a time that may be absent.
    pub mod option {
        use super::{Deserialize, Deserializer, Serializer, SystemTime};

        pub fn serialize<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
            #[derive(Deserialize)]
            struct Time(#[serde(with = "super")] SystemTime);

            Ok(Option::<Time>::deserialize(deserializer)?.map(|Time(time)| time))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_clock_that_is_set_back_or_a_machine_that_sleeps_makes_nothing_young() {
        let then = Moment::now();
        assert_eq!(then.age(then.later(MINUTE)), MINUTE);
        let set_back = Moment { wall: then.wall - MINUTE, steady: then.steady + MINUTE };
        assert_eq!((then.age(set_back), then.passed(set_back)), (MINUTE, Duration::ZERO));
        let slept = Moment { wall: then.wall + MINUTE, steady: then.steady };
        assert_eq!((then.age(slept), then.passed(slept)), (MINUTE, Duration::ZERO));
        assert_eq!(then.later(MINUTE).age(then), Duration::ZERO);
    }
}

//! Until when somebody waits.

use std::time::{Duration, Instant};

/// Longest time that a caller without a deadline is kept waiting; the work itself goes on.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(600);

/// A moment after which nobody waits any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `after` from now.
    pub fn after(after: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(after).unwrap_or(now + WITHOUT_DEADLINE))
    }

    /// The deadline of a gRPC call: its `grpc-timeout` header, else ten minutes.
    pub fn from_grpc_timeout(header: Option<&str>) -> Self {
        Self::after(header.and_then(parse_grpc_timeout).unwrap_or(WITHOUT_DEADLINE))
    }

    /// The moment itself.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The one that comes first.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The time that is left, zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// Reads `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_timeouts_of_real_callers_are_read() {
        for (text, expected) in [
            ("60100m", Some(Duration::from_millis(60_100))),
            ("120S", Some(Duration::from_secs(120))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("5", None),
            ("S", None),
            ("-1S", None),
            ("999999999S", None),
            ("5é", None),
        ] {
            assert_eq!(parse_grpc_timeout(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_header_makes_a_deadline(text in any::<String>()) {
            let _ = Deadline::from_grpc_timeout(Some(&text));
        }
    }
}

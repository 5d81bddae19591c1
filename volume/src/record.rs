//! What the records of several backends have in common.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// What a volume was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A snapshot, by native id.
    Snapshot(String),
    /// Another volume, by native id.
    Volume(String),
}

/// Nanoseconds since 1970, now, by this machine's clock: for people, nothing is decided by it.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The time that is so many nanoseconds after the beginning of 1970.
pub fn time_of(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

//! What is done with a snapshot that is there: volumes made from it shall be fast at once, and nobody shall remove it.

use hawser_volume::Deadline;
use serde::Deserialize;

use crate::client::{Anything, Call, Ec2};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

/// How long and how strictly a snapshot is kept from being removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `governance` or `compliance`.
    pub mode: String,
    /// For how many days.
    pub days: Option<u32>,
    /// Until when, as RFC 3339 writes it.
    pub until: Option<String>,
    /// Hours in which a lock for compliance can still be taken off.
    pub cool_off_hours: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Restores {
    #[serde(default, deserialize_with = "xml::items")]
    unsuccessful: Vec<Unsuccessful>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unsuccessful {
    #[serde(default, deserialize_with = "xml::items")]
    fast_snapshot_restore_state_error_set: Vec<StateError>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateError {
    #[serde(default)]
    availability_zone: String,
    error: Why,
}

#[derive(Debug, Deserialize)]
struct Why {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Ec2 {
    /// Makes volumes from a snapshot fast at once in `zones`. Done again it changes nothing.
    pub async fn enable_fast_restore(&self, id: &str, zones: &[String], deadline: Deadline) -> Result<(), Refusal> {
        const ACTION: &str = "EnableFastSnapshotRestores";
        let form = Form::new().with_list("AvailabilityZone", zones).with_list("SourceSnapshotId", [id]);
        let done: Restores = self.call(&Call::repeatable(ACTION, form), deadline).await?;
        // The whole is answered with 200 even when it failed in every zone.
        let first = done.unsuccessful.into_iter().flat_map(|failed| failed.fast_snapshot_restore_state_error_set).next();
        match first {
            None => Ok(()),
            Some(StateError { availability_zone, error }) => {
                Err(Refusal::told(ACTION, &error.code, format!("{} (in {availability_zone})", error.message)))
            }
        }
    }

    /// Locks a snapshot. Done again it changes nothing.
    pub async fn lock_snapshot(&self, id: &str, lock: &Lock, deadline: Deadline) -> Result<(), Refusal> {
        let form = Form::new()
            .with("SnapshotId", id)
            .with("LockMode", &lock.mode)
            .with_some("LockDuration", lock.days)
            .with_some("ExpirationDate", lock.until.as_ref())
            .with_some("CoolOffPeriod", lock.cool_off_hours);
        self.call::<Anything>(&Call::repeatable("LockSnapshot", form), deadline).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_refused_is_found_in_the_answer() {
        let text = "<EnableFastSnapshotRestoresResponse><requestId>r</requestId><successful/><unsuccessful><item><snapshotId>snap-1\
                    </snapshotId><fastSnapshotRestoreStateErrorSet><item><availabilityZone>us-east-1a</availabilityZone><error><code>\
                    InvalidZone</code><message>no</message></error></item></fastSnapshotRestoreStateErrorSet></item></unsuccessful>\
                    </EnableFastSnapshotRestoresResponse>";
        let read: Restores = quick_xml::de::from_str(text).unwrap();
        assert_eq!(read.unsuccessful[0].fast_snapshot_restore_state_error_set[0].error.message, "no");
    }
}

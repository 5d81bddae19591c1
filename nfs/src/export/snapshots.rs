//! Snapshots of volumes of an export.

use std::sync::Arc;
use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, ObjectName, Result};

use super::{Export, Page};
use crate::gate::is_silence;
use crate::record::{SnapshotRecord, State};

/// How long CreateSnapshot waits for a copy before it says that it is not ready.
const SNAPSHOT: Duration = Duration::from_secs(5);

impl Export {
    /// Cuts a snapshot of a volume, or finds the one that an earlier call cut. The copy goes on when it takes longer than some seconds.
    pub fn create_snapshot(self: &Arc<Self>, name: &ObjectName, source: &str, deadline: Deadline) -> Result<SnapshotRecord> {
        let (wanted, of) = (name.clone(), source.to_owned());
        let record = self.work(deadline, move |tree| tree.create_snapshot(&wanted, &of))?;
        if record.state != State::Filling {
            return Ok(record);
        }
        let patience = Deadline::after(SNAPSHOT.min(deadline.remaining()));
        match self.fill::<SnapshotRecord>(&record.id, patience) {
            Ok(false) => Ok(record),
            Ok(true) => self.snapshot(&record.id),
            // Another controller is at work on it.
            Err(error) if error.kind() == Kind::Unavailable && !is_silence(&error) => Ok(record),
            Err(error) if error.kind() == Kind::NotFound => Err(Error::internal(format!(
                "snapshot {0}:{1} is not complete, and its volume is gone; delete it",
                self.backend, record.id
            ))
            .caused_by(error)),
            Err(error) => Err(error),
        }
    }

    /// Removes a snapshot; success when it is gone already.
    pub fn delete_snapshot(self: &Arc<Self>, id: &str, deadline: Deadline) -> Result<()> {
        let id = id.to_owned();
        self.work(deadline, move |tree| tree.delete_snapshot(&id))?;
        self.collect();
        Ok(())
    }

    /// A snapshot by native id.
    pub fn snapshot(self: &Arc<Self>, id: &str) -> Result<SnapshotRecord> {
        let id = id.to_owned();
        self.quick(move |tree| {
            let (_, record) = tree.find::<SnapshotRecord>(&id)?;
            if record.state == State::Leaving {
                Err(Error::not_found(format!("snapshot {id} does not exist")))
            } else {
                Ok(record)
            }
        })
    }

    /// One page of snapshots, after `after`, of volume `source` only if one is given.
    pub fn snapshots(self: &Arc<Self>, source: Option<&str>, after: Option<&str>, max: usize) -> Result<Page<SnapshotRecord>> {
        let (source, after) = (source.map(str::to_owned), after.map(str::to_owned));
        self.quick(move |tree| {
            let is_listed = |record: &SnapshotRecord| {
                record.state != State::Leaving && source.as_ref().is_none_or(|source| record.source == *source)
            };
            let (items, next) = tree.page(after.as_deref(), max, is_listed)?;
            Ok(Page { items, next })
        })
    }
}

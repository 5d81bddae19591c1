//! Snapshots: a copy of a volume's tree, complete before it is called ready.
//!
//! A copy of a tree that is written meanwhile shows no single moment: each file in it is as it was while it was copied, as after a crash,
//! and two files may be of two moments. The record says which it is (`still`).

use hawser_host::step::Step;
use hawser_volume::record::now;
use hawser_volume::{Error, Kind, NativeId, ObjectName, Result};

use crate::layout::{self, SNAPSHOTS};
use crate::record::{FORMAT, SnapshotRecord, State, VolumeRecord};
use crate::tree::Tree;
use crate::versions::{self, Change};

impl Tree {
    /// Begins a snapshot of volume `source`, or finds the one that an earlier call began. It may have to be filled.
    pub(crate) fn create_snapshot(&self, name: &ObjectName, source: &str) -> Result<SnapshotRecord> {
        let digest = name.digest();
        loop {
            match self.of_digest::<SnapshotRecord>(&digest)? {
                Some(existing) if existing.state == State::Leaving => self.discard::<SnapshotRecord>(&existing.id)?,
                Some(existing) if existing.name == *name && existing.source == source => return Ok(existing),
                Some(existing) => {
                    return Err(Error::already_exists(format!(
                        "snapshot {:?} exists already as {}:{} of volume {}; use another name",
                        name.as_str(),
                        self.backend,
                        existing.id,
                        self.label(&existing.source)?
                    )));
                }
                None => {
                    if let Some(record) = self.try_create_snapshot(name, source)? {
                        return Ok(record);
                    }
                }
            }
        }
    }

    fn try_create_snapshot(&self, name: &ObjectName, source: &str) -> Result<Option<SnapshotRecord>> {
        let volume = self.ready::<VolumeRecord>(source)?;
        let id = NativeId::fresh(name);
        let record = SnapshotRecord {
            format: FORMAT,
            id: id.to_string(),
            name: name.clone(),
            source: source.to_owned(),
            size: volume.size,
            state: State::Filling,
            filler: None,
            still: volume.attachments.iter().all(|attachment| attachment.read_only),
            changing: 0,
            created: now(),
        };
        if !record.still {
            tracing::warn!(
                snapshot = record.id,
                volume = source,
                "the volume may be written while it is copied: each file of the snapshot will be as after a crash, and not all of one moment"
            );
        }
        let (draft, made) = self.draft()?;
        made.make(layout::data(&id), 0o700)?;
        versions::first(&made, &record)?;
        self.reached(Step::SnapshotCut)?;
        Ok(self.place(&draft, SNAPSHOTS, &id.digest)?.then_some(record))
    }

    /// Removes a snapshot; success when it is gone already.
    pub(crate) fn delete_snapshot(&self, id: &str) -> Result<()> {
        let leave = self.change(id, |mut record: SnapshotRecord| {
            if record.state == State::Leaving {
                return Ok(Change::Keep(()));
            }
            record.state = State::Leaving;
            Ok(Change::Write(record, ()))
        });
        match leave {
            Ok(()) => self.discard::<SnapshotRecord>(id),
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

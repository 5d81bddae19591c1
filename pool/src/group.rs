//! Group snapshots: several volumes cut while all of them stand still.

use std::sync::Arc;

use hawser_host::step::{self, Step};
use hawser_volume::record::{now, time_of};
use hawser_volume::{Deadline, Error, NativeId, ObjectName, Result};
use serde::{Deserialize, Serialize};

use crate::image::{self, Standstill};
use crate::layout::Shelf;
use crate::record::{FORMAT, SnapshotRecord, VolumeRecord};
use crate::snapshot::Cut;
use crate::store::{Locked, Pool, write_record};

/// A group snapshot as recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecord {
    pub(crate) format: u32,
    /// The native id.
    pub id: String,
    /// The name that the CO gave.
    pub name: ObjectName,
    /// The volumes, sorted by native id.
    pub sources: Vec<String>,
    /// Their snapshots, in the same order.
    pub members: Vec<String>,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
}

impl GroupRecord {
    /// When it was cut.
    pub fn created(&self) -> std::time::SystemTime {
        time_of(self.created)
    }
}

fn native(record: &GroupRecord) -> &str {
    &record.id
}

impl Pool {
    /// Cuts a snapshot of every volume in `sources` while none of them changes, or finds the group that an earlier call cut.
    ///
    /// Mounted filesystems are frozen together for the moment of the cut. `Precondition` for a raw device that is in use: it
    /// cannot be made to stand still from here.
    pub fn create_group(
        self: &Arc<Self>,
        name: &ObjectName,
        sources: &[String],
        deadline: Deadline,
    ) -> Result<(GroupRecord, Vec<SnapshotRecord>)> {
        self.require_images("group snapshots")?;
        let mut sources = sources.to_vec();
        sources.sort_unstable();
        sources.dedup();
        loop {
            if let Some(existing) = self.named::<GroupRecord>(Shelf::Groups, name)? {
                if existing.name == *name && existing.sources == sources {
                    return self.group(&existing.id);
                }
                return Err(Error::already_exists(format!(
                    "group snapshot {:?} exists already as {}:{} of other volumes; use another name",
                    name.as_str(),
                    self.backend,
                    existing.id
                )));
            }
            if let Some(made) = self.try_create_group(name, &sources, deadline)? {
                return Ok(made);
            }
        }
    }

    fn try_create_group(
        self: &Arc<Self>,
        name: &ObjectName,
        sources: &[String],
        deadline: Deadline,
    ) -> Result<Option<(GroupRecord, Vec<SnapshotRecord>)>> {
        // In the order of their ids, so that two groups with common volumes cannot wait for each other.
        let volumes: Vec<Locked<VolumeRecord>> = sources
            .iter()
            .map(|source| self.lock(Shelf::Volumes, source, |record: &VolumeRecord| &record.id, deadline))
            .collect::<Result<_>>()?;
        let id = NativeId::fresh(name);
        let mut cuts = Vec::with_capacity(volumes.len());
        {
            let _still = self.stand_still(&volumes)?;
            step::reached(Step::GroupStill);
            for volume in &volumes {
                let member: ObjectName = format!("{}@{}", hawser_volume::id::digest(&volume.record.id), id).parse()?;
                cuts.push(self.cut(volume, &member, Some(&id.to_string()))?);
            }
        }
        let members: Vec<SnapshotRecord> = cuts.iter().map(|cut| cut.record.clone()).collect();
        let record = GroupRecord {
            format: FORMAT,
            id: id.to_string(),
            name: name.clone(),
            sources: sources.to_vec(),
            members: members.iter().map(|member| member.id.clone()).collect(),
            created: now(),
        };
        // Members first: a group that exists is complete. Members whose group never came are swept; the group's draft is open
        // before the first of them stands, so that nobody sweeps meanwhile.
        let draft = self.draft()?;
        for Cut { record, draft: member, .. } in cuts {
            write_record(&member.folder, &record)?;
            let digest = record.name.digest();
            if !self.put(member, Shelf::Snapshots, &digest)? {
                return Err(Error::internal(format!("snapshot {} of a new group exists already", record.name)));
            }
        }
        step::reached(Step::MembersPlaced);
        write_record(&draft.folder, &record)?;
        if self.put(draft, Shelf::Groups, &id.digest)? {
            return Ok(Some((record, members)));
        }
        for member in &members {
            self.remove_snapshot(&member.id, deadline)?;
        }
        Ok(None)
    }

    fn stand_still(&self, volumes: &[Locked<VolumeRecord>]) -> Result<Standstill<'_>> {
        let mut paths = Vec::new();
        for volume in volumes {
            if !volume.record.attachments.iter().any(|a| !a.read_only) {
                continue;
            }
            let mounted = image::mount_points(self.host.as_ref(), &self.content(&volume.record))?;
            if mounted.is_empty() && self.is_in_use(volume)? {
                return Err(Error::precondition(format!(
                    "volume {}:{} is in use as a raw device and cannot be part of a group snapshot; detach it first",
                    self.backend, volume.record.id
                )));
            }
            paths.extend(mounted);
        }
        for path in &paths {
            self.host.sync(path)?;
        }
        Standstill::of(self.host.as_ref(), paths)
    }

    /// A group snapshot and its members, by native id.
    pub fn group(&self, id: &str) -> Result<(GroupRecord, Vec<SnapshotRecord>)> {
        let record = self.group_record(id)?;
        let members = record.members.iter().map(|member| self.snapshot(member)).collect::<Result<_>>()?;
        Ok((record, members))
    }

    pub(crate) fn group_record(&self, id: &str) -> Result<GroupRecord> {
        self.read(Shelf::Groups, id, native)
    }

    /// Removes a group snapshot and its members; success when it is gone already. `Invalid` when `members` is not empty and is
    /// not the list of its members.
    pub fn delete_group(&self, id: &str, members: &[String], deadline: Deadline) -> Result<()> {
        let group: Locked<GroupRecord> = match self.lock(Shelf::Groups, id, native, deadline) {
            Ok(group) => group,
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut given = members.to_vec();
        given.sort_unstable();
        let mut has = group.record.members.clone();
        has.sort_unstable();
        if !given.is_empty() && given != has {
            return Err(Error::invalid(format!(
                "snapshot_ids are not the members of group snapshot {}:{id}; it has {}",
                self.backend,
                has.join(", ")
            )));
        }
        for member in &group.record.members {
            self.remove_snapshot(member, deadline)?;
        }
        step::reached(Step::MembersRemoved);
        self.discard(group, id)
    }
}

//! Snapshots, alone and several at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_scaleio::volume::Volume as Found;
use hawser_scaleio::{Class, name};
use hawser_volume::{Deadline, Error, GroupSnapshotId, Kind, ObjectName, Result, SnapshotId, VolumeId, parameters};
use serde::Deserialize;

use super::array::Array;
use super::listing::page;
use super::volume::{look, must_look};
use super::{Native, ScaleIo};
use crate::provision::{GroupSnapshot, NewSnapshot, Page, Snapshot};

/// What stands for a volume that has gone while its snapshot stayed, which only somebody else's hand can bring about.
const GONE: &str = "0000000000000000";

/// Parameters of a VolumeSnapshotClass: there are none.
#[derive(Debug, Deserialize)]
struct SnapshotParameters {}

impl ScaleIo {
    fn snapshot_of(&self, system: &str, found: &Found) -> Result<Snapshot> {
        let id = |object: &str| format!("{system}-{object}");
        let group = found.group().map(|group| GroupSnapshotId::new(self.name.clone(), id(group))).transpose()?;
        Ok(Snapshot {
            id: SnapshotId::new(self.name.clone(), id(&found.id))?,
            source: self.volume_id(system, found.ancestor_volume_id.as_deref().unwrap_or(GONE))?,
            size: found.size(),
            created: found.created(),
            ready: true,
            group,
        })
    }

    pub(super) async fn cut(&self, name: &ObjectName, source: &VolumeId, new: NewSnapshot) -> Result<Snapshot> {
        parameters::read::<SnapshotParameters>("parameters", &new.parameters)?;
        let deadline = new.deadline;
        let own = name::snapshot(&self.config.name_prefix, name);
        // The name is looked for first: its snapshot may be of another volume, and this one may have gone since.
        let native = Native::of("volume", &self.name, source.native())?;
        let array = self.array(&native.system, deadline).await?;
        let told = |refusal: hawser_scaleio::Refusal| refusal.while_doing(format_args!("snapshot {name} of {source}"));
        let found = match array.gateways.volume_by_name(&own, deadline).await.map_err(told)? {
            Some(found) => found,
            None => {
                self.found(source, deadline).await?;
                let cut = [(native.object.clone(), own.clone())];
                let last = match array.gateways.snapshot_volumes(&native.system, &cut, false, deadline).await {
                    Ok(_) => None,
                    Err(refusal) if must_look(&refusal) => Some(refusal),
                    Err(refusal) => return Err(told(refusal)),
                };
                look(&array.gateways, &own, last, deadline).await?
            }
        };
        if found.ancestor_volume_id.as_deref() != Some(&native.object) {
            return Err(Error::already_exists(format!(
                "snapshot {name} is there, and is of volume {}, not of {source}; use another name",
                found.ancestor_volume_id.as_deref().unwrap_or("that is gone")
            )));
        }
        self.snapshot_of(&native.system, &found)
    }

    /// The snapshot, if it exists.
    async fn found_snapshot(&self, id: &SnapshotId, deadline: Deadline) -> Result<Option<(Arc<Array>, Native, Found)>> {
        let Some(native) = Native::parse(id.native()) else { return Ok(None) };
        let array = self.array(&native.system, deadline).await?;
        let found = array.gateways.volume(&native.object, deadline).await;
        let found = found.map_err(|refusal| refusal.while_doing(format_args!("look at snapshot {id}")))?;
        Ok(found.filter(Found::is_snapshot).map(|found| (array, native, found)))
    }

    pub(super) async fn one_snapshot(&self, id: &SnapshotId, deadline: Deadline) -> Result<Snapshot> {
        match self.found_snapshot(id, deadline).await? {
            Some((_, native, found)) => self.snapshot_of(&native.system, &found),
            None => Err(Error::not_found(format!("snapshot {id} does not exist"))),
        }
    }

    pub(super) async fn remove_snapshot(&self, id: &SnapshotId, deadline: Deadline) -> Result<()> {
        let Some((array, native, found)) = self.found_snapshot(id, deadline).await? else { return Ok(()) };
        if let Some(group) = found.group() {
            return Err(Error::invalid(format!(
                "snapshot {id} belongs to group {}:{}-{group}; remove the group",
                self.name, native.system
            )));
        }
        self.remove(&array.gateways, "snapshot", &found, deadline).await
    }

    pub(super) async fn all_snapshots(
        &self,
        source: Option<&VolumeId>,
        after: Option<&str>,
        max: usize,
        deadline: Deadline,
    ) -> Result<Page<Snapshot>> {
        let of = match source {
            None => None,
            Some(source) => match Native::parse(source.native()).filter(|_| *source.backend() == self.name) {
                Some(native) => Some(native),
                None => return Ok(Page { items: Vec::new(), next: None }),
            },
        };
        let is_of = |native: &Native, found: &Found| {
            of.as_ref().is_none_or(|of| of.system == native.system && found.ancestor_volume_id.as_deref() == Some(&of.object))
        };
        let all = self.everything(deadline).await?;
        let snapshots = all.into_iter().filter(|(native, _, found)| found.is_snapshot() && is_of(native, found));
        let page = page(snapshots.map(|(native, _, found)| (native, found)).collect(), after, max)?;
        let items = page.items.iter().map(|(native, found)| self.snapshot_of(&native.system, found)).collect::<Result<_>>()?;
        Ok(Page { items, next: page.next })
    }

    pub(super) async fn cut_group(&self, name: &ObjectName, sources: &[VolumeId], new: NewSnapshot) -> Result<GroupSnapshot> {
        parameters::read::<SnapshotParameters>("parameters", &new.parameters)?;
        let deadline = new.deadline;
        let natives: BTreeSet<Native> =
            sources.iter().map(|source| Native::of("volume", &self.name, source.native())).collect::<Result<_>>()?;
        let system = match natives.iter().map(|native| &native.system).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()[..]
        {
            [system] => system.clone(),
            [] => return Err(Error::invalid("source_volume_ids is empty")),
            _ => return Err(Error::invalid("source_volume_ids: all volumes of a group must be of one system")),
        };
        let array = self.array(&system, deadline).await?;
        let told = |refusal: hawser_scaleio::Refusal| refusal.while_doing(format_args!("group snapshot {name}"));
        let first = name::group_first(&self.config.name_prefix, name);
        let found = match array.gateways.volume_by_name(&first, deadline).await.map_err(told)? {
            Some(found) => found,
            None => {
                for source in sources {
                    self.found(source, deadline).await?;
                }
                let member = |(number, native): (usize, &Native)| {
                    let other = || name::group_member(&self.config.name_prefix, name, &native.object);
                    (native.object.clone(), if number == 0 { first.clone() } else { other() })
                };
                let cuts: Vec<(String, String)> = natives.iter().enumerate().map(member).collect();
                let last = match array.gateways.snapshot_volumes(&system, &cuts, false, deadline).await {
                    Ok(_) => None,
                    Err(refusal) if must_look(&refusal) => Some(refusal),
                    Err(refusal) => return Err(told(refusal)),
                };
                look(&array.gateways, &first, last, deadline).await?
            }
        };
        let group =
            found.group().ok_or_else(|| Error::internal(format!("the array has snapshot {first} in no group")))?.to_owned();
        let group = self.group_of(&array, &system, &group, deadline).await?;
        let wanted: BTreeSet<VolumeId> = sources.iter().cloned().collect();
        let has: BTreeSet<VolumeId> = group.members.iter().map(|member| member.source.clone()).collect();
        if has != wanted {
            return Err(Error::already_exists(format!(
                "group snapshot {name} is there, and is of other volumes; use another name"
            )));
        }
        Ok(group)
    }

    async fn group_of(&self, array: &Array, system: &str, group: &str, deadline: Deadline) -> Result<GroupSnapshot> {
        let what = || format!("group snapshot {}:{system}-{group}", self.name);
        let all = array.gateways.volumes(deadline).await.map_err(|refusal| refusal.while_doing(what()))?;
        let own: BTreeMap<&str, &Found> =
            all.iter().filter(|found| found.group() == Some(group)).map(|found| (found.id.as_str(), found)).collect();
        let created = own.values().map(|found| found.created()).min();
        let created = created.ok_or_else(|| Error::not_found(format!("{} does not exist", what())))?;
        let members = own.values().map(|found| self.snapshot_of(system, found)).collect::<Result<_>>()?;
        Ok(GroupSnapshot { id: GroupSnapshotId::new(self.name.clone(), format!("{system}-{group}"))?, created, members })
    }

    pub(super) async fn one_group(&self, id: &GroupSnapshotId, deadline: Deadline) -> Result<GroupSnapshot> {
        let native = Native::of("group snapshot", &self.name, id.native())?;
        let array = self.array(&native.system, deadline).await?;
        self.group_of(&array, &native.system, &native.object, deadline).await
    }

    pub(super) async fn remove_group(&self, id: &GroupSnapshotId, members: &[SnapshotId], deadline: Deadline) -> Result<()> {
        let Some(native) = Native::parse(id.native()) else { return Ok(()) };
        let array = self.array(&native.system, deadline).await?;
        let group = match self.group_of(&array, &native.system, &native.object, deadline).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            group => group?,
        };
        let has: BTreeSet<&SnapshotId> = group.members.iter().map(|member| &member.id).collect();
        if members.iter().any(|member| !has.contains(member)) || (!members.is_empty() && members.len() != has.len()) {
            return Err(Error::invalid(format!("snapshot_ids are not those of group snapshot {id}; it has {}", has.len())));
        }
        match array.gateways.remove_group(&native.system, &native.object, deadline).await {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.class() == Class::NotFound => Ok(()),
            Err(refusal) => Err(refusal.while_doing(format_args!("remove group snapshot {id}"))),
        }
    }
}

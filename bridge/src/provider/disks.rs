//! The disks that a provider has.

use hawser_proto::mesos::v1::Resource;
use hawser_volume::{Access, Result};
use serde::{Deserialize, Serialize};

use super::format::Stored;
use super::resource::{disk_id, source};
use super::rivals::ADOPTED;
use super::state::{State, is_pending};
use crate::driver::Context;
use crate::ledger::{Batch, Section};

/// A disk that was made, or that was there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskEntry {
    /// What CreateVolume said of it.
    #[serde(default)]
    pub(super) context: Context,
    pub(super) access: Access,
    /// As it is offered, allocated to nobody.
    pub(super) resource: Stored<Resource>,
}

impl DiskEntry {
    /// When an operator had it offered here, in seconds since 1970; 0 for one that was made here.
    pub(super) fn adopted_at(&self) -> u64 {
        let labels = source(&self.resource.0).and_then(|source| source.metadata.as_ref()).map(|metadata| &metadata.labels);
        let label = labels.into_iter().flatten().find(|label| label.key == ADOPTED);
        label.and_then(|label| label.value.as_ref()?.parse().ok()).unwrap_or(0)
    }
}

impl State {
    pub(super) fn disk(&self, id: &str) -> Option<&DiskEntry> {
        self.disks.get(id)
    }

    pub(super) fn disks(&self) -> impl Iterator<Item = &DiskEntry> {
        self.disks.values()
    }

    pub(super) fn disks_by_id(&self) -> impl Iterator<Item = (&str, &DiskEntry)> {
        self.disks.iter().map(|(id, disk)| (id.as_str(), disk))
    }

    pub(super) fn is_without_disks(&self) -> bool {
        self.disks.is_empty()
    }

    /// Adds a disk that was there before.
    pub(super) fn add_disk(&mut self, id: &str, entry: DiskEntry) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(Section::Disks, id, &entry)?;
        self.write(batch)?;
        self.totals.add(&entry.resource.0);
        self.disks.insert(id.to_owned(), entry);
        Ok(())
    }

    /// Forgets a disk, whose volume stays.
    pub(super) fn remove_disk(&mut self, id: &str) -> Result<()> {
        let Some(entry) = self.disks.get(id).cloned() else { return Ok(()) };
        let mut batch = Batch::default();
        batch.remove(Section::Disks, id);
        self.write(batch)?;
        self.totals.subtract(&entry.resource.0)?;
        self.disks.remove(id);
        Ok(())
    }

    /// Whether the disk is being destroyed.
    pub(super) fn is_going(&self, id: &str) -> bool {
        self.operations().any(|(_, operation)| {
            let source = operation.info.destroy_disk.as_ref().map(|destroy| &destroy.source);
            is_pending(operation) && source.and_then(disk_id) == Some(id)
        })
    }
}

//! Who has a volume. The controller side grants, the node side takes what was granted to it.

use std::path::PathBuf;

use hawser_host::machine;
use hawser_host::step::{self, Step};
use hawser_volume::{Access, Attachment, Deadline, Error, NodeId, Result, VolumeId, attachment};

use crate::layout::{DATA, IMAGE, Shelf};
use crate::record::VolumeRecord;
use crate::store::{Kind, Locked, Pool};

/// What a node needs to use a volume that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The image or the directory.
    pub path: PathBuf,
    /// Without writing.
    pub read_only: bool,
    /// As a raw device.
    pub block: bool,
    /// The attachment's number.
    pub epoch: u64,
}

fn native(record: &VolumeRecord) -> &str {
    &record.id
}

impl Pool {
    /// Grants `id` to `node`.
    ///
    /// * the same grant again: success, the same epoch;
    /// * another grant to the same node: `AlreadyExists`;
    /// * another node has it and either wants it alone: `Precondition`, naming the node;
    /// * an unknown volume or node: `NotFound`.
    pub fn attach(&self, id: &str, node: &NodeId, access: &Access, read_only: bool, deadline: Deadline) -> Result<Attachment> {
        let mut volume: Locked<VolumeRecord> = self.lock(Shelf::Volumes, id, native, deadline)?;
        self.require_node(node)?;
        let read_only = read_only || access.mode.is_read_only();
        let label = self.volume_id(id)?;
        if let Some(existing) = attachment::grant(&volume.record.attachments, &label, node, access, read_only)? {
            return Ok(existing.clone());
        }
        self.require_room(node)?;
        volume.record.epoch += 1;
        let attachment = Attachment::new(node, access, read_only, volume.record.epoch);
        volume.record.attachments.push(attachment.clone());
        volume.save()?;
        step::reached(Step::AttachmentRecorded);
        Ok(attachment)
    }

    fn volume_id(&self, id: &str) -> Result<VolumeId> {
        VolumeId::new(self.backend.clone(), id)
    }

    fn require_room(&self, node: &NodeId) -> Result<()> {
        let Some(limit) = self.config.max_volumes_per_node else { return Ok(()) };
        let volumes = self.page::<VolumeRecord>(Shelf::Volumes, None, usize::MAX)?.items;
        attachment::require_room(&self.backend, node, limit, volumes.iter().map(|volume| &volume.attachments[..]))
    }

    /// Withdraws `id` from `node`, or from every node. A volume or node that is gone is success.
    ///
    /// A node of this machine that still has the volume in use keeps it (`Precondition`): its next write would go to a volume
    /// that may be elsewhere by then. Whether a node of another machine still uses it cannot be seen from here; the caller's
    /// word is taken for it.
    pub fn detach(&self, id: &str, node: Option<&NodeId>, deadline: Deadline) -> Result<()> {
        let mut volume: Locked<VolumeRecord> = match self.lock(Shelf::Volumes, id, native, deadline) {
            Ok(volume) => volume,
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let leaving = |a: &Attachment| node.is_none_or(|node| a.node == *node);
        let boot = machine::boot_id()?;
        for attachment in volume.record.attachments.iter().filter(|a| leaving(a)) {
            if attachment.is_taken_in(&boot) && self.is_in_use(&volume)? {
                return Err(Error::precondition(format!(
                    "volume {}:{id} is still staged on node {}; it can be detached when NodeUnstageVolume has succeeded there",
                    self.backend, attachment.node
                )));
            }
        }
        let before = volume.record.attachments.len();
        volume.record.attachments.retain(|a| !leaving(a));
        if volume.record.attachments.len() < before {
            volume.save()?;
            step::reached(Step::DetachmentRecorded);
        }
        Ok(())
    }

    /// Takes for `node` what was granted to it, and has `hold` take hold of the content before anybody can withdraw it again: a
    /// [`Pool::detach`] comes before, and nothing is taken, or after, and sees that the content is in use. `Precondition` when
    /// nothing was granted: another node may have the volume.
    pub fn take<T>(&self, id: &str, node: &NodeId, deadline: Deadline, hold: impl FnOnce(&Claim) -> Result<T>) -> Result<T> {
        let mut volume: Locked<VolumeRecord> = self.lock(Shelf::Volumes, id, native, deadline)?;
        let path = self.content(&volume.record);
        let boot = machine::boot_id()?;
        let granted = volume.record.attachments.iter().position(|a| a.node == *node);
        let Some(attachment) = granted.map(|at| &mut volume.record.attachments[at]) else {
            return Err(attachment::not_granted(&volume.record.attachments, &self.volume_id(id)?, node));
        };
        let claim = Claim { path, read_only: attachment.read_only, block: attachment.block, epoch: attachment.epoch };
        if !attachment.is_taken_in(&boot) {
            attachment.taken = Some(boot);
            volume.save()?;
            step::reached(Step::VolumeTaken);
        }
        hold(&claim)
    }

    /// Gives back what [`Pool::take`] took; `last` is called, with the content's path, if no other node of this machine has the
    /// volume, and must succeed first. A volume that is gone is success.
    pub fn give_back(
        &self,
        id: &str,
        node: &NodeId,
        deadline: Deadline,
        last: impl FnOnce(&std::path::Path) -> Result<()>,
    ) -> Result<()> {
        let mut volume: Locked<VolumeRecord> = match self.lock(Shelf::Volumes, id, native, deadline) {
            Ok(volume) => volume,
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let boot = machine::boot_id()?;
        let shared = volume.record.attachments.iter().any(|a| a.node != *node && a.is_taken_in(&boot));
        if !shared {
            last(&self.content(&volume.record))?;
            step::reached(Step::DeviceFreed);
        }
        let Some(attachment) = volume.record.attachments.iter_mut().find(|a| a.node == *node) else { return Ok(()) };
        if attachment.taken.take().is_some() {
            volume.save()?;
            step::reached(Step::VolumeGivenBack);
        }
        Ok(())
    }

    /// Whether another node of this machine has taken the volume too.
    pub fn is_shared_here(&self, id: &str, node: &NodeId) -> Result<bool> {
        let boot = machine::boot_id()?;
        match self.read(Shelf::Volumes, id, native) {
            Ok(record) => Ok(record.attachments.iter().any(|a| a.node != *node && a.is_taken_in(&boot))),
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The image or directory of a volume.
    pub(crate) fn content(&self, record: &VolumeRecord) -> PathBuf {
        let digest = record.id.split('-').next().unwrap_or_default();
        self.layout.object(Shelf::Volumes, digest).join(match self.config.kind {
            Kind::Image => IMAGE,
            Kind::Directory => DATA,
        })
    }

    /// Whether this machine has the volume in use: its image bound to a device, or its directory mounted.
    pub(crate) fn is_in_use(&self, volume: &Locked<VolumeRecord>) -> Result<bool> {
        let content = self.content(&volume.record);
        match self.config.kind {
            Kind::Image => Ok(!self.host.loops_of(&content)?.is_empty()),
            Kind::Directory => self.is_mounted(&content),
        }
    }

    fn is_mounted(&self, directory: &std::path::Path) -> Result<bool> {
        let mounts = self.host.mounts()?;
        Ok(mounts.locate(directory).is_some_and(|(device, root)| {
            mounts.entries().iter().any(|entry| entry.device == device && entry.root == root && entry.mount_point != directory)
        }))
    }
}

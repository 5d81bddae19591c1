//! Who has a volume. The controller side grants, the node side takes what was granted to it, and refuses to mount anything else.
//!
//! An NFS server lets every client write at any time. That only one node has a SINGLE_NODE_WRITER volume is therefore a matter of record:
//! the record next to the volume names the holder and counts attachments, a node asks it before it mounts, and what is granted to one
//! node goes to another only after it was withdrawn from the first, by name.

use std::path::PathBuf;

use hawser_host::machine;
use hawser_host::step::Step;
use hawser_volume::{Access, Attachment, Error, Kind, NodeId, Result, attachment};

use crate::record::{State, VolumeRecord, now};
use crate::tree::{Tree, content};
use crate::versions::Change;

/// What a node needs to use a volume that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its directory, relative to the export.
    pub path: PathBuf,
    /// Without writing.
    pub read_only: bool,
    /// The attachment's number.
    pub epoch: u64,
}

impl Tree {
    /// Grants `id` to `node`: see [`attachment::grant`]. `NotFound` for an unknown volume or node.
    pub(crate) fn attach(&self, id: &str, node: &NodeId, access: &Access, read_only: bool) -> Result<Attachment> {
        let read_only = read_only || access.mode.is_read_only();
        let label = self.label(id)?;
        let (_, record) = self.find::<VolumeRecord>(id)?;
        self.require_node(node)?;
        if !record.attachments.iter().any(|a| a.node == *node) {
            self.require_room(node)?;
        }
        let attachment = self.change(id, |mut record: VolumeRecord| {
            match record.state {
                State::Ready => {}
                State::Filling => {
                    return Err(Error::unavailable(format!("volume {label} is not complete yet; repeat CreateVolume")));
                }
                State::Leaving => return Err(Error::not_found(format!("volume {label} is being deleted"))),
            }
            if let Some(existing) = attachment::grant(&record.attachments, &label, node, access, read_only)? {
                return Ok(Change::Keep(existing.clone()));
            }
            record.epoch += 1;
            let attachment = Attachment {
                node: node.clone(),
                mode: access.mode,
                block: access.is_block(),
                read_only,
                epoch: record.epoch,
                since: now(),
                taken: None,
            };
            record.attachments.push(attachment.clone());
            Ok(Change::Write(record, attachment))
        })?;
        self.reached(Step::AttachmentRecorded)?;
        Ok(attachment)
    }

    fn require_room(&self, node: &NodeId) -> Result<()> {
        let Some(limit) = self.config.max_volumes_per_node else { return Ok(()) };
        let (volumes, _) = self.page::<VolumeRecord>(None, usize::MAX, |_| true)?;
        let has = volumes.iter().filter(|volume| volume.attachments.iter().any(|a| a.node == *node)).count();
        if has >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Error::exhausted(format!(
                "node {node} has {has} volumes of backend {} and may have {limit}; detach one or raise `max-volumes-per-node`",
                self.backend
            )));
        }
        Ok(())
    }

    /// Withdraws `id` from `node`, or from every node. A volume or node that is gone is success. `Precondition` while a node of this
    /// machine has it mounted (`is_mounted`); of other machines the caller's word is taken.
    pub(crate) fn detach(
        &self,
        id: &str,
        node: Option<&NodeId>,
        is_mounted: impl Fn(&VolumeRecord) -> Result<bool>,
    ) -> Result<()> {
        let leaving = |a: &Attachment| node.is_none_or(|node| a.node == *node);
        let boot = machine::boot_id()?;
        let withdrawn = self.change(id, |mut record: VolumeRecord| {
            for attachment in record.attachments.iter().filter(|a| leaving(a)) {
                if attachment.taken.as_deref() == Some(&boot) && is_mounted(&record)? {
                    return Err(Error::precondition(format!(
                        "volume {} is still staged on node {}; it can be detached when NodeUnstageVolume has succeeded there",
                        self.label(id)?,
                        attachment.node
                    )));
                }
            }
            let before = record.attachments.len();
            record.attachments.retain(|a| !leaving(a));
            Ok(if record.attachments.len() < before { Change::Write(record, ()) } else { Change::Keep(()) })
        });
        gone_is_done(withdrawn)?;
        self.reached(Step::DetachmentRecorded)
    }

    /// Takes for `node` what was granted to it. `Precondition`, naming who has the volume, when nothing was.
    pub(crate) fn take(&self, id: &str, node: &NodeId) -> Result<Claim> {
        let boot = machine::boot_id()?;
        let claim = self.change(id, |mut record: VolumeRecord| {
            if record.state == State::Leaving {
                return Err(Error::not_found(format!("volume {} is being deleted", self.label(id)?)));
            }
            let path = content(&record)?;
            let Some(at) = record.attachments.iter().position(|a| a.node == *node) else {
                return Err(attachment::not_granted(&record.attachments, &self.label(id)?, node));
            };
            let attachment = &mut record.attachments[at];
            let claim = Claim { path, read_only: attachment.read_only, epoch: attachment.epoch };
            if attachment.taken.as_deref() == Some(&boot) {
                return Ok(Change::Keep(claim));
            }
            attachment.taken = Some(boot.clone());
            Ok(Change::Write(record, claim))
        })?;
        self.reached(Step::VolumeTaken)?;
        Ok(claim)
    }

    /// Whether `node` may still have the volume with the attachment's number `epoch`: asked once more when it is mounted, before anybody
    /// can write, as it may have been withdrawn in between.
    pub(crate) fn still_granted(&self, id: &str, node: &NodeId, epoch: u64) -> Result<()> {
        let (_, record) = self.find::<VolumeRecord>(id)?;
        if record.attachments.iter().any(|a| a.node == *node && a.epoch == epoch) {
            return Ok(());
        }
        Err(attachment::not_granted(&record.attachments, &self.label(id)?, node))
    }

    /// Gives back what [`Tree::take`] took. A volume that is gone is success.
    pub(crate) fn give_back(&self, id: &str, node: &NodeId) -> Result<()> {
        let given = self.change(id, |mut record: VolumeRecord| {
            let Some(attachment) = record.attachments.iter_mut().find(|a| a.node == *node) else { return Ok(Change::Keep(())) };
            Ok(if attachment.taken.take().is_some() { Change::Write(record, ()) } else { Change::Keep(()) })
        });
        gone_is_done(given)?;
        self.reached(Step::VolumeGivenBack)
    }
}

fn gone_is_done(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}

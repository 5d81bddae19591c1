//! Who has a volume. The controller side grants, the node side takes what was granted to it, and refuses to mount anything else.
//!
//! An NFS server lets every client write at any time. That only one node has a SINGLE_NODE_WRITER volume is therefore a matter of record:
//! the record next to the volume names the holder and counts attachments, a node asks it before it mounts, and what is granted to one
//! node goes to another only after it was withdrawn from the first, by name.

use std::path::PathBuf;

use hawser_host::step::Step;
use hawser_host::{Directory, machine};
use hawser_volume::{Access, Attachment, Error, Kind, NodeId, Result, attachment};

use crate::lease::LEASE;
use crate::record::{State, VolumeRecord};
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
        let (object, record) = self.find::<VolumeRecord>(id)?;
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
            let granted = attachment::grant(&record.attachments, &label, node, access, read_only);
            if let Some(existing) = granted.map_err(|refused| self.with_signs_of_life(refused, &object, &record))? {
                return Ok(Change::Keep(existing.clone()));
            }
            record.epoch += 1;
            let attachment = Attachment::new(node, access, read_only, record.epoch);
            record.attachments.push(attachment.clone());
            Ok(Change::Write(record, attachment))
        })?;
        self.reached(Step::AttachmentRecorded)?;
        Ok(attachment)
    }

    fn require_room(&self, node: &NodeId) -> Result<()> {
        let Some(limit) = self.config.max_volumes_per_node else { return Ok(()) };
        let (volumes, _) = self.page::<VolumeRecord>(None, usize::MAX, |_| true)?;
        attachment::require_room(&self.backend, node, limit, volumes.iter().map(|volume| &volume.attachments[..]))
    }

    /// A refusal, with what is known of the life of who has the volume.
    fn with_signs_of_life(&self, refused: Error, object: &Directory, record: &VolumeRecord) -> Error {
        if refused.kind() != Kind::Precondition {
            return refused;
        }
        let signs: Vec<String> = record
            .attachments
            .iter()
            .filter_map(|attachment| {
                let age = self.lease(object, attachment).ok()?.age?;
                Some(format!("{} renewed its lease {} s ago", attachment.node, age.as_secs()))
            })
            .collect();
        if signs.is_empty() { refused } else { Error::precondition(format!("{refused} ({})", signs.join(", "))) }
    }

    /// Withdraws `id` from `node`, or from every node. A volume or node that is gone is success. `Precondition` while a node of this
    /// machine has it mounted (`is_mounted`), and while the lease of one of another machine is fresh; when it is not, the caller's word
    /// is taken.
    pub(crate) fn detach(
        &self,
        id: &str,
        node: Option<&NodeId>,
        is_mounted: impl Fn(&VolumeRecord) -> Result<bool>,
    ) -> Result<()> {
        let leaving = |a: &Attachment| node.is_none_or(|node| a.node == *node);
        let boot = machine::boot_id()?;
        let object = match self.find::<VolumeRecord>(id) {
            Ok((object, _)) => object,
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let withdrawn = self.change(id, |mut record: VolumeRecord| {
            for attachment in record.attachments.iter().filter(|a| leaving(a) && a.taken.is_some()) {
                if attachment.is_taken_in(&boot) {
                    if is_mounted(&record)? {
                        return Err(Error::precondition(format!(
                            "volume {} is still staged on node {}; it can be detached when NodeUnstageVolume has succeeded there",
                            self.label(id)?,
                            attachment.node
                        )));
                    }
                    continue;
                }
                let lease = self.lease(&object, attachment)?;
                if let Some(age) = lease.age.filter(|_| lease.is_fresh()) {
                    return Err(Error::precondition(format!(
                        "volume {} is staged on node {}, which lives: it renewed its lease {} s ago; unstage it there, or repeat the call \
                         when the lease has not been renewed for {} s",
                        self.label(id)?,
                        attachment.node,
                        age.as_secs(),
                        LEASE.as_secs()
                    )));
                }
            }
            let (gone, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut record.attachments).into_iter().partition(&leaving);
            record.attachments = stay;
            Ok(if gone.is_empty() { Change::Keep(gone) } else { Change::Write(record, gone) })
        });
        let withdrawn = match withdrawn {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        self.reached(Step::DetachmentRecorded)?;
        // Without its lease, a holder that lives after all learns that it has lost the volume. Left behind, it means nothing.
        withdrawn.iter().try_for_each(|attachment| self.end_lease(&object, attachment.epoch))
    }

    /// Takes for `node` what was granted to it. `Precondition`, naming who has the volume, when nothing was.
    pub(crate) fn take(&self, id: &str, node: &NodeId) -> Result<Claim> {
        let boot = machine::boot_id()?;
        let (object, _) = self.find::<VolumeRecord>(id)?;
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
            // Before the record says that it is taken: from then on who withdraws it asks for the lease.
            self.begin_lease(&object, attachment.epoch)?;
            if attachment.is_taken_in(&boot) {
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
        let object = match self.find::<VolumeRecord>(id) {
            Ok((object, _)) => object,
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let given = self.change(id, |mut record: VolumeRecord| {
            let Some(attachment) = record.attachments.iter_mut().find(|a| a.node == *node) else {
                return Ok(Change::Keep(None));
            };
            let epoch = Some(attachment.epoch);
            Ok(if attachment.taken.take().is_some() { Change::Write(record, epoch) } else { Change::Keep(epoch) })
        });
        match given {
            Ok(Some(epoch)) => self.end_lease(&object, epoch)?,
            Ok(None) => {}
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.reached(Step::VolumeGivenBack)
    }
}

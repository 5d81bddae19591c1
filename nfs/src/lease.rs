//! The lease of a holder: signs of life that it gives next to the volume for as long as it has it staged.
//!
//! A file `lease-<epoch>` in the volume's directory is made when a node takes the volume and touched from time to time; how old it is says
//! the server's clock alone. It is evidence in one direction. A lease that was renewed a moment ago proves that the holder lives, so the
//! volume is not taken from it, whatever anybody believes. One that was not proves nothing: the holder may be cut off from the server, or
//! only its plugin may be down. Whether the volume is taken then is up to whoever detaches, by its own policy.
//!
//! When an attachment is withdrawn its lease goes, and the next renewal finds out: so a node that was believed to be dead and is not knows
//! that it has lost the volume.

use std::time::Duration;

use hawser_host::Directory;
use hawser_volume::{Attachment, Kind, NodeId, Result};

use crate::record::VolumeRecord;
use crate::tree::Tree;

/// How often a holder renews its leases.
pub const RENEWING: Duration = Duration::from_secs(15);

/// For how long a lease is a proof of life: a renewal may fail twice.
pub const LEASE: Duration = Duration::from_secs(45);

/// What a holder's lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The holder.
    pub node: NodeId,
    /// The number of its attachment.
    pub epoch: u64,
    /// How long ago it was renewed, by the server's clock; nothing when the volume was never staged there, or is not any more.
    pub age: Option<Duration>,
}

impl Lease {
    /// Whether it proves that the holder lives.
    pub fn is_fresh(&self) -> bool {
        self.age.is_some_and(|age| age < LEASE)
    }
}

fn file(epoch: u64) -> String {
    format!("lease-{epoch}")
}

impl Tree {
    /// Begins the lease of an attachment, or renews it.
    pub(crate) fn begin_lease(&self, object: &Directory, epoch: u64) -> Result<()> {
        if !object.create(file(epoch), b"")? {
            object.touch(&file(epoch))?;
        }
        Ok(())
    }

    /// Renews the lease of an attachment; false when there is none any more.
    pub(crate) fn renew(&self, id: &str, epoch: u64) -> Result<bool> {
        let Some(object) = self.root.volumes.enter(&crate::layout::volume(id).digest)? else { return Ok(false) };
        match object.touch(&file(epoch)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn end_lease(&self, object: &Directory, epoch: u64) -> Result<()> {
        object.remove_file(file(epoch))
    }

    /// What the lease of an attachment says.
    pub(crate) fn lease(&self, object: &Directory, attachment: &Attachment) -> Result<Lease> {
        let age = match object.entry(file(attachment.epoch))? {
            Some(entry) => Some(self.server_time()?.duration_since(entry.modified).unwrap_or_default()),
            None => None,
        };
        Ok(Lease { node: attachment.node.clone(), epoch: attachment.epoch, age })
    }

    /// The leases of all who have a volume.
    pub(crate) fn leases(&self, id: &str) -> Result<Vec<Lease>> {
        let (object, record) = self.find::<VolumeRecord>(id)?;
        record.attachments.iter().map(|attachment| self.lease(&object, attachment)).collect()
    }
}

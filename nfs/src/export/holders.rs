//! Who has a volume of an export, and which nodes there are.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hawser_host::remote;
use hawser_volume::{Access, Attachment, Deadline, Kind, NodeId, Result};

use super::Export;
use crate::attachment::Claim;
use crate::lease::Lease;
use crate::record::VolumeRecord;

impl Export {
    /// Grants a volume to a node: see [`hawser_volume::attachment::grant`].
    pub fn attach(
        self: &Arc<Self>,
        id: &str,
        node: &NodeId,
        access: &Access,
        read_only: bool,
        deadline: Deadline,
    ) -> Result<Attachment> {
        let (id, node, access) = (id.to_owned(), node.clone(), access.clone());
        self.work(deadline, move |tree| tree.attach(&id, &node, &access, read_only))
    }

    /// Withdraws a volume from a node, or from every node. `Precondition` while this machine has it mounted for that node.
    pub fn detach(self: &Arc<Self>, id: &str, node: Option<&NodeId>, deadline: Deadline) -> Result<()> {
        let (id, node, export) = (id.to_owned(), node.cloned(), Arc::clone(self));
        self.work(deadline, move |tree| tree.detach(&id, node.as_ref(), |record| export.is_mounted_here(record)))
    }

    fn is_mounted_here(&self, record: &VolumeRecord) -> Result<bool> {
        let source = self.mount_of(&crate::tree::content(record)?, Default::default()).source();
        Ok(self.host.mounts()?.entries().iter().any(|entry| remote::is_remote(entry) && entry.source == Path::new(&source)))
    }

    /// Takes for `node` what was granted to it. `Precondition`, naming who has the volume, when nothing was.
    pub fn take(self: &Arc<Self>, id: &str, node: &NodeId, deadline: Deadline) -> Result<Claim> {
        let (id, node) = (id.to_owned(), node.clone());
        self.work(deadline, move |tree| tree.take(&id, &node))
    }

    /// Whether `node` has the volume still, with this number of its attachment.
    pub fn still_granted(self: &Arc<Self>, id: &str, node: &NodeId, epoch: u64) -> Result<()> {
        let (id, node) = (id.to_owned(), node.clone());
        self.quick(move |tree| tree.still_granted(&id, &node, epoch))
    }

    /// Gives back what was taken.
    pub fn give_back(self: &Arc<Self>, id: &str, node: &NodeId, deadline: Deadline) -> Result<()> {
        let (id, node) = (id.to_owned(), node.clone());
        self.work(deadline, move |tree| tree.give_back(&id, &node))
    }

    /// Renews the lease of an attachment; false when it has been withdrawn.
    pub fn renew(self: &Arc<Self>, id: &str, epoch: u64) -> Result<bool> {
        let id = id.to_owned();
        self.quick(move |tree| tree.renew(&id, epoch))
    }

    /// The number of a node's attachment, if it has one.
    pub fn epoch_of(self: &Arc<Self>, id: &str, node: &NodeId) -> Result<Option<u64>> {
        let (id, node) = (id.to_owned(), node.clone());
        self.quick(move |tree| {
            let (_, record) = tree.find::<VolumeRecord>(&id)?;
            Ok(record.attachments.iter().find(|a| a.node == node).map(|a| a.epoch))
        })
    }

    /// The leases of all who have a volume: evidence of life for whoever thinks of taking it from them.
    pub fn leases(self: &Arc<Self>, id: &str) -> Result<Vec<Lease>> {
        let id = id.to_owned();
        self.quick(move |tree| tree.leases(&id))
    }

    /// Whether another node of this machine has taken the volume too.
    pub fn is_shared_here(self: &Arc<Self>, id: &str, node: &NodeId) -> Result<bool> {
        let (id, node) = (id.to_owned(), node.clone());
        let boot = hawser_host::machine::boot_id()?;
        self.quick(move |tree| match tree.find::<VolumeRecord>(&id) {
            Ok((_, record)) => Ok(record.attachments.iter().any(|a| a.node != node && a.is_taken_in(&boot))),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Makes a node known, in the background until it has succeeded; waits for `patience` for that.
    pub fn register_node(self: &Arc<Self>, node: &NodeId, patience: Duration) {
        let (export, node) = (Arc::clone(self), node.clone());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let register = move || {
            loop {
                let id = node.clone();
                match export.quick(move |tree| tree.register_node(&id)) {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%node, error = error.chain(), "could not make the node known yet"),
                }
                thread::sleep(Duration::from_secs(2));
            }
            let _ = sender.send(());
        };
        match thread::Builder::new().name("nfs-register".to_owned()).spawn(register) {
            Ok(_) => drop(receiver.recv_timeout(patience)),
            Err(error) => tracing::error!(%error, "no thread to make the node known"),
        }
    }
}

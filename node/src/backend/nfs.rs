//! The NFS backend: a mount of a volume's own directory.

mod owners;
mod renewal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hawser_host::{Host, MountEntry};
use hawser_nfs::{Export, Shown};
use hawser_volume::{BackendName, Bytes, Deadline, Error, NodeId, Result, Segments, VolumeId};

use crate::attach::{Attach, Attacher, Source};
use owners::Owners;
use renewal::{Leases, Renewal};

/// How long the start of the node waits until the node is known to the backend.
const REGISTER: Duration = Duration::from_secs(3);

/// How long mounting may take at least: mount.nfs starts other programs, which takes many seconds when they cannot work.
const MOUNT: Duration = Duration::from_secs(30);

/// An export as a backend of this node.
#[derive(Debug)]
pub struct Nfs {
    name: BackendName,
    export: Arc<Export>,
    host: Arc<dyn Host>,
    owners: Owners,
    leases: Arc<Leases>,
}

impl Nfs {
    /// The backend `name` over `export`.
    pub fn new(name: BackendName, export: Arc<Export>, host: Arc<dyn Host>) -> Self {
        let owners = Owners::new(name.clone(), Arc::clone(&export));
        Self { name, export, host, owners, leases: Arc::default() }
    }

    fn flags(attach: &Attach) -> Vec<String> {
        let own = attach.volume_context.get("mountOptions").map(String::as_str).unwrap_or_default();
        own.split(',').filter(|flag| !flag.is_empty()).map(str::to_owned).chain(attach.mount_flags.clone()).collect()
    }
}

impl Attacher for Nfs {
    fn place(&self) -> Segments {
        BTreeMap::new()
    }

    fn max_volumes(&self) -> Option<u32> {
        self.export.config().max_volumes_per_node
    }

    fn register(&self, node: &NodeId) -> Result<()> {
        // A server that is silent does not keep the node from starting.
        self.export.register_node(node, REGISTER);
        let renewal = Renewal {
            leases: Arc::downgrade(&self.leases),
            owners: self.owners.clone(),
            export: Arc::clone(&self.export),
            host: Arc::clone(&self.host),
            node: node.clone(),
        };
        renewal.start();
        Ok(())
    }

    fn attach(&self, attach: &Attach) -> Result<Source> {
        let options = self.export.mount_options(&Self::flags(attach))?;
        let claim = self.export.take(attach.volume.native(), &attach.node, attach.deadline)?;
        if let Some(epoch) = attach.publish_context.get("epoch")
            && *epoch != claim.epoch.to_string()
        {
            return Err(Error::precondition(format!(
                "volume {} has been detached and attached again since this call's publish_context was made (attachment {epoch}, now {})",
                attach.volume, claim.epoch
            )));
        }
        self.leases.taken(&attach.volume, claim.epoch);
        let read_only = claim.read_only || attach.read_only || options.read_only;
        let mount = self.export.mount_of(&claim.path, options.with_read_only(read_only));
        let is_place = !matches!(self.export.shown_at(&claim.path), Some(Shown::Volume(_)));
        let (export, host) = (Arc::clone(&self.export), Arc::clone(&self.host));
        let (volume, node, epoch) = (attach.volume.native().to_owned(), attach.node.clone(), claim.epoch);
        if is_place {
            self.owners.remember(&claim.path, &attach.volume)?;
        }
        let deadline = Deadline::after(MOUNT.max(self.export.config().patience() * 3)).earlier(attach.deadline);
        let make = move || {
            let mount = host.mount_nfs(&mount, deadline)?;
            // Between the grant and the mount it may have been withdrawn; from here on it is mounted, and is asked for before it goes.
            export.still_granted(&volume, &node, epoch)?;
            Ok(mount)
        };
        Ok(Source::Mount { make: Box::new(make), read_only })
    }

    fn detach(&self, volume: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<()> {
        self.export.give_back(volume.native(), node, deadline)
    }

    fn identify(&self, mount: &MountEntry) -> Result<Option<VolumeId>> {
        self.owners.of(mount)
    }

    fn shows(&self, mount: &MountEntry, volume: &VolumeId) -> Result<bool> {
        if *volume.backend() != self.name {
            return Ok(false);
        }
        Ok(self.identify(mount)?.as_ref() == Some(volume))
    }

    fn rescan(&self, volume: &VolumeId, _node: &NodeId, _at_least: Option<Bytes>) -> Result<Bytes> {
        Ok(self.export.volume(volume.native())?.size)
    }

    fn is_shared_here(&self, volume: &VolumeId, node: &NodeId) -> Result<bool> {
        self.export.is_shared_here(volume.native(), node)
    }

    fn answers(&self) -> Result<()> {
        self.export.ping()
    }

    fn is_withdrawn(&self, volume: &VolumeId) -> bool {
        self.leases.is_lost(volume)
    }
}

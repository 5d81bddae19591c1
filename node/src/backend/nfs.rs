//! The NFS backend: a mount of a volume's own directory.
//!
//! Whose volume a mount shows is never asked of the server. The kernel's table has the directory that was mounted, which tells the volume;
//! for one with a place of its own, a file of this machine does (`/run` is as empty after a boot as the table).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hawser_host::{Host, MountEntry, MountOptions, durable};
use hawser_nfs::{Export, Shown};
use hawser_volume::id::digest;
use hawser_volume::{BackendName, Bytes, Deadline, Error, NativeId, NodeId, Result, Segments, VolumeId};

use crate::attach::{Attach, Attacher, Source};

/// Where this machine remembers whose a place below an export was when it was mounted.
const PLACES: &str = "/run/hawser/nfs";

/// How long the start of the node waits until the node is known to the backend.
const REGISTER: Duration = Duration::from_secs(3);

/// An export as a backend of this node.
#[derive(Debug)]
pub struct Nfs {
    name: BackendName,
    export: Arc<Export>,
    host: Arc<dyn Host>,
    places: PathBuf,
}

impl Nfs {
    /// The backend `name` over `export`.
    pub fn new(name: BackendName, export: Arc<Export>, host: Arc<dyn Host>) -> Self {
        let places = Path::new(PLACES).join(name.as_str());
        Self { name, export, host, places }
    }

    /// The file about a place. The server is in its name: a backend may have had another one before, and so may another process have one
    /// of the same name.
    fn place(&self, path: &Path) -> PathBuf {
        self.places.join(digest(&self.export.mount_of(path, MountOptions::default()).source()))
    }

    /// Remembers whose a place is, before it is mounted.
    fn remember(&self, path: &Path, volume: &VolumeId) -> Result<()> {
        fs::create_dir_all(&self.places)
            .map_err(|error| Error::internal(format!("make directory {}", self.places.display())).caused_by(error))?;
        durable::write(&self.place(path), volume.native().as_bytes())
    }

    /// Whose a mounted place is: what this machine remembers, else what the server says.
    fn owner(&self, path: &Path) -> Result<Option<NativeId>> {
        match fs::read_to_string(self.place(path)) {
            Ok(text) => Ok(NativeId::parse(text.trim())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.export.owner_of(path),
            Err(error) => Err(Error::internal(format!("read {}", self.place(path).display())).caused_by(error)),
        }
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
        let read_only = claim.read_only || attach.read_only || options.read_only;
        let mount = self.export.mount_of(&claim.path, options.with_read_only(read_only));
        let is_place = !matches!(self.export.shown_at(&claim.path), Some(Shown::Volume(_)));
        let (export, host) = (Arc::clone(&self.export), Arc::clone(&self.host));
        let (volume, node, epoch) = (attach.volume.native().to_owned(), attach.node.clone(), claim.epoch);
        if is_place {
            self.remember(&claim.path, &attach.volume)?;
        }
        let deadline = Deadline::after(self.export.config().patience() * 3).earlier(attach.deadline);
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
        let id = match self.export.shown(mount) {
            None => None,
            Some(Shown::Volume(id)) => Some(id),
            Some(Shown::Place(path)) => self.owner(&path)?,
        };
        id.map(|id| VolumeId::new(self.name.clone(), id.to_string())).transpose()
    }

    fn shows(&self, mount: &MountEntry, volume: &VolumeId) -> Result<bool> {
        if *volume.backend() != self.name {
            return Ok(false);
        }
        Ok(self.identify(mount)?.as_ref() == Some(volume))
    }

    fn rescan(&self, volume: &VolumeId, _node: &NodeId) -> Result<Bytes> {
        Ok(self.export.volume(volume.native())?.size)
    }

    fn is_shared_here(&self, volume: &VolumeId, node: &NodeId) -> Result<bool> {
        self.export.is_shared_here(volume.native(), node)
    }

    fn answers(&self) -> Result<()> {
        self.export.ping()
    }
}

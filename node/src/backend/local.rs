//! The local backend: an image of the pool on a loop device, or a directory of the pool as it is.

use std::path::Path;
use std::sync::Arc;

use hawser_host::{Host, MountEntry};
use hawser_pool::{Claim, Kind, Pool};
use hawser_volume::{BackendName, Bytes, Deadline, Error, NodeId, Result, Segments, VolumeId};

use crate::attach::{Attach, Attacher, Source};

/// A pool as a backend of this node.
#[derive(Debug)]
pub struct Local {
    name: BackendName,
    pool: Arc<Pool>,
    host: Arc<dyn Host>,
    place: Segments,
    max_volumes: Option<u32>,
}

impl Local {
    /// The backend `name` over `pool`; `topology_prefix` is the prefix of the plugin's topology keys.
    pub fn new(name: BackendName, pool: Arc<Pool>, host: Arc<dyn Host>, topology_prefix: &str, max_volumes: Option<u32>) -> Self {
        let place = pool.place(topology_prefix);
        Self { name, pool, host, place, max_volumes }
    }

    /// Makes a device of what was taken, with the volume's lock held.
    fn hold(&self, attach: &Attach, claim: &Claim) -> Result<Source> {
        if let Some(epoch) = attach.publish_context.get("epoch")
            && *epoch != claim.epoch.to_string()
        {
            return Err(Error::precondition(format!(
                "volume {} has been detached and attached again since this call's publish_context was made (attachment {epoch}, now {})",
                attach.volume, claim.epoch
            )));
        }
        match self.pool.kind() {
            Kind::Directory => Ok(Source::Directory { path: claim.path.clone(), read_only: claim.read_only || attach.read_only }),
            Kind::Image => {
                let device = self.host.attach_loop(&claim.path, claim.read_only)?;
                // A sparse file knows which of its blocks were ever written.
                let blank = self.pool.is_blank(&claim.path)?;
                Ok(Source::Device { device, blank: Some(blank) })
            }
        }
    }

    fn free(&self, content: &Path, deadline: Deadline) -> Result<()> {
        if self.pool.kind() == Kind::Image {
            for device in self.host.loops_of(content)? {
                self.host.detach_loop(&device, content, deadline)?;
            }
        }
        Ok(())
    }
}

impl Attacher for Local {
    fn place(&self) -> Segments {
        self.place.clone()
    }

    fn max_volumes(&self) -> Option<u32> {
        self.max_volumes
    }

    fn register(&self, node: &NodeId) -> Result<()> {
        self.pool.register_node(node)
    }

    fn attach(&self, attach: &Attach) -> Result<Source> {
        self.pool.take(attach.volume.native(), &attach.node, attach.deadline, |claim| self.hold(attach, claim))
    }

    fn detach(&self, volume: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<()> {
        self.pool.give_back(volume.native(), node, deadline, |content| self.free(content, deadline))
    }

    fn identify(&self, mount: &MountEntry) -> Result<Option<VolumeId>> {
        let native = match self.pool.kind() {
            Kind::Directory => self.pool.volume_of_mount(mount)?,
            Kind::Image => match self.host.loop_image_of(mount)? {
                Some(image) => self.pool.volume_at(&image)?,
                None => None,
            },
        };
        native.map(|native| VolumeId::new(self.name.clone(), native)).transpose()
    }

    fn shows(&self, mount: &MountEntry, volume: &VolumeId) -> Result<bool> {
        if *volume.backend() != self.name {
            return Ok(false);
        }
        match self.pool.kind() {
            Kind::Directory => self.pool.is_mounted_by(mount, volume.native()),
            Kind::Image => match self.host.loop_image_of(mount)? {
                Some(image) => self.pool.is_at(&image, volume.native()),
                None => Ok(false),
            },
        }
    }

    fn rescan(&self, volume: &VolumeId, node: &NodeId, _at_least: Option<Bytes>) -> Result<Bytes> {
        let record = self.pool.volume(volume.native())?;
        if self.pool.kind() == Kind::Directory {
            return Ok(record.size);
        }
        let deadline = Deadline::after(std::time::Duration::from_secs(30));
        let size = self.pool.take(volume.native(), node, deadline, |claim| {
            let mut size = None;
            for device in self.host.loops_of(&claim.path)? {
                size = Some(self.host.resize_loop(&device)?);
            }
            Ok(size)
        })?;
        size.ok_or_else(|| Error::not_found(format!("volume {volume} has no device on this node")))
    }

    fn is_shared_here(&self, volume: &VolumeId, node: &NodeId) -> Result<bool> {
        self.pool.is_shared_here(volume.native(), node)
    }
}

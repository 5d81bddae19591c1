//! Which volumes are seen where on this node, as the kernel and the backends tell.

use std::path::PathBuf;

use hawser_volume::{Result, VolumeId};

use crate::service::Node;

/// A mount that shows a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The volume.
    pub volume: VolumeId,
    /// Where it is seen.
    pub path: PathBuf,
    /// Whether nothing can be written there.
    pub read_only: bool,
}

impl Node {
    /// Every mount that shows a volume of a configured backend, staged or published, in the order of the kernel's table. Blocks, as long
    /// as a device does. An error when the table cannot be read or a backend cannot tell of a mount: what is missing would look as if it
    /// were not there.
    pub fn shown(&self) -> Result<Vec<Shown>> {
        let inner = self.inner();
        let mut shown = Vec::new();
        for mount in inner.host.mounts()?.entries() {
            for backend in inner.backends.values() {
                if let Some(volume) = backend.identify(mount)? {
                    shown.push(Shown { volume, path: mount.mount_point.clone(), read_only: mount.read_only() });
                    break;
                }
            }
        }
        Ok(shown)
    }
}

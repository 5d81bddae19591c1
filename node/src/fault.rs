//! Faults on demand at the seam to a backend: see [`hawser_host::fault`].

use hawser_host::fault::Faulty;
use hawser_host::{MountEntry, faulty_methods};
use hawser_volume::{Bytes, Deadline, NodeId, Result, Segments, VolumeId};

use crate::attach::{Attach, Attacher, Source};

impl Attacher for Faulty<dyn Attacher> {
    fn place(&self) -> Segments {
        self.0.place()
    }

    fn max_volumes(&self) -> Option<u32> {
        self.0.max_volumes()
    }

    fn is_withdrawn(&self, volume: &VolumeId) -> bool {
        self.0.is_withdrawn(volume)
    }

    faulty_methods! { "attacher"
        fn register(&self, node: &NodeId) -> Result<()>;
        fn attach(&self, attach: &Attach) -> Result<Source>;
        fn detach(&self, volume: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<()>;
        fn identify(&self, mount: &MountEntry) -> Result<Option<VolumeId>>;
        fn shows(&self, mount: &MountEntry, volume: &VolumeId) -> Result<bool>;
        fn rescan(&self, volume: &VolumeId, node: &NodeId, at_least: Option<Bytes>) -> Result<Bytes>;
        fn answers(&self) -> Result<()>;
        fn is_shared_here(&self, volume: &VolumeId, node: &NodeId) -> Result<bool>;
    }
}

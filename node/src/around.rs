//! The seam to a backend with something in front of it: see [`hawser_volume::around`].

use hawser_host::MountEntry;
use hawser_volume::{Around, Bytes, Deadline, NodeId, Result, Segments, Surrounded, VolumeId, surrounded_methods};

use crate::attach::{Attach, Attacher, Source};

impl<A: Around> Attacher for Surrounded<dyn Attacher, A> {
    fn place(&self) -> Segments {
        self.inner.place()
    }

    fn max_volumes(&self) -> Option<u32> {
        self.inner.max_volumes()
    }

    fn is_withdrawn(&self, volume: &VolumeId) -> bool {
        self.inner.is_withdrawn(volume)
    }

    surrounded_methods! { "attacher"
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

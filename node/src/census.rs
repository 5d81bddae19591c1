//! How many volumes of each backend are mounted on this node, as the kernel has it.

use std::collections::BTreeSet;

use hawser_volume::{BackendName, Result, VolumeId};

use crate::service::Node;

/// What is mounted of one backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mounted {
    /// Volumes that are mounted somewhere.
    pub volumes: usize,
    /// Their mounts: where they are staged, and each place where they are published.
    pub mounts: usize,
}

impl Node {
    /// Counts the mounts of one backend. Blocks, for as long as the backend takes to say whose mounts they are.
    pub fn census(&self, backend: &BackendName) -> Result<Mounted> {
        let inner = self.inner();
        let Some(attacher) = inner.backends.get(backend) else { return Ok(Mounted::default()) };
        attacher.answers()?;
        let table = inner.host.mounts()?;
        let mut volumes: BTreeSet<VolumeId> = BTreeSet::new();
        let mut mounts = 0;
        for entry in table.entries() {
            if let Some(volume) = attacher.identify(entry)? {
                volumes.insert(volume);
                mounts += 1;
            }
        }
        Ok(Mounted { volumes: volumes.len(), mounts })
    }

    /// The backends that this node has.
    pub fn backends(&self) -> Vec<BackendName> {
        self.inner().backends.keys().cloned().collect()
    }
}

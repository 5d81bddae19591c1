//! Who is asked.

use async_trait::async_trait;
use hawser_volume::{HostState, NodeId, Result};

use super::evidence::Says;
use super::holder::Holder;
use super::proof::Warrant;

impl From<HostState> for Says {
    fn from(state: HostState) -> Self {
        match state {
            HostState::Alive(state) => Says::HostAlive { state },
            HostState::Dead(state) => Says::HostDead { state },
            HostState::Unknown(why) => Says::HostUnknown { why },
        }
    }
}

/// A storage system that can say whether a host is up.
#[async_trait]
pub trait BackendWitness: Send + Sync {
    /// The state of the host that CSI calls `node` and that `volume` is attached to, as it is now and not from a cache.
    ///
    /// `Dead` is only said when the storage system itself said so. An error, a timeout and a host that the storage system does not know
    /// are `Unknown`. Safe to drop at any time.
    async fn host_state(&self, volume: &str, node: &NodeId) -> HostState;
}

/// Who can say who has a volume: CSI (`published_node_ids`) and what the bridges wrote down.
#[async_trait]
pub trait HolderWitness: Send + Sync {
    /// Who has `volume` now, not from a cache; nothing when it is free. Asked twice in a takeover.
    async fn holder(&self, volume: &str) -> Result<Option<Holder>>;

    /// What tasks may call `volume` when they declare it. Only words for people come of it.
    async fn names(&self, volume: &str) -> Vec<String> {
        vec![volume.to_owned()]
    }
}

/// The call that detaches a volume.
#[async_trait]
pub trait Detach: Send + Sync {
    /// Detaches [`Warrant::volume`] from [`Warrant::node`] (ControllerUnpublishVolume), and from no other node, and returns when it is
    /// detached. The node is to be taken from the warrant immediately before the call is sent. It must end by itself, with a
    /// deadline: it is not dropped when whoever asked for the takeover is gone, and until it ends the volume is not taken again.
    async fn detach(&self, warrant: &Warrant) -> Result<()>;
}

//! What the fence asks of the driver: who has a volume, whether its host is up, and to detach it from there.

use std::time::Duration;

use async_trait::async_trait;
use hawser_volume::{Deadline, Error, HostState, NodeId, Result};

use crate::driver::Driver;
use crate::fence::{BackendWitness, Detach, FenceStore, Holder, HolderWitness, Sightings, Takeovers, Warrant};
use crate::ledger::Ledger;

/// How long the driver may take to say who has a volume.
const ASK: Duration = Duration::from_secs(30);

/// How long the driver may take to detach a volume from a node that is dead: a storage system waits for it first.
const DETACH: Duration = Duration::from_secs(600);

/// The one other node that has the volume. Nothing when none has, or when the driver cannot tell.
pub(super) async fn other_holder(driver: &Driver, id: &str, deadline: Deadline) -> Result<Option<Holder>> {
    let Some(mut nodes) = driver.holders(id, deadline).await? else { return Ok(None) };
    nodes.retain(|node| *node != driver.node_id);
    if nodes.len() > 1 {
        return Err(Error::precondition(format!(
            "volume {id} is held by nodes {}; it is never taken from several at once, detach it from them",
            nodes.join(", ")
        )));
    }
    nodes.pop().map(|node| node.parse::<NodeId>().map(Holder::on)).transpose()
}

/// A driver and what this node knows of its volumes, as the fence sees them.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The driver.
    pub driver: Driver,
    /// Under which names its volumes were declared here.
    pub ledger: Ledger,
}

#[async_trait]
impl BackendWitness for Reach {
    async fn host_state(&self, volume: &str, node: &NodeId) -> HostState {
        let asked = self.driver.host_state(volume, node.as_str(), Deadline::after(ASK)).await;
        asked.unwrap_or_else(|error| HostState::Unknown(error.chain().to_string()))
    }
}

#[async_trait]
impl HolderWitness for Reach {
    async fn holder(&self, volume: &str) -> Result<Option<Holder>> {
        other_holder(&self.driver, volume, Deadline::after(ASK)).await
    }

    async fn names(&self, volume: &str) -> Vec<String> {
        let id = volume.to_owned();
        let declared = self.ledger.apart(move |ledger| {
            let holding = ledger.holding(&id)?.into_iter().flat_map(|holding| holding.uses.into_values()).map(|usage| usage.name);
            let known = ledger.all_known()?.into_iter();
            let known = known.filter(|(_, known)| known.made.as_ref().is_some_and(|made| made.id == id)).map(|(name, _)| name);
            Ok(holding.chain(known).collect::<Vec<_>>())
        });
        let mut names = declared.await.unwrap_or_default();
        names.push(volume.to_owned());
        names
    }
}

#[async_trait]
impl Detach for Reach {
    async fn detach(&self, warrant: &Warrant) -> Result<()> {
        let node = warrant.node()?.to_string();
        self.driver.detach_dead(warrant.volume(), &node, Deadline::after(DETACH)).await
    }
}

#[async_trait]
impl FenceStore for Ledger {
    async fn takeovers(&self) -> Result<Takeovers> {
        self.apart(|ledger| ledger.takeovers()).await
    }

    async fn put_takeovers(&self, takeovers: &Takeovers) -> Result<()> {
        let takeovers = takeovers.clone();
        self.apart(move |ledger| ledger.put_takeovers(&takeovers)).await
    }

    async fn sightings(&self) -> Result<Sightings> {
        self.apart(|ledger| ledger.sightings()).await
    }

    async fn put_sightings(&self, sightings: &Sightings) -> Result<()> {
        let sightings = sightings.clone();
        self.apart(move |ledger| ledger.put_sightings(&sightings)).await
    }
}

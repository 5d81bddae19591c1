//! Getting a volume to this node, from another one if that is allowed.

use hawser_volume::{Deadline, Error, Kind, Result};

use super::Inner;
use super::witness::other_holder;
use crate::driver::{Context, Use};
use crate::policy::Takeover;

/// How often a volume is taken from a node before it is left to whoever keeps taking it back.
const TAKES: usize = 2;

impl Inner {
    /// Attaches `volume` to this node and returns what the node side needs.
    ///
    /// A refusal by the driver is final unless another node has the volume and the fence takes it from there; it is asked for
    /// again then.
    pub(super) async fn attach(&self, volume: &Use, policy: Option<Takeover>, deadline: Deadline) -> Result<Context> {
        for _ in 0..TAKES {
            let refusal = match self.driver.attach(volume, deadline).await {
                Err(error) if error.kind() == Kind::Precondition => error,
                answer => return answer,
            };
            let holder = match other_holder(&self.driver, &volume.id, deadline).await {
                Ok(Some(holder)) => holder,
                Ok(None) => return Err(refusal),
                Err(error) => {
                    tracing::warn!(volume = volume.id, error = error.chain(), "could not find out who has the volume");
                    return Err(refusal);
                }
            };
            let policy = policy.unwrap_or(self.settings.takeover);
            match &self.fence {
                Some(fence) => drop(fence.clone().take(&volume.id, policy).await?),
                None => {
                    return Err(Error::precondition(format!(
                        "volume {} is held by {holder}; it is free when its task there has ended and it was unmounted. It is never taken \
                         from there, as no master is configured that could say whether the agent is gone (bridge.mesos-master)",
                        volume.id
                    )));
                }
            }
        }
        self.driver.attach(volume, deadline).await
    }
}

//! Getting a volume to this node, from another one if that is allowed.

use hawser_volume::{Deadline, Error, Kind, Result};

use super::Inner;
use crate::driver::{Context, Use};
use crate::policy::Takeover;

/// How often a volume is taken from a node before it is left to whoever keeps taking it back.
const TAKES: usize = 2;

impl Inner {
    /// Attaches `volume` to this node and returns what the node side needs.
    ///
    /// A refusal by the driver is final unless another node has the volume and the fence gives leave to take it; the volume is
    /// then taken from exactly the node that the leave is about, and asked for again.
    pub(super) async fn attach(&self, volume: &Use, policy: Option<Takeover>, deadline: Deadline) -> Result<Context> {
        for _ in 0..TAKES {
            let refusal = match self.driver.attach(volume, deadline).await {
                Err(error) if error.kind() == Kind::Precondition => error,
                answer => return answer,
            };
            let Some(holder) = self.holder(&volume.id, &refusal, deadline).await? else { return Err(refusal) };
            let leave = self.fence.judge(&volume.id, &holder, &self.driver.node_id, policy, deadline).await?;
            leave.confirm().await?;
            let outcome = self.driver.detach(&volume.id, &holder, deadline).await;
            leave.close(&outcome).await?;
            outcome.map_err(|error| error.while_doing(format_args!("take volume {} from node {holder}", volume.id)))?;
        }
        self.driver.attach(volume, deadline).await
    }

    /// The one other node that has the volume. Nothing when none has, or when the driver cannot tell; `refusal` is what the caller
    /// is told then.
    async fn holder(&self, id: &str, refusal: &Error, deadline: Deadline) -> Result<Option<String>> {
        let holders = match self.driver.holders(id, deadline).await {
            Ok(holders) => holders,
            Err(error) => {
                tracing::warn!(volume = id, error = error.chain(), refusal = %refusal, "could not ask who has the volume");
                None
            }
        };
        let Some(mut holders) = holders else { return Ok(None) };
        holders.retain(|node| *node != self.driver.node_id);
        match holders.len() {
            0 | 1 => Ok(holders.pop()),
            _ => Err(Error::precondition(format!(
                "volume {id} is held by nodes {}; it is never taken from several at once, detach it from them",
                holders.join(", ")
            ))),
        }
    }
}

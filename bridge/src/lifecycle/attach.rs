//! Getting a volume to this node: from another one that lets it go, or is dead.

use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, Result};

use super::Inner;
use super::witness::other_holder;
use crate::driver::{Context, Use};
use crate::fence::Holder;
use crate::policy::Takeover;

/// How often a volume is taken from a node before it is left to whoever keeps taking it back.
const TAKES: usize = 2;

/// The pause before a volume that another node has is asked for again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause. Each question is a call to the storage system.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Inner {
    /// Attaches `volume` to this node and returns what the node side needs.
    ///
    /// A refusal by the driver is final unless another node has the volume. If the fence takes it from there, it is asked for again at
    /// once. If not, it is asked for again until `patience` has passed: Mesos reports the end of a task before it unmounts, so the
    /// next one may be here while the volume is still on its way off the other node. CSI has no word for that, so every holder is
    /// given that time.
    pub(super) async fn attach(
        &self,
        volume: &Use,
        policy: Option<Takeover>,
        patience: Duration,
        deadline: Deadline,
    ) -> Result<Context> {
        let patience = Deadline::after(patience.min(deadline.remaining()));
        let mut pause = FIRST_PAUSE;
        let (mut takes, mut refused): (usize, Option<(Holder, Error)>) = (0, None);
        let mut is_asked_again = false;
        loop {
            let refusal = match self.driver.attach(volume, deadline).await {
                Err(error) if error.kind() == Kind::Precondition => error,
                answer => return answer,
            };
            let holder = match other_holder(&self.driver, &volume.id, deadline).await {
                Ok(Some(holder)) => holder,
                // It was let go after it was refused.
                Ok(None) if refused.take().is_some() => continue,
                // Perhaps it was let go between the refusal and this look; if not, nobody's holding it was the reason.
                Ok(None) if !is_asked_again => {
                    is_asked_again = true;
                    continue;
                }
                Ok(None) => return Err(refusal),
                Err(error) => {
                    tracing::warn!(volume = volume.id, error = error.chain(), "could not find out who has the volume");
                    return Err(refusal);
                }
            };
            // The fence is asked once about each holder: who is alive stays so for as long as anybody waits here.
            let why = match refused.take() {
                Some((known, why)) if known == holder => why,
                _ if takes == TAKES => return Err(refusal),
                _ => match self.take(volume, policy.unwrap_or(self.settings.takeover), &holder).await {
                    Ok(()) => {
                        takes += 1;
                        continue;
                    }
                    Err(error) => error,
                },
            };
            if patience.remaining() <= pause {
                return Err(why);
            }
            if pause == FIRST_PAUSE {
                tracing::info!(volume = volume.id, %holder, "another node has this volume; waiting whether it is let go");
            }
            refused = Some((holder, why));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes the volume from `holder`, if that may be done.
    async fn take(&self, volume: &Use, policy: Takeover, holder: &Holder) -> Result<()> {
        match &self.fence {
            Some(fence) => fence.clone().take(&volume.id, policy).await.map(drop),
            None => Err(Error::precondition(format!(
                "volume {} is held by {holder}; it is free when its task there has ended and it was unmounted. It is never taken \
                 from there, as no master is configured that could say whether the agent is gone (bridge.mesos-master)",
                volume.id
            ))),
        }
    }
}

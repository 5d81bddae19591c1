//! The way down: everything that holds a volume here is undone, in the order that keeps its data.

use std::path::Path;

use hawser_volume::{Deadline, Result};

use super::Inner;

impl Inner {
    /// Takes the volume off `target`, whoever used it there. To be called with the volume's lock.
    pub(super) async fn unpublish(&self, id: &str, target: &Path, deadline: Deadline) -> Result<()> {
        self.driver.unpublish(id, target, deadline).await?;
        let target = target.to_owned();
        let change = move |holding: &mut crate::ledger::Holding| {
            for usage in holding.uses.values_mut() {
                usage.targets.remove(&target);
            }
        };
        self.change(id, change).await.map(drop)
    }

    /// Takes the volume off `staging` and every target of it, and off this node when that was its last use. To be called with the
    /// volume's lock.
    pub(super) async fn unstage(&self, id: &str, staging: &Path, deadline: Deadline) -> Result<()> {
        let holding = self.holding(id).await?;
        let targets = holding.and_then(|holding| Some(holding.uses.get(staging)?.targets.clone())).unwrap_or_default();
        for target in targets {
            self.unpublish(id, &target, deadline).await?;
        }
        self.driver.unstage(id, staging, deadline).await?;
        let staging = staging.to_owned();
        let is_last = self
            .change(id, move |holding| {
                holding.uses.remove(&staging);
                holding.uses.is_empty()
            })
            .await?;
        if is_last.unwrap_or(true) { self.leave(id, deadline).await } else { Ok(()) }
    }

    /// Takes the volume off this node altogether. To be called with the volume's lock.
    pub(super) async fn release(&self, id: &str, deadline: Deadline) -> Result<()> {
        let holding = self.holding(id).await?;
        let stagings: Vec<_> = holding.map(|holding| holding.uses.into_keys().collect()).unwrap_or_default();
        for staging in stagings {
            self.unstage(id, &staging, deadline).await?;
        }
        if self.holding(id).await?.is_some() { self.leave(id, deadline).await } else { Ok(()) }
    }

    async fn leave(&self, id: &str, deadline: Deadline) -> Result<()> {
        self.driver.detach(id, &self.driver.node_id, deadline).await?;
        self.forget_holding(id).await
    }
}

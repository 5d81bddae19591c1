//! What the ledger says, compared with what the driver says: leaks are closed, losses are noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_proto::csi;
use hawser_volume::{Deadline, Kind, Result};

use super::{Inner, Lifecycle};
use crate::ledger::{Holding, now};
use crate::mesos::InUse;

/// What [`Lifecycle::reconcile`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Volumes that nobody used any more and that were released.
    pub released: Vec<String>,
    /// Volumes that another node has now, and that were taken off this one's paths.
    pub lost: Vec<String>,
    /// Volumes that the driver has attached to this node on behalf of somebody else; they are left alone.
    pub foreign: Vec<String>,
    /// What could not be done, with the reason; it is tried again.
    pub failed: BTreeMap<String, String>,
}

/// Who has which volume, as the driver says.
struct Attached {
    nodes: BTreeMap<String, Vec<String>>,
    /// The backends of Hawser's own driver that do not answer.
    missing: Vec<String>,
}

impl Attached {
    /// Whether the volume is one of a backend that does not answer. Ids of Hawser's own begin with their backend.
    fn is_unknown(&self, id: &str) -> bool {
        id.split_once(':').is_some_and(|(backend, _)| self.missing.iter().any(|missing| missing == backend))
    }
}

impl Lifecycle {
    /// Releases what nobody has used for the time of grace, or nobody who still lives, takes down the mounts of volumes that were taken from this node, and
    /// reports what others have attached here. Volumes that somebody works on at the moment are left for the next time.
    pub async fn reconcile(&self) -> Result<Report> {
        let inner = &self.inner;
        let deadline = inner.deadline();
        let holdings = inner.ledger(|ledger| ledger.holdings()).await?;
        let attached = inner.attached(deadline).await?;
        let in_use = if holdings.is_empty() { None } else { inner.in_use().await };
        let mut report = Report::default();
        inner.free_abandoned(&holdings, &mut report, deadline).await;
        for (id, _) in &holdings {
            let done = inner.reconcile_one(id, attached.as_ref(), in_use.as_ref(), &mut report, deadline).await;
            if let Err(error) = done {
                tracing::warn!(volume = id, error = error.chain(), "could not bring the volume into order; trying again later");
                report.failed.insert(id.clone(), error.chain());
            }
        }
        let ours = |nodes: &[String]| nodes.contains(&inner.driver.node_id);
        let listed = attached.iter().flat_map(|attached| &attached.nodes);
        let foreign = listed.filter(|(id, nodes)| ours(nodes) && !holdings.iter().any(|(held, _)| held == *id));
        report.foreign = foreign.map(|(id, _)| id.clone()).collect();
        Ok(report)
    }
}

impl Inner {
    /// Which nodes have which volumes; nothing when the driver cannot tell.
    async fn attached(&self, deadline: Deadline) -> Result<Option<Attached>> {
        if !self.driver.can.list_nodes || !self.driver.can.attach {
            return Ok(None);
        }
        let listed = self.driver.list_partly(deadline).await?;
        let volumes = listed.all.iter().filter_map(|entry| entry.volume.as_ref());
        if listed.missing.is_empty() {
            self.listed.replace(volumes);
        } else {
            self.listed.add(volumes);
        }
        for (backend, error) in &listed.missing {
            tracing::warn!(backend, error = error.chain(), "the backend does not answer: nothing is concluded about its volumes");
        }
        let pair = |entry: csi::list_volumes_response::Entry| {
            Some((entry.volume?.volume_id, entry.status.map(|status| status.published_node_ids).unwrap_or_default()))
        };
        Ok(Some(Attached {
            nodes: listed.all.into_iter().filter_map(pair).collect(),
            missing: listed.missing.into_iter().map(|(backend, _)| backend).collect(),
        }))
    }

    async fn reconcile_one(
        &self,
        id: &str,
        attached: Option<&Attached>,
        in_use: Option<&InUse>,
        report: &mut Report,
        deadline: Deadline,
    ) -> Result<()> {
        let Some(_guard) = self.locks.try_lock(id) else { return Ok(()) };
        let Some(holding) = self.holding(id).await? else { return Ok(()) };
        if attached.is_some_and(|attached| self.is_lost(id, &holding, attached)) {
            // Asked again, now that nobody works on it: the list may be older than an attachment.
            let holders = self.driver.holders(id, deadline).await.or_else(|error| match error.kind() {
                Kind::NotFound => Ok(Some(Vec::new())),
                _ => Err(error),
            })?;
            if holders.is_some_and(|holders| !holders.contains(&self.driver.node_id)) {
                tracing::error!(volume = id, "another node has this volume, or nobody has: taking down what is left of it here");
                self.release(id, deadline).await?;
                report.lost.push(id.to_owned());
                return Ok(());
            }
        }
        let idle = holding.idle_since.map(|since| Duration::from_secs(now().saturating_sub(since)));
        if idle.is_some_and(|idle| idle >= self.settings.grace) {
            tracing::info!(volume = id, "nobody uses this volume any more: releasing it");
            self.release(id, deadline).await?;
            report.released.push(id.to_owned());
            self.part_from(id, deadline).await?;
        } else if let Some(in_use) = in_use {
            self.end_unused(id, in_use, report, deadline).await?;
        }
        Ok(())
    }

    /// Whether this node believes to have a volume that the driver has given to nobody or to another one.
    fn is_lost(&self, id: &str, holding: &Holding, attached: &Attached) -> bool {
        holding.publish_context.is_some()
            && !attached.is_unknown(id)
            && !attached.nodes.get(id).is_some_and(|nodes| nodes.contains(&self.driver.node_id))
    }
}

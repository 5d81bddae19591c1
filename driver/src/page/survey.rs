//! Which volumes there are and where they are mounted on this node, as far as somebody has answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hawser_controller::{Controller, Provisioner, VolumeStatus};
use hawser_node::{Node, Shown};
use hawser_volume::{BackendName, Error, Result};

use super::look::{Look, Seen};
use crate::telemetry::Calls;
use crate::telemetry::calls::{Outcome, Side};

/// How old a listing becomes, as long as nothing is changed through this process.
const LISTING: Duration = Duration::from_secs(15);

/// How old the view of this node's mounts becomes.
const MOUNTS: Duration = Duration::from_secs(3);

/// What changes no volume.
const READS: [&str; 8] =
    ["host_state", "get", "list", "capacity", "check", "get_snapshot", "list_snapshots", "get_group_snapshot"];

/// How many volumes of a backend are shown.
const MAX: usize = 1000;

/// How many are asked for at a time.
const PAGE: usize = 250;

/// The volumes of a backend.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) volumes: Vec<VolumeStatus>,
    /// Whether there are more.
    pub(super) more: bool,
}

/// Asks whenever somebody looks and the last answer is old.
#[derive(Debug)]
pub(super) struct Survey {
    backends: BTreeMap<BackendName, (Arc<dyn Provisioner>, Look<Listed>)>,
    node: Option<(Node, Look<Vec<Shown>>)>,
}

/// What is known now.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) backends: Vec<(BackendName, Seen<Listed>)>,
    pub(super) node: Option<Seen<Vec<Shown>>>,
}

impl Survey {
    /// A survey of these services; `calls` tells when a listing is out of date.
    pub(super) fn new(controller: Option<&Controller>, node: Option<&Node>, calls: &Calls) -> Self {
        let backends = controller.into_iter().flat_map(|controller| controller.backends().iter());
        let backends: BTreeMap<_, _> =
            backends.map(|(name, backend)| (name.clone(), (Arc::clone(backend), Look::every(LISTING)))).collect();
        let looks: BTreeMap<BackendName, Look<Listed>> =
            backends.iter().map(|(name, (_, look))| (name.clone(), look.clone())).collect();
        calls.subscribe(move |ended| {
            let changes = ended.side == Side::Controller && ended.outcome == Outcome::Done && !READS.contains(&ended.operation);
            if let Some(look) = looks.get(&ended.backend).filter(|_| changes) {
                look.outdate();
            }
        });
        Self { backends, node: node.map(|node| (node.clone(), Look::every(MOUNTS))) }
    }

    /// What is known now; asks for more beside it.
    pub(super) fn look(&self) -> Sight {
        for (backend, look) in self.backends.values() {
            look.ask(|| list(Arc::clone(backend)));
        }
        if let Some((node, look)) = &self.node {
            look.ask(|| shown(node.clone()));
        }
        Sight {
            backends: self.backends.iter().map(|(name, (_, look))| (name.clone(), look.seen())).collect(),
            node: self.node.as_ref().map(|(_, look)| look.seen()),
        }
    }
}

async fn list(backend: Arc<dyn Provisioner>) -> Result<Listed> {
    let mut listed = Listed::default();
    let mut after: Option<String> = None;
    loop {
        let page = backend.list(after.as_deref(), PAGE).await?;
        listed.volumes.extend(page.items);
        listed.more = page.next.is_some();
        after = page.next;
        if !listed.more || listed.volumes.len() >= MAX {
            return Ok(listed);
        }
    }
}

async fn shown(node: Node) -> Result<Vec<Shown>> {
    match tokio::task::spawn_blocking(move || node.shown()).await {
        Ok(shown) => shown,
        Err(error) => Err(Error::internal("look at the mounts of this node").caused_by(error)),
    }
}

//! Looks at backends and at this node from time to time, so that there are numbers that nobody waits for.
//!
//! Each backend is looked at by a task of its own, on each side, one look after the other: one that hangs is seen as such, and keeps
//! nobody. What is asked goes over the seams like any other call, so it also tells whether the backend works when nobody uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hawser_controller::Provisioner;
use hawser_controller::provision::CapacityQuery;
use hawser_node::{Mounted, Node};
use hawser_volume::{BackendName, Result};
use tokio::task::JoinSet;

use super::calls::{Calls, Side};

/// How often a backend is asked for a sign of life.
const EVERY: Duration = Duration::from_secs(60);

/// How many signs of life there are between two counts of all volumes.
const COUNT_EVERY: u32 = 5;

/// How long a backend may take to give a sign of life before that is trouble.
const SILENCE: Duration = Duration::from_secs(30);

/// How many volumes are asked for at once.
const PAGE: usize = 500;

/// The volumes of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// How many there are.
    pub volumes: usize,
    /// How many of them some node has.
    pub attached: usize,
    /// With how many of them something is wrong.
    pub troubled: usize,
    /// When they were counted.
    pub at: SystemTime,
}

/// What was found last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Samples(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    listed: BTreeMap<BackendName, Listed>,
    capacities: BTreeMap<BackendName, u64>,
    mounted: BTreeMap<BackendName, Mounted>,
}

impl Samples {
    /// Volumes and free bytes of each backend, and what this node has of it.
    pub fn read(&self) -> (BTreeMap<BackendName, Listed>, BTreeMap<BackendName, u64>, BTreeMap<BackendName, Mounted>) {
        let state = self.state();
        (state.listed.clone(), state.capacities.clone(), state.mounted.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for as long as the set is kept.
pub fn keep_looking(
    samples: &Samples,
    calls: &Calls,
    provisioners: BTreeMap<BackendName, Arc<dyn Provisioner>>,
    node: Option<Node>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (name, backend) in provisioners {
        let (samples, calls) = (samples.clone(), calls.clone());
        tasks.spawn(async move {
            for turn in (0..COUNT_EVERY).cycle() {
                let look = look_at(&samples, &name, backend.as_ref(), turn == 0);
                in_time(&calls, &name, Side::Controller, "list", look).await;
                tokio::time::sleep(EVERY).await;
            }
        });
    }
    for name in node.as_ref().map(Node::backends).unwrap_or_default() {
        let (samples, calls, node) = (samples.clone(), calls.clone(), node.clone());
        tasks.spawn(async move {
            loop {
                let (node, asked) = (node.clone(), name.clone());
                let look = tokio::task::spawn_blocking(move || node.map(|node| node.census(&asked)).transpose());
                let count = async {
                    match look.await {
                        Ok(Ok(Some(mounted))) => drop(samples.state().mounted.insert(name.clone(), mounted)),
                        Ok(Ok(None)) => {}
                        // What does not work is told where it is asked.
                        Ok(Err(error)) => tracing::debug!(backend = %name, error = error.chain(), "cannot count what is mounted"),
                        Err(error) => tracing::debug!(backend = %name, %error, "counting what is mounted panicked"),
                    }
                };
                in_time(&calls, &name, Side::Node, "answers", count).await;
                tokio::time::sleep(EVERY).await;
            }
        });
    }
    tasks
}

/// Waits for `look`, however long it takes, and says so when that is too long.
async fn in_time(calls: &Calls, name: &BackendName, side: Side, operation: &'static str, look: impl Future<Output = ()>) {
    tokio::pin!(look);
    loop {
        tokio::select! {
            () = &mut look => return,
            () = tokio::time::sleep(SILENCE) => {
                calls.trouble(name, side, operation, format!("no answer for {} s", SILENCE.as_secs()));
            }
        }
    }
}

async fn look_at(samples: &Samples, name: &BackendName, backend: &dyn Provisioner, all: bool) {
    let done = async {
        if !all {
            return backend.list(None, 1).await.map(drop);
        }
        let listed = count(backend).await?;
        samples.state().listed.insert(name.clone(), listed);
        if backend.capabilities().capacity {
            let capacity = backend.capacity(CapacityQuery::default()).await?;
            samples.state().capacities.insert(name.clone(), capacity.available.get());
        }
        Ok(())
    };
    // What does not work is told where it is asked.
    if let Err(error) = done.await {
        tracing::debug!(backend = %name, error = error.chain(), "cannot look at the backend");
    }
}

async fn count(backend: &dyn Provisioner) -> Result<Listed> {
    let mut listed = Listed { volumes: 0, attached: 0, troubled: 0, at: SystemTime::now() };
    let mut after: Option<String> = None;
    loop {
        let page = backend.list(after.as_deref(), PAGE).await?;
        listed.volumes += page.items.len();
        listed.attached += page.items.iter().filter(|volume| !volume.nodes.is_empty()).count();
        listed.troubled += page.items.iter().filter(|volume| volume.trouble.is_some()).count();
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => return Ok(listed),
        }
    }
}

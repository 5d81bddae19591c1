//! A resource provider for a Mesos agent: storage that frameworks see in their offers, as disks that they make, use and destroy.
//!
//! Mesos has no external resource provider (MESOS-8371); but any process may speak to an agent as Mesos' own storage provider does, within
//! the agent. This one makes the CSI calls through the same [`Lifecycle`] as every other door.
//!
//! ```text
//!   agent ─ events ─▶ Session ─ Work ─▶ Lifecycle ─▶ CSI
//!     ▲                  │  ▲              │
//!     └──── calls ───────┘  └── Outcome ───┘       State: all that there is, in the ledger before the agent hears of it
//! ```
//!
//! * **The agent remembers nothing.** After each subscription it is told everything: resources, and operations that are under way or whose
//!   end it has not acknowledged.
//! * **An operation is on record before it is begun**, and its volume bears its uuid as name, so whatever is killed in between, there is
//!   one volume or none.
//! * **An agent aborts on a provider that miscounts.** Everything is counted here as Mesos counts it before the agent is told.
//! * **One subscription at a time.** The last one is closed, and a moment passes, before the next: an agent that notices the end of the old
//!   one after the beginning of the new one aborts.

mod adopt;
pub mod config;
mod disks;
mod format;
mod publish;
mod record;
mod report;
mod resource;
mod rivals;
mod session;
mod space;
mod state;
mod stream;
mod work;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hawser_proto::mesos::v1::offer;
use hawser_volume::{Kind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use adopt::{Operator, Unoffered};

use crate::ledger::Ledger;
use crate::lifecycle::Lifecycle;
use crate::mesos::{Agent, AgentId, Master};
use adopt::Adoption;
use config::ProviderConfig;
use rivals::{Cluster, Rivals};
use session::{End, Session};
use state::{Outcome, State, is_pending};
use work::{Slow, Work};

/// The type of the provider, as Mesos has them.
const TYPE: &str = "dev.hawser.rp";

/// The pause before the agent is subscribed with again; it doubles up to [`LONGEST_PAUSE`]. Never shorter: see above.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A provider that has not begun yet.
#[derive(Debug)]
pub struct Provider {
    agent: Agent,
    /// Who knows what other agents offer.
    cluster: Option<Arc<Cluster>>,
    lifecycle: Lifecycle,
    ledger: Ledger,
    config: ProviderConfig,
    /// The directory below which disks are shown.
    root: PathBuf,
    /// What frameworks see as the maker of disks.
    vendor: String,
    /// How often the space is measured.
    look_every: Duration,
}

/// Everything that a provider is made with.
#[derive(Debug)]
pub struct ProviderParts {
    /// The agent of this machine.
    pub agent: Agent,
    /// The master, without which no volume of another agent can be adopted.
    pub master: Option<Master>,
    /// Through which the storage is called.
    pub lifecycle: Lifecycle,
    /// Where everything is on record.
    pub ledger: Ledger,
    /// What is offered.
    pub config: ProviderConfig,
    /// The directory below which disks are shown.
    pub root: PathBuf,
    /// How often the space is measured, and who else offers the disks is looked at.
    pub look_every: Duration,
}

/// Operators' words that have arrived.
type Words = mpsc::Receiver<Adoption>;

/// Work that is under way, whichever subscription asked for it.
#[derive(Debug, Default)]
struct Doing {
    tasks: JoinSet<(Uuid, Result<Outcome>)>,
    uuids: BTreeSet<Uuid>,
}

impl Doing {
    fn start(&mut self, uuid: Uuid, work: Slow, lifecycle: &Lifecycle, rivals: Option<Rivals>) {
        if self.uuids.insert(uuid) {
            let lifecycle = lifecycle.clone();
            self.tasks.spawn(async move { (uuid, work.run(&lifecycle, rivals.as_ref()).await) });
        }
    }

    /// Notes the end of what needs no work any more.
    fn end(&mut self, uuid: Uuid, outcome: Result<Outcome>) {
        if self.uuids.insert(uuid) {
            self.tasks.spawn(std::future::ready((uuid, outcome)));
        }
    }

    /// One that has ended already.
    fn ended(&mut self) -> Option<(Uuid, Result<Outcome>)> {
        loop {
            match self.tasks.try_join_next()? {
                Ok((uuid, outcome)) => {
                    self.uuids.remove(&uuid);
                    return Some((uuid, outcome));
                }
                Err(error) => tracing::error!(%error, "the work of an operation panicked"),
            }
        }
    }

    /// The next that ends; nothing when nothing is under way.
    async fn next(&mut self) -> Option<(Uuid, Result<Outcome>)> {
        loop {
            match self.tasks.join_next().await? {
                Ok((uuid, outcome)) => {
                    self.uuids.remove(&uuid);
                    return Some((uuid, outcome));
                }
                // It is on record, and begun again with the next subscription.
                Err(error) => tracing::error!(%error, "the work of an operation panicked"),
            }
        }
    }
}

impl Provider {
    /// A provider, which offers what there is until `stop` is ready or an operator gives it up; and whom operators speak to.
    pub fn start<S>(parts: ProviderParts, stop: S) -> (impl Future<Output = ()> + Send + use<S>, Operator)
    where
        S: Future<Output = ()> + Send,
    {
        let ProviderParts { agent, master, lifecycle, ledger, config, root, look_every } = parts;
        let vendor = format!("{}.{}", lifecycle.driver().name, config.name);
        let cluster = master.map(|master| Arc::new(Cluster::of(master)));
        let provider = Self { agent, cluster, lifecycle, ledger, config, root, vendor, look_every };
        let (operator, mut words) = Operator::new(provider.cluster.clone(), provider.lifecycle.clone());
        let run = async move {
            let mut doing = Doing::default();
            tokio::select! {
                () = stop => {}
                () = provider.keep(&mut doing, &mut words) => {}
            }
        };
        (run, operator)
    }

    async fn keep(&self, doing: &mut Doing, words: &mut Words) {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let error = match Session::begin(self, doing).await {
                Ok((mut session, events)) => {
                    pause = FIRST_PAUSE;
                    match session.run(events, doing, words).await {
                        End::TornDown => return,
                        End::Lost(error) => error,
                    }
                }
                Err(error) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    error
                }
            };
            let hint = if error.kind() == Kind::NotFound {
                "; if an operator has given it up (MARK_RESOURCE_PROVIDER_GONE), it needs another `bridge.provider.name`"
            } else {
                ""
            };
            tracing::warn!(error = error.chain(), "not subscribed with Mesos' agent; trying again in {pause:?}{hint}");
        }
    }

    async fn load(&self) -> Result<State> {
        self.ledger.apart(State::load).await
    }

    /// Goes on with what was begun and is not under way, on the machine of `agent`.
    fn resume(&self, agent: &AgentId, state: &State, doing: &mut Doing) {
        for (uuid, operation) in state.operations().filter(|(_, operation)| is_pending(operation)) {
            match self.work(state, uuid, &operation.info) {
                Work::Slow(work) => doing.start(uuid, work, &self.lifecycle, self.rivals(agent)),
                Work::Done(outcome) => doing.end(uuid, outcome),
            }
        }
    }

    fn work(&self, state: &State, uuid: Uuid, info: &offer::Operation) -> Work {
        state.work(uuid, info, &self.config, &self.root, &self.vendor)
    }
}

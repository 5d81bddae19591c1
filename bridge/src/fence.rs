//! Fencing: a volume is taken from a node that is dead, never from one that is alive, and only on evidence.
//!
//! ```text
//!   who has it? ──▶ what is known about them? ──▶ decide ──▶ refuse: what would free it
//!   (CSI, record)   (master, agent, storage)         │
//!                                                    ▼ proof
//!                     limit ──▶ audit: intended ──▶ everything above once more ──▶ detach that node ──▶ audit: done | failed
//! ```
//!
//! [`decide()`] is a function of its arguments, and what each statement is worth stands in [`evidence`]. Everything else here gathers,
//! counts and writes down. docs/takeover.md tells operators the same.
//!
//! What fencing cannot do: between the last look and the moment in which the storage system detaches, a second or so, a holder that
//! was dead may come back. It then finds its volume gone, as after any detach. That a node which is cut off and alive cannot write
//! any more is the storage system's part: it must refuse what a detached host sends.

pub mod audit;
pub mod decide;
pub mod evidence;
pub mod holder;
pub mod limit;
mod moment;
pub mod proof;
pub mod refusal;
pub mod sightings;
pub mod store;
pub mod watch;
pub mod witness;

mod gather;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hawser_volume::attempt::Counts;
use hawser_volume::{Error, NodeId, Result};
use uuid::Uuid;

pub use audit::{Audit, Outcome, Record, Taker};
pub use decide::{Decision, decide};
pub use evidence::{Evidence, Grade, Says, Statement};
pub use holder::Holder;
pub use limit::{Limit, Takeovers};
pub use moment::Moment;
pub use proof::{Proof, Warrant};
pub use refusal::{Refusal, Why};
pub use sightings::Sightings;
pub use store::FenceStore;
pub use witness::{BackendWitness, Detach, HolderWitness};

use crate::mesos::{Http, Master, MasterView};
use crate::policy::Takeover;
use watch::Watch;

/// How often, at most and at least, is looked who is where.
const SEEN_EVERY: Duration = Duration::from_secs(300);
const SEEN_AT_LEAST: Duration = Duration::from_secs(6 * 3600);

/// What a [`Fence`] is made of.
pub struct FenceParts {
    /// Who takes volumes: the node of this bridge.
    pub taker: Taker,
    /// The masters of the cluster.
    pub master: Master,
    /// With which agents are asked, without its credential.
    pub http: Http,
    /// The storage system.
    pub backend: Arc<dyn BackendWitness>,
    /// Who knows who has a volume.
    pub holders: Arc<dyn HolderWitness>,
    /// What detaches.
    pub detach: Arc<dyn Detach>,
    /// What is remembered over restarts.
    pub store: Arc<dyn FenceStore>,
    /// How many are allowed.
    pub limit: Limit,
    /// Where takeovers are written down.
    pub audit: Arc<Audit>,
}

/// Takes volumes from dead nodes.
pub struct Fence {
    parts: FenceParts,
    watch: Mutex<Watch>,
    sightings: Mutex<Sightings>,
    takeovers: tokio::sync::Mutex<Takeovers>,
    busy: Mutex<HashSet<String>>,
    counts: Counts<Counted>,
}

/// What came of a wish to take a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// It was taken.
    Done,
    /// It was allowed, and did not come about.
    Failed,
    /// It was not allowed.
    Refused,
}

impl Fence {
    /// A fence that remembers what the one before it did. Fails when that cannot be read.
    pub async fn new(parts: FenceParts) -> Result<Arc<Self>> {
        let takeovers = parts.store.takeovers().await.map_err(|error| error.while_doing("read the takeovers of late"))?;
        let sightings =
            parts.store.sightings().await.map_err(|error| error.while_doing("read which agents were on which nodes"))?;
        Ok(Arc::new(Self {
            parts,
            watch: Mutex::default(),
            sightings: Mutex::new(sightings),
            takeovers: tokio::sync::Mutex::new(takeovers),
            busy: Mutex::default(),
            counts: Counts::default(),
        }))
    }

    /// Takeovers so far: what came of each, with the grade of the proof, or with the reason of the refusal. What has not happened yet is
    /// there with 0.
    pub fn counts(&self) -> BTreeMap<(&'static str, Counted), u64> {
        let proofs =
            Grade::ALL.into_iter().flat_map(|grade| [(grade.as_str(), Counted::Done), (grade.as_str(), Counted::Failed)]);
        let refusals = Why::WORDS.into_iter().map(|why| (why, Counted::Refused));
        let mut counts: BTreeMap<_, u64> = proofs.chain(refusals).map(|key| (key, 0)).collect();
        counts.extend(self.counts.read());
        counts
    }

    /// Whether `policy` lets `volume` be taken from `holder` now, and why not. Changes nothing, but that an agent which is asked
    /// about under `unreachable-after` is watched from now on.
    pub async fn judge(&self, volume: &str, policy: Takeover, holder: &Holder) -> Decision {
        let mut evidence = self.gather(volume, policy, holder).await;
        let decision = decide(policy, holder, &evidence, Moment::now());
        let is_alive = matches!(&decision, Decision::Refuse(refusal) if refusal.why == Why::Alive);
        if !is_alive || holder.task.is_some() {
            return decision;
        }
        match self.task_of(volume, holder).await {
            // The same once more, with words that help its reader further.
            Some(task) => {
                evidence.holder.task = Some(task);
                decide(policy, &evidence.holder, &evidence, Moment::now())
            }
            None => decision,
        }
    }

    /// Takes `volume` from whoever has it, if `policy` allows it: on return it is detached from them, and the former holder is
    /// returned; nothing when nobody has it, or this node itself.
    ///
    /// `Precondition` with what would free it when it is not allowed; `Unavailable` when it could not be found out, counted or written
    /// down, or another takeover of the volume is under way. An error of the detach is passed on.
    ///
    /// Once begun it goes on when the caller is gone, so that its outcome is written down.
    pub async fn take(self: Arc<Self>, volume: &str, policy: Takeover) -> Result<Option<Holder>> {
        let volume = volume.to_owned();
        tokio::spawn(async move {
            let _turn = Turn::of(&self.busy, &volume)?;
            self.take_in_turn(&volume, policy).await
        })
        .await
        .unwrap_or_else(|error| Err(Error::internal("take a volume over").caused_by(error)))
    }

    async fn take_in_turn(&self, volume: &str, policy: Takeover) -> Result<Option<Holder>> {
        let Some(holder) = self.others(volume).await? else {
            return Ok(None);
        };
        let first = self.prove(volume, policy, &holder).await?;
        self.count(volume).await?;
        let takeover = Uuid::new_v4();
        self.record(takeover, Outcome::Intended, volume, &first, None).await?;

        let (proof, detached) = match self.prove_again(volume, policy, &holder).await {
            Ok(proof) => {
                let warrant = Warrant::new(volume.to_owned(), proof.clone());
                let detached = self.parts.detach.detach(&warrant).await;
                (proof, detached)
            }
            Err(error) => (first, Err(error)),
        };
        let outcome = if detached.is_ok() { Outcome::Done } else { Outcome::Failed };
        self.counts.add(proof.grade().as_str(), if detached.is_ok() { Counted::Done } else { Counted::Failed });
        let error = detached.as_ref().err().map(Error::chain);
        // What happened has happened: that it could not be written down does not undo it.
        if let Err(error) = self.record(takeover, outcome, volume, &proof, error).await {
            tracing::error!(volume, takeover = %takeover, ?outcome, error = %error.chain(), "a takeover is not in the audit log");
        }
        detached.map_err(|error| error.while_doing(format_args!("take it from {holder}, which is dead by all that is known")))?;
        tracing::warn!(volume, from = %holder, policy = %policy, takeover = %takeover, "taken from a dead node");
        Ok(Some(holder))
    }

    /// Who has the volume, unless it is this node.
    async fn others(&self, volume: &str) -> Result<Option<Holder>> {
        let holder = self.parts.holders.holder(volume).await?;
        Ok(holder.filter(|holder| holder.node != self.parts.taker.node))
    }

    async fn prove(&self, volume: &str, policy: Takeover, holder: &Holder) -> Result<Proof> {
        match self.judge(volume, policy, holder).await {
            Decision::Take(proof) => Ok(*proof),
            Decision::Refuse(refusal) => {
                self.counts.add(refusal.why.as_str(), Counted::Refused);
                tracing::info!(volume, holder = %holder, policy = %policy, why = ?refusal.why, "not taken: {refusal}");
                Err(Error::precondition(format!("{volume} is not free: {refusal}")))
            }
        }
    }

    /// Everything once more, immediately before the detach: the record and the evidence that led here are older than the limit, the
    /// audit log and whatever made those wait.
    async fn prove_again(&self, volume: &str, policy: Takeover, before: &Holder) -> Result<Proof> {
        match self.others(volume).await? {
            Some(holder) if holder.is_same_hold(before) => self.prove(volume, policy, &holder).await,
            Some(holder) => Err(Error::precondition(format!("{volume} has changed hands meanwhile: it is held by {holder} now"))),
            None => Err(Error::precondition(format!("{volume} was let go meanwhile"))),
        }
    }

    async fn count(&self, volume: &str) -> Result<()> {
        let mut takeovers = self.takeovers.lock().await;
        let mut counted = takeovers.clone();
        counted.admit(volume, self.parts.limit, SystemTime::now())?;
        self.parts
            .store
            .put_takeovers(&counted)
            .await
            .map_err(|error| error.while_doing(format!("count the takeover of {volume}")))?;
        *takeovers = counted;
        Ok(())
    }

    async fn record(&self, takeover: Uuid, outcome: Outcome, volume: &str, proof: &Proof, error: Option<String>) -> Result<()> {
        let (audit, taker) = (Arc::clone(&self.parts.audit), self.parts.taker.clone());
        let (volume, proof) = (volume.to_owned(), proof.clone());
        // Blocks for as long as the disk does.
        tokio::task::spawn_blocking(move || {
            let record = Record::new(takeover, outcome, &volume, &taker, &proof);
            audit.append(&Record { error, ..record })
        })
        .await
        .unwrap_or_else(|error| Err(Error::internal("write the audit log").caused_by(error)))
    }

    /// Looks at the master for as long as it is polled: once in `period` ([`watch::EVERY`] is right) while an agent is watched for
    /// `unreachable-after`, and else from time to time, to see which agents are on which nodes. To be run beside everything else:
    /// without it, only those moments count in which somebody asks, and agents that nobody has asked about are unknown when they are
    /// no more.
    pub async fn keep_watch(&self, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = tokio::time::Instant::now();
        loop {
            ticks.tick().await;
            let idle = self.watch.lock().unwrap_or_else(PoisonError::into_inner).is_idle();
            let due = next <= tokio::time::Instant::now();
            if idle && !due {
                continue;
            }
            // Counted and remembered by the look itself; a failed one is repeated with the next tick.
            if let Ok((_, view)) = self.look().await
                && due
            {
                next = tokio::time::Instant::now() + rest(&view, &self.parts.taker.node);
                let sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner).clone();
                self.keep(&sightings).await;
            }
        }
    }
}

/// How long until the next look for the sake of seeing who is where. One look costs the master some kilobytes for each agent, and each
/// agent has a bridge: at one look a second, all bridges together, its work does not grow with the square of their number.
fn rest(view: &MasterView, node: &NodeId) -> Duration {
    let rest = Duration::from_secs(view.registered.len().try_into().unwrap_or(u64::MAX)).clamp(SEEN_EVERY, SEEN_AT_LEAST);
    // Bridges that were started together drift apart.
    let spread: u32 = node.as_str().bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 100;
    rest + rest * spread / 400
}

/// Held while a volume is taken over.
struct Turn<'a> {
    busy: &'a Mutex<HashSet<String>>,
    volume: String,
}

impl<'a> Turn<'a> {
    fn of(busy: &'a Mutex<HashSet<String>>, volume: &str) -> Result<Self> {
        if busy.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.to_owned()) {
            Ok(Self { busy, volume: volume.to_owned() })
        } else {
            Err(Error::unavailable(format!("{volume} is being taken over already: try again")))
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.volume);
    }
}

//! A volume that outlives its agent: an operator has it offered by another agent, with what is in it.
//!
//! Two agents may not offer one disk. CSI has no place for a note of who does, but the master knows: it lists what every agent offers.
//! So a disk is adopted when no agent that is there offers it and this node can attach it, which is the fence's word on the node that
//! had it; and whoever comes back looks at the same list ([`super::rivals`]).
//!
//! Which volumes there are that nobody offers, an operator is told on request.
//!
//! The disk is in the ledger before the agent hears of it. Whatever is killed before that, the operator's command is given again; what
//! was attached for the proof is released as everything is that nobody uses.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hawser_proto::csi;
use hawser_proto::mesos::v1::resource::{DiskInfo, disk_info};
use hawser_proto::mesos::v1::{Label, Labels, Resource, value};
use hawser_volume::{Access, AccessKind, AccessMode, Bytes, Deadline, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Provider;
use super::disks::DiskEntry;
use super::format::Stored;
use super::resource::{mebibytes, size};
use super::rivals::{ADOPTED, Cluster, Rivals};
use super::session::Session;
use crate::ledger::Made;
use crate::lifecycle::Lifecycle;

/// How long an operator is kept waiting. A storage system that detaches a volume from a dead node takes minutes.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long the driver may take to say what it knows of a volume.
const LOOK: Duration = Duration::from_secs(60);

/// How many operators' words may wait.
const WAITING: usize = 16;

/// Takes operators' words to a provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operator {
    words: mpsc::Sender<Adoption>,
    cluster: Option<Arc<Cluster>>,
    lifecycle: Lifecycle,
}

/// A volume that no agent offers: one that outlived its agent, or that tasks use without offers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unoffered {
    /// Its id.
    pub volume: String,
    /// Its size in bytes; nothing when the driver does not say.
    pub bytes: Option<u64>,
    /// The nodes that have it attached, as far as the driver says.
    pub nodes: Vec<String>,
}

/// An operator's word that a volume be offered here.
#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) id: String,
    answer: oneshot::Sender<Result<()>>,
}

/// A volume that can be offered here, as far as driver, fence and master say.
#[derive(Debug)]
pub(super) struct Adoptable {
    made: Made,
    size: Bytes,
}

impl Operator {
    /// The operator of a new provider, and where its words arrive.
    pub(super) fn new(cluster: Option<Arc<Cluster>>, lifecycle: Lifecycle) -> (Self, mpsc::Receiver<Adoption>) {
        let (words, receiver) = mpsc::channel(WAITING);
        (Self { words, cluster, lifecycle }, receiver)
    }

    /// The volumes that no agent offers, by their ids. `Precondition` without a master who could be asked, `Unavailable` when master or
    /// driver do not answer.
    pub async fn unoffered(&self) -> Result<Vec<Unoffered>> {
        // In this order: what is made and offered in between is not listed.
        let listed = self.lifecycle.driver().list(Deadline::after(LOOK)).await?;
        let view = self.cluster.as_ref().ok_or_else(no_master)?.view().await?;
        let is_offered = |id: &str| view.registered.values().any(|agent| agent.disks.contains_key(id));
        let mut found: Vec<Unoffered> = listed
            .into_iter()
            .filter_map(|entry| {
                let volume = entry.volume.filter(|volume| !is_offered(&volume.volume_id))?;
                let bytes = u64::try_from(volume.capacity_bytes).ok().filter(|bytes| *bytes > 0);
                let nodes = entry.status.map(|status| status.published_node_ids).unwrap_or_default();
                Some(Unoffered { volume: volume.volume_id, bytes, nodes })
            })
            .collect();
        found.sort_unstable_by(|a, b| a.volume.cmp(&b.volume));
        Ok(found)
    }

    /// Has the volume offered by this machine's agent. Success when it is already.
    ///
    /// `Precondition` when another agent offers it, when a node has it that may be alive, or when it is used here through another door;
    /// `NotFound` when the driver has no such volume; `Unavailable` when one of them could not be asked, or there is no subscription.
    pub async fn adopt(&self, id: &str) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let ended = || Error::unavailable("the bridge, or its subscription with Mesos' agent, ended meanwhile; ask again");
        self.words.send(Adoption { id: id.to_owned(), answer }).await.map_err(|_| ended())?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(answered) => answered.map_err(|_| ended())?,
            Err(_) => {
                Err(Error::deadline_exceeded("the bridge is not subscribed with Mesos' agent, or still at it; see its log"))
            }
        }
    }
}

impl Adoption {
    /// Tells the operator how it went.
    pub(super) fn answer(self, result: Result<()>) {
        // An operator who waits no more asks again.
        let _ = self.answer.send(result);
    }
}

impl Provider {
    /// Looks whether the volume can be offered here, which may take a while.
    pub(super) async fn adoptable(rivals: Option<Rivals>, lifecycle: Lifecycle, id: String) -> Result<Adoptable> {
        let rivals = rivals.ok_or_else(no_master)?;
        let driver = lifecycle.driver();
        let found = driver.find(Deadline::after(LOOK), |volume| volume.volume_id == id).await?;
        let volume = found.and_then(|entry| entry.volume);
        let volume: csi::Volume = volume.ok_or_else(|| Error::not_found(format!("the driver lists no volume {id}")))?;
        let size = u64::try_from(volume.capacity_bytes).ok().filter(|bytes| *bytes >= 1 << 20);
        let size = size.ok_or_else(|| Error::unsupported(format!("the driver does not say how large volume {id} is")))?;
        let made = Made { id: id.clone(), context: volume.volume_context };
        rivals.refuse(&id).await?;
        lifecycle.prove_disk(&made, any_use(), Deadline::after(PATIENCE)).await?;
        // Again: an agent that has come back meanwhile found the volume free.
        rivals.refuse(&id).await?;
        Ok(Adoptable { made, size: Bytes::new(size) })
    }
}

impl Session<'_> {
    /// Begins to look whether a volume can be offered here.
    pub(super) fn hear(&self, word: Adoption, looking: &mut JoinSet<(Adoption, Result<Adoptable>)>) {
        if self.state.disk(&word.id).is_some() {
            // It may be in use: nothing is tried with it.
            return word.answer(Ok(()));
        }
        let looked = Provider::adoptable(self.provider.rivals(&self.agent), self.provider.lifecycle.clone(), word.id.clone());
        looking.spawn(async move { (word, looked.await) });
    }

    /// Offers a volume that may be: as a disk that was there before, of which CREATE_DISK with a profile makes one to be used.
    pub(super) async fn adopt(&mut self, adoptable: Adoptable) -> Result<()> {
        let Adoptable { made, size: bytes } = adoptable;
        if self.state.disk(&made.id).is_some() {
            return Ok(());
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
        let label = Label { key: ADOPTED.to_owned(), value: Some(since.to_string()) };
        let source = disk_info::Source {
            r#type: disk_info::source::Type::Raw.into(),
            id: Some(made.id.clone()),
            vendor: Some(self.provider.vendor.clone()),
            metadata: Some(Labels { labels: vec![label] }),
            ..disk_info::Source::default()
        };
        let resource = Resource {
            provider_id: Some(self.caller.id().clone()),
            name: "disk".to_owned(),
            r#type: value::Type::Scalar.into(),
            scalar: Some(mebibytes(bytes)),
            reservations: self.provider.config.reservations(),
            disk: Some(DiskInfo { source: Some(source), ..DiskInfo::default() }),
            ..Resource::default()
        };
        size(&resource)?;
        let entry = DiskEntry { context: made.context, access: any_use(), resource: Stored(resource) };
        self.state.add_disk(&made.id, entry)?;
        tracing::warn!(volume = made.id, "an operator has this volume offered by this agent from now on");
        self.tell().await
    }
}

fn no_master() -> Error {
    Error::precondition("what other agents offer is asked of the master: `bridge.mesos-master` is needed")
}

/// As long as nobody has said how it will be used.
fn any_use() -> Access {
    Access { kind: AccessKind::Mount(hawser_volume::MountAccess::default()), mode: AccessMode::SingleNodeWriter }
}

//! A fence with everything around it: a master, a storage system that knows its hosts, a driver that detaches, and records.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hawser_bridge::fence::audit::Line;
use hawser_bridge::fence::{
    Audit, BackendWitness, Detach, Fence, FenceParts, FenceStore, Holder, HolderWitness, Limit, Sightings, Takeovers, Taker,
    Warrant,
};
use hawser_bridge::mesos::master::Patience;
use hawser_bridge::mesos::{Credential, Http, HttpOptions, Master};
use hawser_volume::{Error, HostState, NodeId, Result};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::fake::Fake;

pub const PATIENCE: Patience = Patience { each: Duration::from_millis(400), all: Duration::from_millis(1000) };

type Hook = Box<dyn FnMut() + Send>;

/// Everything around a fence that a test turns.
pub struct Surroundings {
    pub host: Mutex<HostState>,
    pub holder: Mutex<Option<Holder>>,
    /// Runs when the holder is asked for the second time: between the first proof and the one before the detach.
    pub meanwhile: Mutex<Option<Hook>>,
    pub holder_asked: Mutex<usize>,
    pub detached: Mutex<Vec<(String, String)>>,
    pub detach_error: Mutex<Option<Error>>,
    /// While set, a detach waits for `go`.
    pub detach_waits: AtomicBool,
    pub detach_begun: Notify,
    pub go: Notify,
    pub saved: Mutex<Takeovers>,
    pub seen: Mutex<Sightings>,
    pub store_error: AtomicBool,
}

#[async_trait]
impl BackendWitness for Surroundings {
    async fn host_state(&self, volume: &str, node: &NodeId) -> HostState {
        assert_eq!((volume, node.as_str()), ("local:v1", "n1"));
        self.host.lock().unwrap().clone()
    }
}

#[async_trait]
impl HolderWitness for Surroundings {
    async fn holder(&self, volume: &str) -> Result<Option<Holder>> {
        assert_eq!(volume, "local:v1");
        let asked = {
            let mut asked = self.holder_asked.lock().unwrap();
            *asked += 1;
            *asked
        };
        if asked % 2 == 0
            && let Some(hook) = self.meanwhile.lock().unwrap().as_mut()
        {
            hook();
        }
        Ok(self.holder.lock().unwrap().clone())
    }
}

#[async_trait]
impl Detach for Surroundings {
    async fn detach(&self, warrant: &Warrant) -> Result<()> {
        if self.detach_waits.load(Ordering::SeqCst) {
            self.detach_begun.notify_one();
            self.go.notified().await;
        }
        let node = warrant.node()?.to_string();
        self.detached.lock().unwrap().push((warrant.volume().to_owned(), node));
        match self.detach_error.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl FenceStore for Surroundings {
    async fn takeovers(&self) -> Result<Takeovers> {
        Ok(self.saved.lock().unwrap().clone())
    }

    async fn put_takeovers(&self, takeovers: &Takeovers) -> Result<()> {
        self.check_store()?;
        *self.saved.lock().unwrap() = takeovers.clone();
        Ok(())
    }

    async fn sightings(&self) -> Result<Sightings> {
        Ok(self.seen.lock().unwrap().clone())
    }

    async fn put_sightings(&self, sightings: &Sightings) -> Result<()> {
        self.check_store()?;
        *self.seen.lock().unwrap() = sightings.clone();
        Ok(())
    }
}

impl Surroundings {
    fn check_store(&self) -> Result<()> {
        match self.store_error.load(Ordering::SeqCst) {
            true => Err(Error::unavailable("write the ledger: disk full")),
            false => Ok(()),
        }
    }
}

pub struct World {
    /// The master, which a real one may stand in for.
    pub master: Fake,
    url: String,
    pub around: Arc<Surroundings>,
    pub fence: Arc<Fence>,
    pub audit: PathBuf,
    _place: TempDir,
}

impl World {
    /// Agent A on node n1 has the volume, and its master knows nothing of it; the storage system knows nothing of hosts.
    pub async fn new() -> Self {
        let master = Fake::start().await;
        let url = master.url();
        Self::around(master, url).await
    }

    /// The same with the master at `url`.
    pub async fn with(url: &str) -> Self {
        Self::around(Fake::start().await, url.to_owned()).await
    }

    async fn around(master: Fake, url: String) -> Self {
        let place = tempfile::tempdir().unwrap();
        let audit = place.path().join("takeovers.jsonl");
        let holder = Holder {
            agent: Some("A".parse().unwrap()),
            task: Some("db.1".into()),
            boot: Some("3c9e5a0e-1f2b-4f6a-9e55-6c1b7d2f0a11".into()),
            epoch: Some(7),
            ..Holder::on("n1".parse().unwrap())
        };
        let around = Arc::new(Surroundings {
            host: Mutex::new(HostState::Unknown("it does not know hosts".into())),
            holder: Mutex::new(Some(holder)),
            meanwhile: Mutex::default(),
            holder_asked: Mutex::default(),
            detached: Mutex::default(),
            detach_error: Mutex::default(),
            detach_waits: AtomicBool::new(false),
            detach_begun: Notify::new(),
            go: Notify::new(),
            saved: Mutex::default(),
            seen: Mutex::default(),
            store_error: AtomicBool::new(false),
        });
        let fence = fence(&url, &around, audit.clone()).await;
        Self { master, url, around, fence, audit, _place: place }
    }

    /// The same with another fence, as after a restart of the bridge.
    pub async fn restart(&mut self) {
        self.fence = fence(&self.url, &self.around, self.audit.clone()).await;
    }

    pub fn detached(&self) -> Vec<(String, String)> {
        self.around.detached.lock().unwrap().clone()
    }

    pub fn records(&self) -> Vec<Map<String, Value>> {
        let record = |line| match line {
            Line::Record(record) => record,
            Line::Torn(text) => panic!("torn: {text}"),
        };
        Audit::new(&self.audit).lines().unwrap().into_iter().map(record).collect()
    }

    pub fn outcomes(&self) -> Vec<String> {
        self.records().iter().map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
    }
}

async fn fence(master: &str, around: &Arc<Surroundings>, audit: PathBuf) -> Arc<Fence> {
    let plain = Http::new(HttpOptions::default()).unwrap();
    // Agents must not be shown it.
    let token = audit.with_file_name("token");
    std::fs::write(&token, "secret").unwrap();
    let http = Http::new(HttpOptions { credential: Some(Credential::Bearer(token)), ..HttpOptions::default() }).unwrap();
    Fence::new(FenceParts {
        taker: Taker { node: "n2".parse().unwrap(), agent: Some("B".parse().unwrap()) },
        master: Master::new(plain, master.parse().unwrap(), PATIENCE),
        http,
        backend: around.clone(),
        holders: around.clone(),
        detach: around.clone(),
        store: around.clone(),
        limit: Limit::default(),
        audit: Arc::new(Audit::new(audit)),
    })
    .await
    .unwrap()
}

//! What this process knows of its own work, and the gRPC service that tells it (`hawser.v1.Status`).
//!
//! A [`Board`] holds no state of its own: it looks at the queues in which calls wait, whose memory of failures is bounded, and at the end
//! of the bridge's audit log. So it is right for as long as they are, costs nothing until somebody asks, and never waits for a backend.

mod told;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hawser_bridge::fence::Audit;
use hawser_bridge::fence::audit::Told;
use hawser_proto::hawser::status_server::Status;
use hawser_proto::hawser::{GetStatusRequest, GetStatusResponse, Process};
use hawser_volume::queue::Queue;
use hawser_volume::{Error, NodeId, Result};
use tonic::{Request, Response};

use told::Clock;

/// The socket in a bridge's state directory on which the service is served, whichever driver the bridge stands in front of.
pub const SOCKET: &str = "status.sock";

/// How many takeovers are told.
const TAKEOVERS: usize = 100;

/// How long the audit log may take to be read.
const AUDIT: Duration = Duration::from_secs(2);

/// What a process is.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The driver's name, as GetPluginInfo says it.
    pub driver_name: String,
    /// `all`, `controller`, `node` or `bridge`.
    pub role: &'static str,
    /// The node, where there is one.
    pub node_id: Option<NodeId>,
}

/// What is known. Cheap to clone; the clones tell the same.
#[derive(Debug, Clone)]
pub struct Board {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    facts: Facts,
    started: SystemTime,
    driver: Option<Queue>,
    bridge: OnceLock<Bridge>,
}

/// What a bridge adds.
#[derive(Debug)]
struct Bridge {
    queue: Queue,
    audit: Arc<Audit>,
}

impl Board {
    /// A board of the process that `facts` describe, whose CSI calls wait in `driver`.
    pub fn new(facts: Facts, driver: Option<Queue>) -> Self {
        Self { inner: Arc::new(Inner { facts, started: SystemTime::now(), driver, bridge: OnceLock::new() }) }
    }

    /// The same work, of a process that is something else.
    #[must_use]
    pub fn in_role(&self, role: &'static str) -> Self {
        Self::new(Facts { role, ..self.inner.facts.clone() }, self.inner.driver.clone())
    }

    /// Adds the work of a bridge. The first one counts.
    pub fn join(&self, queue: Queue, audit: Arc<Audit>) {
        let _ = self.inner.bridge.set(Bridge { queue, audit });
    }

    /// Everything that is known now.
    pub async fn look(&self) -> GetStatusResponse {
        let inner = &self.inner;
        let clock = Clock::now();
        let process = Process {
            driver_name: inner.facts.driver_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: inner.facts.role.to_owned(),
            node_id: inner.facts.node_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            started: Some(inner.started.into()),
            now: Some(clock.wall().into()),
        };
        let bridge = inner.bridge.get();
        let queues = [(inner.driver.as_ref(), false), (bridge.map(|bridge| &bridge.queue), true)];
        let (mut work, mut failures) = (Vec::new(), Vec::new());
        for (queue, is_bridge) in queues.into_iter().filter_map(|(queue, is_bridge)| Some((queue?, is_bridge))) {
            work.extend(queue.work().into_iter().map(|work| (work.since, told::work(work, is_bridge, clock))));
            let newest = queue.failures().newest();
            failures.extend(newest.into_iter().map(|failure| (failure.last, told::failure(failure, is_bridge, clock))));
        }
        work.sort_by_key(|(since, _)| *since);
        failures.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
        let (takeovers, takeovers_error) = match takeovers(bridge).await {
            Ok(takeovers) => (takeovers.into_iter().map(told::takeover).collect(), String::new()),
            Err(error) => (Vec::new(), error.chain()),
        };
        GetStatusResponse {
            process: Some(process),
            work: work.into_iter().map(|(_, work)| work).collect(),
            failures: failures.into_iter().map(|(_, failure)| failure).collect(),
            takeovers,
            takeovers_error,
        }
    }
}

async fn takeovers(bridge: Option<&Bridge>) -> Result<Vec<Told>> {
    let Some(bridge) = bridge else { return Ok(Vec::new()) };
    let audit = Arc::clone(&bridge.audit);
    let path = audit.path().display().to_string();
    let read = tokio::task::spawn_blocking(move || audit.recent(TAKEOVERS));
    match tokio::time::timeout(AUDIT, read).await {
        Ok(read) => read.unwrap_or_else(|error| Err(Error::internal("read the audit log").caused_by(error))),
        Err(_) => Err(Error::unavailable(format!("read the audit log {path}: no answer for {} s", AUDIT.as_secs()))),
    }
}

#[async_trait]
impl Status for Board {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, tonic::Status> {
        let object = request.into_inner().object;
        let mut answer = self.look().await;
        if !object.is_empty() {
            told::only(&mut answer, &object);
        }
        Ok(Response::new(answer))
    }
}

//! The master: which agents there are, and what became of those that are not there any more.
//!
//! Three questions make one look. `GET_MASTER` says who leads, and since when. The registry (`/registrar(1)/registry`,
//! src/master/registrar.cpp) says which agents are admitted, which were marked unreachable and since when, and which were marked
//! gone; the operator API has no call for that: an agent that is not registered is simply missing from `GET_AGENTS`. The registry
//! is kept in the replicated log, so it outlives a failover of the master. `GET_AGENTS` comes last, so that an agent which
//! registers again between the questions is seen as registered.

mod view;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hawser_volume::{Error, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::endpoint::{Endpoint, Masters};
use super::http::{Answer, Http, parse};
use super::identity::{AgentId, AgentInfo};
use super::task::Task;
use super::wire::{self, AgentIdField, Seconds, TaskMessage, TimeInfo};
pub use view::{MasterView, RegisteredAgent, Standing};

/// The path of the operator API. Mesos serves it at `/api/v1` too, but only where the master is the default process.
const API: &str = "/master/api/v1";

/// The path of the registry. There is one registrar in a master's process.
const REGISTRY: &str = "/registrar(1)/registry";

/// How long a look may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// With one master, until the next one is asked.
    pub each: Duration,
    /// With all masters together.
    pub all: Duration,
}

impl Default for Patience {
    /// Five seconds for one master and twelve for all: two looks and a detach must fit into the 60 s of a CSI call of Mesos.
    fn default() -> Self {
        Self { each: Duration::from_secs(5), all: Duration::from_secs(12) }
    }
}

/// The masters of one cluster, of which one leads.
#[derive(Debug)]
pub struct Master {
    http: Http,
    masters: Masters,
    patience: Patience,
    /// Who led when last asked: asked first.
    leader: Mutex<Option<Endpoint>>,
}

/// One step with one master.
enum Step<T> {
    Done(T),
    Elsewhere(Endpoint),
}

impl Master {
    /// The masters, spoken to through `http`.
    pub fn new(http: Http, masters: Masters, patience: Patience) -> Self {
        Self { http, masters, patience, leader: Mutex::new(None) }
    }

    /// The addresses, for messages.
    pub fn addresses(&self) -> String {
        self.masters.endpoints().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// One look at the cluster. `Unavailable` when no master that leads has answered in time; the message says what each one did.
    pub async fn view(&self) -> Result<MasterView> {
        self.with_leader(|server| async move { self.look(&server).await }).await
    }

    /// The tasks that the master knows on `agent`: running, unreachable and completed ones. The answer has every task of the
    /// cluster in it; this is for explaining, not for each look.
    pub async fn tasks_on(&self, agent: &AgentId) -> Result<Vec<Task>> {
        let all = self.with_leader(|server| async move { self.call(&server, "GET_TASKS").await }).await?;
        let GetTasks { get_tasks: all } = all;
        let tasks = all.tasks.into_iter().chain(all.unreachable_tasks).chain(all.completed_tasks).map(Task::from);
        Ok(tasks.filter(|task| task.agent == *agent).collect())
    }

    /// Asks the masters in turn, the last leader first, until one of them answers as the leader.
    async fn with_leader<T, F: Future<Output = Result<Step<T>>>>(&self, ask: impl Fn(Endpoint) -> F) -> Result<T> {
        let end = Instant::now() + self.patience.all;
        let last = self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut waiting: VecDeque<Endpoint> = last.into_iter().chain(self.masters.endpoints().iter().cloned()).collect();
        let mut asked: Vec<Endpoint> = Vec::new();
        let mut problems: Vec<String> = Vec::new();
        while let Some(server) = waiting.pop_front() {
            if asked.iter().any(|earlier| earlier.is_same_server(&server)) {
                continue;
            }
            let started = Instant::now();
            match timeout_at((started + self.patience.each).min(end), ask(server.clone())).await {
                Ok(Ok(Step::Done(answer))) => {
                    *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
                    return Ok(answer);
                }
                Ok(Ok(Step::Elsewhere(leader))) if self.may_follow(&leader) => waiting.push_front(leader),
                Ok(Ok(Step::Elsewhere(leader))) => problems.push(format!(
                    "{server} says that {leader} leads, which is not among the configured masters and so gets no credential; add it"
                )),
                Ok(Err(error)) => problems.push(error.chain()),
                Err(_) => problems.push(format!("{server} does not answer within {} ms", started.elapsed().as_millis())),
            }
            asked.push(server);
        }
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if problems.is_empty() {
            problems.push(format!("{} send us to each other", self.addresses()));
        }
        Err(Error::unavailable(format!("no leading master answers: {}", problems.join("; "))))
    }

    fn may_follow(&self, leader: &Endpoint) -> bool {
        !self.http.has_credential() || self.masters.endpoints().iter().any(|known| known.is_same_server(leader))
    }

    async fn look(&self, server: &Endpoint) -> Result<Step<MasterView>> {
        let GetMaster { get_master } = match self.call(server, "GET_MASTER").await? {
            Step::Done(answer) => answer,
            Step::Elsewhere(leader) => return Ok(Step::Elsewhere(leader)),
        };
        let moved = || Error::unavailable(format!("{server} lost the lead while it was asked"));
        let registry: Registry = match self.http.ask(server, REGISTRY, "the registry", None).await? {
            Answer::Body(body) => parse(server, "the registry", &body)?,
            Answer::Elsewhere(_) => return Err(moved()),
        };
        // A master that does not lead answers with what it last knew, or with nothing.
        if registry.master.is_none_or(|master| master.info.id != get_master.master_info.id) {
            return Err(moved());
        }
        let Step::Done(GetAgents { get_agents }) = self.call(server, "GET_AGENTS").await? else {
            return Err(moved());
        };
        let registered = get_agents.agents.into_iter().map(|agent| {
            let process = agent.pid.as_deref().and_then(|pid| server.of_process(pid).ok());
            let info = AgentInfo::from(agent.agent_info);
            let disks = wire::labelled_disks(agent.total_resources);
            (info.id.clone(), RegisteredAgent { info, active: agent.active, process, disks })
        });
        let recovered = get_agents.recovered_agents.into_iter().map(AgentInfo::from);
        let marked = |slaves: Marked| slaves.slaves.into_iter().map(|slave| (slave.id.value, slave.timestamp.moment()));
        Ok(Step::Done(MasterView {
            leader: server.clone(),
            id: get_master.master_info.id,
            elected: get_master.elected_time.0,
            registered: registered.collect(),
            recovered: recovered.map(|info| (info.id.clone(), info)).collect(),
            admitted: registry.slaves.slaves.into_iter().map(|slave| slave.info.id.value).collect(),
            unreachable: marked(registry.unreachable).collect(),
            gone: marked(registry.gone).collect(),
        }))
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, server: &Endpoint, name: &str) -> Result<Step<T>> {
        match self.http.ask(server, API, name, Some(&json!({ "type": name }))).await? {
            Answer::Body(body) => Ok(Step::Done(parse(server, name, &body)?)),
            Answer::Elsewhere(leader) => Ok(Step::Elsewhere(leader)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct GetMaster {
    get_master: MasterAnswer,
}

#[derive(Debug, Deserialize)]
struct MasterAnswer {
    master_info: MasterInfo,
    elected_time: Seconds,
}

#[derive(Debug, Deserialize)]
struct MasterInfo {
    id: String,
}

#[derive(Debug, Deserialize)]
struct GetAgents {
    get_agents: AgentsAnswer,
}

#[derive(Debug, Deserialize)]
struct AgentsAnswer {
    #[serde(default)]
    agents: Vec<AgentMessage>,
    #[serde(default)]
    recovered_agents: Vec<wire::AgentInfo>,
}

#[derive(Debug, Deserialize)]
struct AgentMessage {
    agent_info: wire::AgentInfo,
    active: bool,
    pid: Option<String>,
    /// Those of its resource providers too.
    #[serde(default)]
    total_resources: Vec<wire::ResourceMessage>,
}

#[derive(Debug, Deserialize)]
struct GetTasks {
    get_tasks: TasksAnswer,
}

#[derive(Debug, Deserialize)]
struct TasksAnswer {
    #[serde(default)]
    tasks: Vec<TaskMessage>,
    #[serde(default)]
    unreachable_tasks: Vec<TaskMessage>,
    #[serde(default)]
    completed_tasks: Vec<TaskMessage>,
}

/// src/master/registry.proto.
#[derive(Debug, Deserialize)]
struct Registry {
    master: Option<RegistryMaster>,
    #[serde(default)]
    slaves: Admitted,
    #[serde(default)]
    unreachable: Marked,
    #[serde(default)]
    gone: Marked,
}

#[derive(Debug, Deserialize)]
struct RegistryMaster {
    info: MasterInfo,
}

#[derive(Debug, Default, Deserialize)]
struct Admitted {
    #[serde(default)]
    slaves: Vec<AdmittedSlave>,
}

#[derive(Debug, Deserialize)]
struct AdmittedSlave {
    info: SlaveInfo,
}

#[derive(Debug, Deserialize)]
struct SlaveInfo {
    id: AgentIdField,
}

#[derive(Debug, Default, Deserialize)]
struct Marked {
    #[serde(default)]
    slaves: Vec<MarkedSlave>,
}

#[derive(Debug, Deserialize)]
struct MarkedSlave {
    id: AgentIdField,
    timestamp: TimeInfo,
}

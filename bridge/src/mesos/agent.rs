//! One agent: who it is, what runs on it, and which volumes that declared.
//!
//! What the API tells and what it does not (Mesos 1.11.0, tried): a task's volumes come with `GET_TASKS`, an executor's with
//! `GET_EXECUTORS`. `GET_CONTAINERS` has the ids and processes of containers and no volumes, and lists nested and standalone ones
//! only when it is asked to. So nothing is told of the volumes of a standalone container; the isolators' own files
//! ([`super::checkpoint`]) have those, and are the second source for all others. A task that has ended but whose last status was
//! not acknowledged yet is among the `terminated_tasks`, in the state that was last acknowledged, `TASK_RUNNING`; it is not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_volume::{Error, Result};
use reqwest::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::http::{Answer, Http, parse};
use super::identity::AgentInfo;
use super::task::{ContainerId, DeclaredVolume, Task, Use};
use super::wire::{self, ContainerIdField, ContainerInfo, Id, ResourceMessage, TaskMessage};

/// The agent's process, where the address does not name another: there is one in an agent's program.
const PROCESS: &str = "/slave(1)";

/// How long an agent may take for one answer.
pub const AGENT_PATIENCE: Duration = Duration::from_secs(3);

/// The API of one agent.
#[derive(Debug, Clone)]
pub struct Agent {
    http: Http,
    server: Endpoint,
    api: String,
    patience: Duration,
}

/// What one agent said.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// What it says of itself.
    pub info: AgentInfo,
    /// The containers that run, nested and standalone ones too.
    pub containers: Vec<ContainerId>,
    /// The uses of volumes that it tells of: by tasks that are not over, also those that have not started yet, and by executors.
    pub uses: Vec<Use>,
    /// The containers of which it does not tell whether they use volumes.
    pub untold: Vec<ContainerId>,
}

impl AgentView {
    /// Who uses `volume`, as far as the agent tells.
    pub fn users_of<'a>(&'a self, volume: &'a DeclaredVolume) -> impl Iterator<Item = &'a Use> {
        self.uses.iter().filter(move |one| one.volume == *volume)
    }
}

impl Agent {
    /// The agent at `server`: `http://host:5051`, or with the path of its process as [`super::master::RegisteredAgent`] has it.
    pub fn new(http: Http, server: Endpoint, patience: Duration) -> Self {
        let process = if server.path().is_empty() { PROCESS } else { "" };
        Self { http, server, api: format!("{process}/api/v1"), patience }
    }

    /// Where it is asked.
    pub fn server(&self) -> &Endpoint {
        &self.server
    }

    /// Who answers there. `DeadlineExceeded` when nobody does in time.
    pub async fn identity(&self) -> Result<AgentInfo> {
        let GetAgent { get_agent } = self.call("GET_AGENT", json!({ "type": "GET_AGENT" })).await?;
        Ok(get_agent.agent_info.into())
    }

    /// The flags that it was started with, and the defaults of all others, by name.
    pub async fn flags(&self) -> Result<BTreeMap<String, String>> {
        let GetFlags { get_flags } = self.call("GET_FLAGS", json!({ "type": "GET_FLAGS" })).await?;
        Ok(get_flags.flags.into_iter().filter_map(|flag| Some((flag.name, flag.value?))).collect())
    }

    /// The names of the frameworks that have tasks or executors here, by id.
    pub async fn frameworks(&self) -> Result<BTreeMap<String, String>> {
        let GetFrameworks { get_frameworks } = self.call("GET_FRAMEWORKS", json!({ "type": "GET_FRAMEWORKS" })).await?;
        let known = get_frameworks.frameworks.into_iter().map(|framework| framework.framework_info);
        Ok(known.filter_map(|info| Some((info.id?.value, info.name))).collect())
    }

    /// What runs on the agent. Tasks are asked for before containers: what starts between the questions is seen by one of them.
    pub async fn view(&self) -> Result<AgentView> {
        let info = self.identity().await?;
        let GetTasks { get_tasks } = self.call("GET_TASKS", json!({ "type": "GET_TASKS" })).await?;
        let GetExecutors { get_executors } = self.call("GET_EXECUTORS", json!({ "type": "GET_EXECUTORS" })).await?;
        let every = json!({ "type": "GET_CONTAINERS", "get_containers": { "show_nested": true, "show_standalone": true } });
        // Without any container the answer has no member of this name.
        let GetContainers { get_containers } = self.call("GET_CONTAINERS", every).await?;

        let mut by_executor: BTreeMap<(String, String), ContainerId> = BTreeMap::new();
        let (mut containers, mut untold) = (Vec::new(), Vec::new());
        for container in get_containers.unwrap_or_default().containers {
            let nested = container.container_id.is_nested();
            let id = ContainerId::from(container.container_id);
            match (container.framework_id, container.executor_id) {
                (Some(framework), Some(executor)) if !nested => {
                    by_executor.insert((framework.value, executor.value), id.clone());
                }
                (Some(_), Some(_)) => {}
                _ => untold.push(id.clone()),
            }
            containers.push(id);
        }

        let mut uses = Vec::new();
        let tasks = get_tasks.pending_tasks.into_iter().chain(get_tasks.queued_tasks).chain(get_tasks.launched_tasks);
        for task in tasks.map(Task::from) {
            for volume in task.volumes {
                uses.push(Use {
                    volume,
                    framework: Some(task.framework.clone()),
                    executor: task.executor.clone(),
                    task: Some(task.id.clone()),
                    container: task.container.clone(),
                });
            }
        }
        for ExecutorMessage { executor_info } in get_executors.executors {
            let framework = executor_info.framework_id.map(|id| id.value);
            let executor = executor_info.executor_id.value;
            let container = framework.clone().and_then(|framework| by_executor.get(&(framework, executor.clone())).cloned());
            let declared = executor_info.container.map(ContainerInfo::declared).unwrap_or_default();
            for volume in declared.into_iter().chain(wire::disks(executor_info.resources)) {
                uses.push(Use {
                    volume,
                    framework: framework.clone(),
                    executor: Some(executor.clone()),
                    task: None,
                    container: container.clone(),
                });
            }
        }
        Ok(AgentView { info, containers, uses, untold })
    }

    /// Sends `body` to the API called `name`, below the agent's own (`resource_provider`), and returns what begins to come back; it may
    /// have no end. `Unavailable` when the agent does not take it.
    pub(crate) async fn post(&self, name: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> Result<Response> {
        let path = format!("{}/{name}", self.api);
        let asked = self.http.post(&self.server, &path, name, headers, body);
        tokio::time::timeout(self.patience, asked).await.map_err(|_| {
            let waited = self.patience.as_millis();
            Error::deadline_exceeded(format!("{name} of {}: it does not answer within {waited} ms", self.server))
        })?
    }

    async fn call<T: DeserializeOwned>(&self, name: &str, call: Value) -> Result<T> {
        let asked = self.http.ask(&self.server, &self.api, name, Some(&call));
        let answer = tokio::time::timeout(self.patience, asked).await.map_err(|_| {
            let waited = self.patience.as_millis();
            Error::deadline_exceeded(format!("ask {} for {name}: it does not answer within {waited} ms", self.server))
        })??;
        match answer {
            Answer::Body(body) => parse(&self.server, name, &body),
            Answer::Elsewhere(other) => {
                Err(Error::unavailable(format!("ask {} for {name}: it sends us to {other}, which no agent does", self.server)))
            }
        }
    }
}

impl ContainerIdField {
    fn is_nested(&self) -> bool {
        self.parent.is_some()
    }
}

#[derive(Debug, Deserialize)]
struct GetAgent {
    get_agent: AgentAnswer,
}

#[derive(Debug, Deserialize)]
struct AgentAnswer {
    agent_info: wire::AgentInfo,
}

#[derive(Debug, Deserialize)]
struct GetFlags {
    get_flags: FlagsAnswer,
}

#[derive(Debug, Deserialize)]
struct FlagsAnswer {
    flags: Vec<Flag>,
}

#[derive(Debug, Deserialize)]
struct Flag {
    name: String,
    /// Absent for a flag that has no value.
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
struct GetFrameworks {
    get_frameworks: FrameworksAnswer,
}

#[derive(Debug, Deserialize)]
struct FrameworksAnswer {
    #[serde(default)]
    frameworks: Vec<FrameworkMessage>,
}

#[derive(Debug, Deserialize)]
struct FrameworkMessage {
    framework_info: FrameworkInfo,
}

#[derive(Debug, Deserialize)]
struct FrameworkInfo {
    id: Option<Id>,
    name: String,
}

#[derive(Debug, Deserialize)]
struct GetTasks {
    get_tasks: TasksAnswer,
}

#[derive(Debug, Deserialize)]
struct TasksAnswer {
    #[serde(default)]
    pending_tasks: Vec<TaskMessage>,
    #[serde(default)]
    queued_tasks: Vec<TaskMessage>,
    #[serde(default)]
    launched_tasks: Vec<TaskMessage>,
}

#[derive(Debug, Deserialize)]
struct GetExecutors {
    get_executors: ExecutorsAnswer,
}

#[derive(Debug, Deserialize)]
struct ExecutorsAnswer {
    #[serde(default)]
    executors: Vec<ExecutorMessage>,
}

#[derive(Debug, Deserialize)]
struct ExecutorMessage {
    executor_info: ExecutorInfo,
}

#[derive(Debug, Deserialize)]
struct ExecutorInfo {
    executor_id: Id,
    framework_id: Option<Id>,
    container: Option<ContainerInfo>,
    #[serde(default)]
    resources: Vec<ResourceMessage>,
}

#[derive(Debug, Deserialize)]
struct GetContainers {
    get_containers: Option<ContainersAnswer>,
}

#[derive(Debug, Default, Deserialize)]
struct ContainersAnswer {
    #[serde(default)]
    containers: Vec<ContainerMessage>,
}

#[derive(Debug, Deserialize)]
struct ContainerMessage {
    container_id: ContainerIdField,
    framework_id: Option<Id>,
    executor_id: Option<Id>,
}

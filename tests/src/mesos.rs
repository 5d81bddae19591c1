//! A real Apache Mesos: a master and agents, each a process of its own, on loopback.
//!
//! `tests/mesos` says where the programs come from. An agent lives in an [`Enclosure`], which is its machine: it can be killed and
//! started again beside its containers, or lose its machine with everything on it.

pub mod agent;
pub mod container;
pub mod disk;
pub mod fake;
pub mod framework;
pub mod http;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use agent::Agent;
pub use container::Container;
pub use disk::{disk_of, is_disk, persistent, sized};
pub use fake::{FakeAgent, Welcome};
pub use framework::Framework;

use crate::Workspace;
use crate::binary::tool;
use crate::daemon::Daemon;
use crate::enclosure::{Enclosure, Network};
use crate::poll::until_async;

/// What differs between clusters.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many agents there are.
    pub agents: usize,
    /// What the agents isolate, as in their flag `isolation`.
    pub isolation: &'static str,
    /// The program that the isolator `docker/volume` runs as `dvdcli`, if that is used.
    pub dvdcli: Option<PathBuf>,
    /// The plugin that the isolator `volume/csi` calls, for each agent, if that is used.
    pub csi_plugins: Vec<CsiPlugin>,
    /// Directories below which the agents and their containers see mounts; those of later too if they are
    /// [shared](crate::enclosure::share).
    pub seen: Vec<PathBuf>,
    /// The CSI node that each agent is, which it tells the master as its attribute `csi_node`.
    pub nodes: Vec<&'static str>,
    /// More flags, as variables: `MESOS_…` and their values.
    pub flags: Vec<(&'static str, String)>,
}

impl Options {
    /// One agent that gets its volumes from `dvdcli`.
    pub fn with_dvdcli(dvdcli: &Path) -> Self {
        Self { isolation: "filesystem/linux,docker/volume", dvdcli: Some(dvdcli.to_owned()), ..Self::default() }
    }

    /// An agent for each of `plugins`, which gets its volumes from that.
    pub fn with_csi(plugins: &[CsiPlugin]) -> Self {
        let seen = plugins.iter().map(|plugin| plugin.targets.clone()).collect();
        Self {
            agents: plugins.len(),
            isolation: "filesystem/linux,volume/csi",
            csi_plugins: plugins.to_vec(),
            seen,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agents: 1,
            isolation: "filesystem/linux",
            dvdcli: None,
            csi_plugins: Vec::new(),
            seen: Vec::new(),
            nodes: Vec::new(),
            flags: Vec::new(),
        }
    }
}

/// A CSI plugin that runs beside an agent.
#[derive(Debug, Clone)]
pub struct CsiPlugin {
    /// What tasks call it.
    pub name: &'static str,
    /// Where its Node service listens.
    pub socket: PathBuf,
    /// The directory below which Mesos has volumes staged and published. It has to be [shared](crate::enclosure::share) when the
    /// plugin runs outside of the agent's machine.
    pub targets: PathBuf,
    /// The file for Mesos that somebody else has written, if one is to be used; only the target path is added to it.
    pub written: Option<PathBuf>,
}

impl CsiPlugin {
    /// What Mesos reads of it.
    fn description(&self) -> Value {
        let mut description = match &self.written {
            Some(path) => serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
            None => {
                let endpoint = json!({"csi_service": "NODE_SERVICE", "endpoint": format!("unix://{}", self.socket.display())});
                json!({"type": self.name, "endpoints": [endpoint]})
            }
        };
        description["target_path_root"] = json!(self.targets);
        description
    }
}

/// A cluster.
#[derive(Debug)]
pub struct Mesos {
    // Dropped in this order: agents before their master, and a process before its machine.
    agents: Vec<Agent>,
    master: Daemon,
    _machine: Enclosure,
    url: String,
}

impl Mesos {
    /// Starts a cluster in `workspace`; returns when all agents are registered.
    pub async fn start(workspace: &Workspace, options: Options) -> Self {
        let directory = workspace.directory("mesos");
        let machine = Enclosure::new(Network::Shared, &[], "");
        let mut command = machine.command(program("mesos"));
        command.arg("master").envs(environment(&directory.join("master"))).envs(options.flags.iter().cloned());
        let master = machine.spawn(command, &directory.join("master.log"));
        let port = http::port_in(&master, "started on 127.0.0.1:").await;
        let mut mesos = Self { agents: Vec::new(), master, _machine: machine, url: format!("http://127.0.0.1:{port}") };
        for number in 0..options.agents {
            mesos.agents.push(Agent::start(&directory.join(format!("agent-{number}")), number, port, &options).await);
        }
        for agent in &mesos.agents {
            mesos.until_registered(agent).await;
        }
        mesos
    }

    /// Where the master listens; its API is at `/api/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An agent.
    pub fn agent(&self, number: usize) -> &Agent {
        &self.agents[number]
    }

    /// The same, to kill and start.
    pub fn agent_mut(&mut self, number: usize) -> &mut Agent {
        &mut self.agents[number]
    }

    /// Calls the master's operator API; panics unless the answer is well.
    pub async fn call(&self, call: &Value) -> Value {
        http::call(&self.url, call).await.unwrap_or_else(|error| panic!("{call}: {error}\n{}", self.master.tail()))
    }

    /// The agents that the master knows, as it describes them.
    pub async fn agents(&self) -> Vec<Value> {
        let mut answer = self.call(&json!({"type": "GET_AGENTS"})).await;
        match answer["get_agents"]["agents"].take() {
            Value::Array(agents) => agents,
            _ => Vec::new(),
        }
    }

    /// Whether the master calls this agent active.
    pub async fn is_active(&self, id: &str) -> bool {
        self.agents().await.iter().any(|agent| agent["agent_info"]["id"]["value"] == id && agent["active"] == true)
    }

    /// Waits until an agent is registered as the process that it is now.
    pub async fn until_registered(&self, agent: &Agent) {
        until_async("the registration of an agent", async || {
            let pid = agent.pid();
            self.agents().await.iter().any(|known| known["active"] == true && known["pid"] == *pid).then_some(())
        })
        .await;
    }

    /// The operations that the master knows: those that are under way, and those whose end nobody has acknowledged.
    pub async fn operations(&self) -> Vec<Value> {
        let mut answer = self.call(&json!({"type": "GET_OPERATIONS"})).await;
        match answer["get_operations"]["operations"].take() {
            Value::Array(operations) => operations,
            _ => Vec::new(),
        }
    }

    /// Stops the master where it is: it takes connections and says nothing. [`Mesos::go_on`] ends it.
    pub fn stop(&self) {
        self.master.freeze();
    }

    /// Ends [`Mesos::stop`].
    pub fn go_on(&self) {
        self.master.thaw();
    }

    /// Tells the master that an agent will never come back.
    pub async fn mark_agent_gone(&self, id: &str) {
        self.call(&json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": id}}})).await;
    }

    /// The end of what everybody said, for a report.
    pub fn tail(&self) -> String {
        let agents: String = self.agents.iter().map(Agent::tail).collect();
        format!("--- master\n{}\n{agents}", self.master.tail())
    }

    /// Panics unless no container is left, nor a mount or a control group of one.
    pub async fn finish(&self) {
        for agent in &self.agents {
            agent.assert_clean().await;
        }
    }
}

/// A program that `tests/mesos/install` put into place.
fn program(name: &str) -> PathBuf {
    tool("mesos").join("libexec").join(name)
}

/// What master and agents have in common.
fn environment(work: &Path) -> Vec<(&'static str, String)> {
    let text = |value: &str| value.to_owned();
    vec![
        ("LIBPROCESS_IP", text("127.0.0.1")),
        ("LIBPROCESS_PORT", text("0")),
        ("MESOS_HOSTNAME", text("localhost")),
        ("MESOS_WORK_DIR", work.display().to_string()),
        // Real time is short in a test.
        ("MESOS_ALLOCATION_INTERVAL", text("50ms")),
        ("MESOS_REGISTRATION_BACKOFF_FACTOR", text("10ms")),
    ]
}

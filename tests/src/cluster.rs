//! A Mesos cluster with a bridge beside each agent, over one pool: what Hawser is made for, on one machine.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::binary::hawser;
use crate::bridge::Agents;
use crate::bridges::{AGENTS, Bridges};
use crate::kernel::mounts_below;
use crate::mesos::{Container, CsiPlugin, Mesos, Options};
use crate::output::Output;
use crate::workspace::Workspace;

/// What tasks call the plugin.
pub const PLUGIN: &str = "csi.hawser.dev";

/// Through which of Mesos' isolators its containers get their volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `docker/volume`, which runs `dvdcli`.
    Dvdcli,
    /// `volume/csi`.
    Csi,
    /// None: disks are among the resources of tasks.
    Provider,
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: containers before what they use.
    mesos: Mesos,
    bridges: Bridges,
    more: Vec<String>,
    _workspace: Workspace,
}

impl Cluster {
    /// Starts everything. `more` is added to each bridge's section of the configuration, and `flags` to those of master and agents.
    pub async fn start(way: Way, more: &[&str], flags: &[(&'static str, String)]) -> Self {
        let mut bridges = Bridges::start().await;
        let workspace = Workspace::new();
        let options = match way {
            Way::Dvdcli => Options { agents: AGENTS.len(), seen: bridges.shared.clone(), ..Options::with_dvdcli(hawser()) },
            Way::Provider => Options { agents: AGENTS.len(), seen: bridges.shared.clone(), ..Options::default() },
            Way::Csi => Options::with_csi(&AGENTS.map(|agent| CsiPlugin {
                name: PLUGIN,
                socket: bridges.place(agent, "isolator.sock"),
                targets: bridges.place(agent, "targets"),
                written: Some(written(&bridges, agent)),
            })),
        };
        let mesos = Mesos::start(&workspace, Options { nodes: AGENTS.to_vec(), flags: flags.to_vec(), ..options }).await;
        for (number, name) in AGENTS.into_iter().enumerate() {
            if way == Way::Dvdcli {
                symlink(bridges.plugin(name), mesos.agent(number).plugins().join("hawser.sock")).unwrap();
            }
            // Only now is it known where they listen.
            configure(&mut bridges, &mesos, name, number, more);
            bridges.agents.start(name).await;
        }
        Self { mesos, bridges, more: more.iter().map(|&line| line.to_owned()).collect(), _workspace: workspace }
    }

    /// From its next start on, the bridge of an agent asks `other` what its containers use.
    pub fn misdirect_bridge(&mut self, number: usize, other: usize) {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        configure(&mut self.bridges, &self.mesos, AGENTS[number], other, &more);
    }

    /// Mesos.
    pub fn mesos(&self) -> &Mesos {
        &self.mesos
    }

    /// The same, to kill and start agents.
    pub fn mesos_mut(&mut self) -> &mut Mesos {
        &mut self.mesos
    }

    /// The bridges.
    pub fn bridges(&self) -> &Agents {
        &self.bridges.agents
    }

    /// Starts the bridge of an agent, or starts it again.
    pub async fn start_bridge(&mut self, number: usize) {
        self.bridges.agents.start(AGENTS[number]).await;
    }

    /// Kills the bridge of an agent without warning.
    pub fn kill_bridge(&mut self, number: usize) {
        self.bridges.agents.kill(AGENTS[number]);
    }

    /// Takes the power from the machine of an agent: process, containers, bridge, mounts.
    pub fn lose_machine(&mut self, number: usize) {
        self.mesos.agent_mut(number).lose_machine();
        self.bridges.agents.lose_machine(AGENTS[number], &self.bridges.shared);
    }

    /// Starts the machine of an agent again: its bridge, and then its agent, as units of an init system would.
    pub async fn start_machine(&mut self, number: usize) {
        self.start_bridge(number).await;
        self.mesos.agent_mut(number).start_again().await;
        self.mesos.until_registered(self.mesos.agent(number)).await;
    }

    /// What `hawser doctor` finds of Mesos on the machine of an agent: each step with its result and its words.
    pub async fn examined(&self, number: usize) -> Vec<Value> {
        self.examined_as(number, AGENTS[number]).await
    }

    /// The same with another id of the node.
    pub async fn examined_as(&self, number: usize, node: &str) -> Vec<Value> {
        let mut command = Command::new(hawser());
        command.args(["doctor", "--only", "mesos", "--output", "json", "--node-id", node, "--config"]);
        command.arg(self.place(number, "config.yaml"));
        let output = Output::of(command).await;
        let reports: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        reports[0]["checks"].as_array().unwrap().clone()
    }

    /// A file or directory of an agent's bridge.
    pub fn place(&self, number: usize, what: &str) -> PathBuf {
        self.bridges.place(AGENTS[number], what)
    }

    /// The volumes that are mounted on an agent's machine, by their mount points.
    pub fn mounted(&self, number: usize) -> Vec<PathBuf> {
        let mounts = mounts_below(&self.place(number, ""));
        mounts.into_iter().map(|mount| mount.point).filter(|point| !self.bridges.shared.contains(point)).collect()
    }

    /// The takeovers that an agent's bridge has written down.
    pub fn takeovers(&self, number: usize) -> Vec<Value> {
        let text = std::fs::read_to_string(self.place(number, "state/takeovers.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until no volume is mounted, as Mesos unmounts after it has said that a task has ended; ends Mesos and the bridges.
    pub fn finish(self) {
        self.bridges.until_unmounted();
        drop(self.mesos);
        self.bridges.finish();
    }
}

impl Way {
    /// A container with a small volume at `data`, which is made on its first use.
    pub fn container(self, id: &str, volume: &str, shell: &str) -> Container {
        match self {
            Way::Dvdcli => {
                let options = [("size", "64MiB"), ("newFsType", "ext4")];
                Container::new(id, shell).docker_volume("data", "hawser", volume, &options)
            }
            Way::Csi => Container::new(id, shell).csi_volume("data", PLUGIN, &made_on_first_use(volume)),
            Way::Provider => panic!("a disk is made by an operation and not by a container"),
        }
    }
}

/// Has the bridge `name` ask the master and the agent with this number.
fn configure(bridges: &mut Bridges, mesos: &Mesos, name: &str, asked: usize, more: &[&str]) {
    let [master, agent] = [format!("mesos-master: {}", mesos.url()), format!("mesos-agent: {}", mesos.agent(asked).url())];
    bridges.agents.configure(name, &[&[master.as_str(), &agent], more].concat());
}

/// The plugin file for an agent, as users have it written.
fn written(bridges: &Bridges, agent: &str) -> PathBuf {
    let directory = bridges.place(agent, "mesos");
    let config = bridges.place(agent, "config.yaml");
    let arguments = ["mesos", "config", "write", "--for", "isolator", "--isolation", "filesystem/linux", "--directory"];
    let output = Command::new(hawser()).args(arguments).arg(&directory).arg("--config").arg(config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory.join("csi-plugins").join(format!("{PLUGIN}.json"))
}

/// What Mesos calls the static provisioning of a volume that is made on its first use.
fn made_on_first_use(name: &str) -> Value {
    json!({
        "volume_id": name,
        "volume_capability": {"mount": {"fs_type": "ext4"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
        "volume_context": {"create": "if-absent", "size": "64MiB"},
    })
}

//! A Mesos cluster with a bridge beside each agent, over one pool: what Hawser is made for, on one machine.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

use crate::binary::hawser;
use crate::bridge::Agents;
use crate::enclosure::share;
use crate::ground::{Footing, Ground};
use crate::kernel::mounts_below;
use crate::mesos::{CsiPlugin, Mesos, Options};
use crate::poll::until;
use crate::workspace::Workspace;

/// The agents, which are also the CSI nodes.
pub const AGENTS: [&str; 2] = ["agent-1", "agent-2"];

/// What tasks call the plugin.
pub const PLUGIN: &str = "csi.hawser.dev";

/// Through which of Mesos' isolators its containers get their volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `docker/volume`, which runs `dvdcli`.
    Dvdcli,
    /// `volume/csi`.
    Csi,
}

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: containers before what they use.
    mesos: Mesos,
    bridges: Bridges,
    _workspace: Workspace,
}

impl Cluster {
    /// Starts everything. `more` is added to each bridge's section of the configuration, and `flags` to those of master and agents.
    pub async fn start(way: Way, more: &[&str], flags: &[(&'static str, String)]) -> Self {
        let mut bridges = Bridges::start().await;
        let workspace = Workspace::new();
        let options = match way {
            Way::Dvdcli => Options { agents: AGENTS.len(), seen: bridges.shared.clone(), ..Options::with_dvdcli(hawser()) },
            Way::Csi => Options::with_csi(&AGENTS.map(|agent| CsiPlugin {
                name: PLUGIN,
                socket: bridges.place(agent, "isolator.sock"),
                targets: bridges.place(agent, "targets"),
            })),
        };
        let mesos = Mesos::start(&workspace, Options { nodes: AGENTS.to_vec(), flags: flags.to_vec(), ..options }).await;
        for (number, name) in AGENTS.into_iter().enumerate() {
            if way == Way::Dvdcli {
                symlink(bridges.plugin(name), mesos.agent(number).plugins().join("hawser.sock")).unwrap();
            }
            // Only now is it known where they listen.
            let mut lines = vec![format!("mesos-master: {}", mesos.url()), format!("mesos-agent: {}", mesos.agent(number).url())];
            lines.extend(more.iter().map(|&line| line.to_owned()));
            bridges.agents.configure(name, &lines.iter().map(String::as_str).collect::<Vec<_>>());
            bridges.agents.start(name).await;
        }
        Self { mesos, bridges, _workspace: workspace }
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

    /// Ends Mesos, waits until no volume is mounted, and ends the bridges.
    pub fn finish(self) {
        drop(self.mesos);
        self.bridges.finish();
    }
}

/// Bridges of agents over one pool, whose mounts are seen on their agents' machines.
#[derive(Debug)]
pub struct Bridges {
    agents: Agents,
    shared: Vec<PathBuf>,
    _ground: Footing,
}

impl Bridges {
    /// Starts one for each of [`AGENTS`].
    pub async fn start() -> Self {
        let ground = Footing::of(Ground::Xfs);
        let mut agents = Agents::new(ground.path(), &[]);
        let mut shared = Vec::new();
        for name in AGENTS {
            for kind in ["mounts", "targets"] {
                shared.push(agents.workspace().directory(Path::new(name).join(kind)));
            }
        }
        shared.iter().for_each(|directory| share(directory));
        for name in AGENTS {
            agents.start(name).await;
        }
        Self { agents, shared, _ground: ground }
    }

    /// The bridges themselves.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// The directories below which they mount.
    pub fn shared(&self) -> &[PathBuf] {
        &self.shared
    }

    /// The socket of an agent's Docker volume plugin.
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.agents.agent(name).plugins().join("hawser.sock")
    }

    /// A file or directory of an agent's bridge.
    pub fn place(&self, name: &str, what: &str) -> PathBuf {
        self.agents.workspace().path().join(name).join(what)
    }

    /// Waits until no volume is mounted, and stops the bridges.
    pub fn finish(self) {
        until("the end of the last mount", || {
            let mounted = mounts_below(self.agents.workspace().path());
            mounted.iter().all(|mount| self.shared.contains(&mount.point)).then_some(())
        });
        for directory in &self.shared {
            unmount(directory, UnmountFlags::NOFOLLOW).unwrap();
        }
        self.agents.finish();
    }
}

/// What Mesos calls the static provisioning of a volume that is made on its first use.
pub fn made_on_first_use(name: &str) -> Value {
    json!({
        "volume_id": name,
        "volume_capability": {"mount": {"fs_type": "ext4"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
        "volume_context": {"create": "if-absent", "size": "64MiB"},
    })
}

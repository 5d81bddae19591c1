//! Bridges of two agents whose mounts are seen in the machines of others.

use std::path::{Path, PathBuf};

use crate::bridge::{Agent, Agents};
use crate::enclosure::share;
use crate::faults::Faults;
use crate::ground::{Footing, Ground};
use crate::kernel::mounts_below;
use crate::poll::until;
use rustix::mount::{UnmountFlags, unmount};

/// The names of the agents.
pub const AGENTS: [&str; 2] = ["agent-1", "agent-2"];

/// Bridges of agents, over one pool, whose mounts are seen on their agents' machines.
#[derive(Debug)]
pub struct Bridges {
    /// The bridges themselves.
    pub agents: Agents,
    /// The directories below which they mount.
    pub shared: Vec<PathBuf>,
    _ground: Footing,
}

impl Bridges {
    /// The bridges as they are by default.
    pub async fn start() -> Self {
        Self::of(Agents::new, &[]).await
    }

    /// Bridges whose calls fail as their [`faults`](Self::faults) order, with `more` in their configuration.
    pub async fn start_with_faults(more: &[&str]) -> Self {
        Self::of(Agents::with_faults, more).await
    }

    /// Bridges with `more` in their configuration.
    pub async fn start_with(more: &[&str]) -> Self {
        Self::of(Agents::new, more).await
    }

    async fn of(agents: impl FnOnce(&Path, &[&str]) -> Agents, more: &[&str]) -> Self {
        let ground = Footing::of(Ground::Xfs);
        let mut agents = agents(ground.path(), more);
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

    /// The doors of an agent.
    pub fn agent(&self, name: &str) -> Agent {
        self.agents.agent(name)
    }

    /// The faults of an agent's bridge.
    pub fn faults(&self, name: &str) -> Faults {
        self.agents.faults(name)
    }

    /// The socket of an agent's Docker volume plugin.
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.agents.agent(name).plugins().join("hawser.sock")
    }

    /// A file or directory of an agent's bridge.
    pub fn place(&self, name: &str, what: &str) -> PathBuf {
        self.agents.workspace().path().join(name).join(what)
    }

    /// How many mounts of volumes there are, of all agents.
    pub fn mounted(&self) -> usize {
        let mounts = mounts_below(self.agents.workspace().path());
        mounts.iter().filter(|mount| !self.shared.contains(&mount.point)).count()
    }

    /// Waits until no volume is mounted.
    pub fn until_unmounted(&self) {
        until("the end of the last mount", || (self.mounted() == 0).then_some(()));
    }

    /// Waits until no volume is mounted, and stops the bridges.
    pub fn finish(self) {
        self.until_unmounted();
        for directory in &self.shared {
            unmount(directory, UnmountFlags::NOFOLLOW).unwrap();
        }
        self.agents.finish();
    }
}

//! What one look at the leading master found.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hawser_volume::NodeId;

use crate::mesos::endpoint::Endpoint;
use crate::mesos::identity::{AgentId, AgentInfo};

/// An agent that is registered with the leading master.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredAgent {
    /// What it says of itself.
    pub info: AgentInfo,
    /// Whether the master offers its resources: it is connected, and nobody has deactivated it.
    pub active: bool,
    /// Where it answers, as the master knows it.
    pub process: Option<Endpoint>,
    /// The disks with an id that it offers, each with the labels of its source.
    pub disks: BTreeMap<String, BTreeMap<String, String>>,
}

/// What the leading master said at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct MasterView {
    /// Who was asked.
    pub leader: Endpoint,
    /// The id of this master, another one after each failover.
    pub id: String,
    /// Since when it leads, by its clock.
    pub elected: SystemTime,
    /// The agents that are registered.
    pub registered: BTreeMap<AgentId, RegisteredAgent>,
    /// The agents that were registered with an earlier master and have not come back yet.
    pub recovered: BTreeMap<AgentId, AgentInfo>,
    /// The agents that were admitted when the registry was read.
    pub(super) admitted: Vec<AgentId>,
    /// The agents that were marked unreachable, and when, by the clock of the master that did it.
    pub unreachable: BTreeMap<AgentId, SystemTime>,
    /// The agents that were marked gone, and when.
    pub gone: BTreeMap<AgentId, SystemTime>,
}

/// What the master says of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Registered: it answers the master's pings, or failed to for less than the ping timeout (75 s by default).
    Registered {
        /// See [`RegisteredAgent::active`].
        active: bool,
    },
    /// Known from before the master led, and not yet back; it has ten minutes or more.
    Recovered,
    /// It did not answer pings, or did not come back after a failover. It may still run, and its tasks with it.
    Unreachable {
        /// Since when, by the clock of the master that marked it.
        since: SystemTime,
    },
    /// An operator, or a drain that was asked to, said that it never comes back.
    Gone {
        /// Since when.
        since: SystemTime,
    },
    /// Not in the registry. It may have unregistered, or a new agent took its address; it may have been unreachable or gone for
    /// so long that the master forgot (`--registry_max_agent_age`, two weeks by default); or this is not its master at all.
    Unknown,
}

impl MasterView {
    /// What the master says of `agent`.
    pub fn standing(&self, agent: &AgentId) -> Standing {
        if let Some(registered) = self.registered.get(agent) {
            return Standing::Registered { active: registered.active };
        }
        if self.recovered.contains_key(agent) {
            return Standing::Recovered;
        }
        if let Some(since) = self.gone.get(agent) {
            return Standing::Gone { since: *since };
        }
        if let Some(since) = self.unreachable.get(agent) {
            return Standing::Unreachable { since: *since };
        }
        // It was there a moment ago: whatever happens to it is not in the registry yet.
        if self.admitted.contains(agent) { Standing::Recovered } else { Standing::Unknown }
    }

    /// The agents that were in the registry and no more among the registered ones a moment later: being marked, as a rule.
    pub fn unsettled(&self) -> impl Iterator<Item = &AgentId> {
        self.admitted.iter().filter(|agent| !self.registered.contains_key(agent) && !self.recovered.contains_key(agent))
    }

    /// A view with nothing in it but agents that are unreachable.
    #[cfg(test)]
    pub(crate) fn for_tests(id: &str, elected: SystemTime, unreachable: BTreeMap<AgentId, SystemTime>) -> Self {
        Self {
            leader: "http://m1:5050".parse().expect("an address"),
            id: id.to_owned(),
            elected,
            registered: BTreeMap::new(),
            recovered: BTreeMap::new(),
            admitted: Vec::new(),
            unreachable,
            gone: BTreeMap::new(),
        }
    }

    /// With an agent that is in the registry and nowhere else.
    #[cfg(test)]
    pub(crate) fn admit_for_tests(&mut self, agent: AgentId) {
        self.admitted.push(agent);
    }

    /// The agents that are registered, or recovered and not yet back, on the host that CSI calls `node`; also those of which that is
    /// not certain ([`AgentInfo::may_be_on`]).
    pub fn agents_on<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = &'a AgentInfo> {
        let registered = self.registered.values().map(|agent| &agent.info);
        registered.chain(self.recovered.values()).filter(move |agent| agent.may_be_on(node))
    }
}

//! Which agents were last seen on which node.
//!
//! CSI names the node that has a volume, and Mesos, once an agent is not registered any more, has nothing of it left but its id: no
//! hostname, no attribute. So who was registered where must have been seen before. Every look at the master is remembered, in the
//! bridge's own store, and there is a look from time to time for this alone.
//!
//! What is remembered is used only when nothing can have come in between unseen. If another agent has been on the node since, one
//! that we never saw, then it is either registered now and found by the node itself, or gone or unregistered and so as dead as
//! the one that we remember, or **unreachable**, which means that it may run there with the volume. So what is remembered of a node
//! counts only while there is no unreachable agent whose node we do not know, unless the master marked that one before our last
//! sighting on the node.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hawser_volume::NodeId;
use serde::{Deserialize, Serialize};

use super::moment::rfc3339;
use crate::mesos::{AgentId, AgentInfo, Endpoint, MasterView, Standing};

/// How long a sighting counts. Shorter than the time after which a master forgets an unreachable agent
/// (`--registry_max_agent_age`, two weeks by default).
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far the clocks of a master and of this machine may be apart.
const SKEW: Duration = Duration::from_secs(300);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sightings {
    /// By the CSI node ids that agents name in their attributes.
    #[serde(default)]
    nodes: BTreeMap<String, Seen>,
    /// By the hostnames, in lower case, of agents that name no node.
    #[serde(default)]
    hosts: BTreeMap<String, Seen>,
    /// When each agent was last registered, also those that were followed by another one on their node.
    #[serde(default)]
    agents: BTreeMap<AgentId, Time>,
}

/// The agents that were registered on a node when any was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    #[serde(with = "rfc3339")]
    at: SystemTime,
    agents: BTreeMap<AgentId, Option<Endpoint>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Time(#[serde(with = "rfc3339")] SystemTime);

/// What is remembered of a node that no registered agent is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// Nothing.
    Nobody,
    /// These agents. More than one when several were registered there at once.
    Agents(Vec<AgentId>),
    /// This agent is unreachable, and may be on the node as well as on any other.
    Uncertain(AgentId),
}

impl Sightings {
    /// Takes in what a look at the master found at `now`. Whether anything but a time has changed.
    pub fn looked(&mut self, view: &MasterView, now: SystemTime) -> bool {
        let before: Vec<AgentId> = self.agents.keys().cloned().collect();
        let (mut nodes, mut hosts): (BTreeMap<String, Seen>, BTreeMap<String, Seen>) = Default::default();
        for agent in view.registered.values() {
            let id = &agent.info.id;
            self.agents.insert(id.clone(), Time(now));
            let put = |map: &mut BTreeMap<String, Seen>, key: String| {
                let seen = map.entry(key).or_insert_with(|| Seen { at: now, agents: BTreeMap::new() });
                seen.agents.insert(id.clone(), agent.process.clone());
            };
            agent.info.nodes.iter().for_each(|node| put(&mut nodes, node.clone()));
            if names_no_node(&agent.info) {
                put(&mut hosts, agent.info.hostname.to_ascii_lowercase());
            }
        }
        self.nodes.append(&mut nodes);
        self.hosts.append(&mut hosts);
        // A clock that was set back a little forgets nothing.
        let counts = |at: &SystemTime| now.duration_since(*at).unwrap_or_else(|ahead| ahead.duration()) <= KEPT;
        self.nodes.retain(|_, seen| counts(&seen.at));
        self.hosts.retain(|_, seen| counts(&seen.at));
        self.agents.retain(|_, Time(at)| counts(at));
        !before.iter().eq(self.agents.keys())
    }

    /// Who was last seen on `node`, as far as `view` lets that count at `now`.
    pub fn on(&self, node: &NodeId, view: &MasterView, now: SystemTime) -> Remembered {
        let seen: Vec<&Seen> = self.seen(node).filter(|seen| seen.at <= now).collect();
        let Some(at) = seen.iter().map(|seen| seen.at).min() else { return Remembered::Nobody };
        let known = |agent: &AgentId| self.agents.get(agent).is_some_and(|Time(at)| *at <= now);
        let later = view.unreachable.iter().filter(|(_, since)| **since + SKEW > at).map(|(agent, _)| agent);
        match later.chain(view.unsettled()).find(|agent| !known(agent)) {
            Some(agent) => Remembered::Uncertain(agent.clone()),
            None => Remembered::Agents(seen.into_iter().flat_map(|seen| seen.agents.keys().cloned()).collect()),
        }
    }

    /// Where the agents that were last seen on `node` answered.
    pub fn addresses(&self, node: &NodeId) -> Vec<(AgentId, Endpoint)> {
        let agents = self.seen(node).flat_map(|seen| &seen.agents);
        agents.filter_map(|(agent, address)| Some((agent.clone(), address.clone()?))).collect()
    }

    fn seen<'a>(&'a self, node: &NodeId) -> impl Iterator<Item = &'a Seen> {
        let host = self.hosts.get(&node.as_str().to_ascii_lowercase());
        self.nodes.get(node.as_str()).into_iter().chain(host)
    }
}

fn names_no_node(info: &AgentInfo) -> bool {
    info.nodes.is_empty() && info.numeric_nodes.is_empty()
}

/// The agent of which least is known to be dead: where several may hold a volume, the proof must hold for each.
pub fn least_dead(agents: Vec<AgentId>, view: &MasterView) -> Option<AgentId> {
    let rank = |agent: &AgentId| match view.standing(agent) {
        Standing::Registered { .. } => 0,
        Standing::Recovered | Standing::Unknown => 1,
        Standing::Unreachable { .. } => 2,
        Standing::Gone { .. } => 3,
    };
    agents.into_iter().min_by_key(rank)
}

#[cfg(test)]
mod tests;

//! Asking every source at once, and putting its answer into a statement.

use std::sync::PoisonError;
use std::time::Duration;

use hawser_volume::Result;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Fence;
use super::evidence::{Evidence, Says, Statement};
use super::holder::Holder;
use super::moment::Moment;
use super::sightings::{Remembered, Sightings, least_dead};
use crate::mesos::agent::AGENT_PATIENCE;
use crate::mesos::{Agent, AgentId, AgentInfo, Endpoint, MasterView, Standing};
use crate::policy::Takeover;

/// How many agents of one node are asked.
const ASKED_MAX: usize = 8;

/// How long the storage system may take to say whether a host is up.
const BACKEND_PATIENCE: Duration = Duration::from_secs(10);

impl Fence {
    /// What everybody says about `holder`. Takes as long as the slowest source, which is bounded; a source that fails says so.
    pub(super) async fn gather(&self, volume: &str, policy: Takeover, holder: &Holder) -> Evidence {
        let (mut statements, agents, backend) =
            tokio::join!(self.ask_master(policy, holder), self.ask_agents(holder), self.ask_backend(volume, holder));
        statements.extend(agents);
        statements.push(backend);
        Evidence { holder: holder.clone(), statements }
    }

    /// One look at the master, counted by the watch and remembered.
    pub(super) async fn look(&self) -> Result<(Moment, MasterView)> {
        let asked = Moment::now();
        let looked = self.parts.master.view().await;
        let view = {
            let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
            match looked {
                Ok(view) => {
                    watch.looked(&view, asked, Moment::now());
                    view
                }
                Err(error) => {
                    watch.failed();
                    return Err(error);
                }
            }
        };
        // An agent that is registered in the answer was so at some time since the question.
        let changed = {
            let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
            sightings.looked(&view, asked.wall()).then(|| sightings.clone())
        };
        if let Some(sightings) = changed {
            self.keep(&sightings).await;
        }
        Ok((asked, view))
    }

    /// Puts on disk which agents were seen where.
    pub(super) async fn keep(&self, sightings: &Sightings) {
        if let Err(error) = self.parts.store.put_sightings(sightings).await {
            tracing::warn!(error = error.chain(), "could not write down which agents are on which nodes");
        }
    }

    async fn ask_master(&self, policy: Takeover, holder: &Holder) -> Vec<Statement> {
        let begun = Moment::now();
        let (asked, view) = match self.look().await {
            Ok(answer) => answer,
            Err(error) => {
                let source = format!("master {}", self.parts.master.addresses());
                return vec![Statement { source, asked: begun, says: Says::MasterAway { why: error.chain() } }];
            }
        };
        let watched = |agent: &AgentId| {
            let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(policy, Takeover::UnreachableAfter(_)) {
                watch.want(agent, &view, Moment::now());
            }
            watch.watched(agent)
        };
        let remembered = {
            let sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
            sightings.on(&holder.node, &view, asked.wall())
        };
        let says = about(&view, holder, remembered, watched);
        says.into_iter().map(|says| Statement { source: format!("master {}", view.leader), asked, says }).collect()
    }

    /// The holder's agents, where their addresses are on record or were seen.
    fn agents_of(&self, holder: &Holder) -> Vec<(AgentId, Endpoint)> {
        let mut agents = match (&holder.agent, &holder.agent_address) {
            (Some(agent), Some(address)) => vec![(agent.clone(), address.clone())],
            (Some(_), None) => Vec::new(),
            (None, _) => self.sightings.lock().unwrap_or_else(PoisonError::into_inner).addresses(&holder.node),
        };
        agents.truncate(ASKED_MAX);
        agents
    }

    /// The task that has `volume` on a live holder's node, as far as its agent tells. Only words for people come of it.
    pub(super) async fn task_of(&self, volume: &str, holder: &Holder) -> Option<String> {
        let names = self.parts.holders.names(volume).await;
        for (_, address) in self.agents_of(holder) {
            let agent = Agent::new(self.parts.http.anonymous(), address, AGENT_PATIENCE);
            let Ok(view) = agent.view().await else { continue };
            let user = view.uses.into_iter().find(|one| names.iter().any(|name| one.volume.name() == name));
            if let Some(task) = user.and_then(|user| user.task.or(user.executor)) {
                return Some(task);
            }
        }
        None
    }

    /// Asks the holder's agents themselves. Without a credential: the addresses are what agents say of themselves.
    async fn ask_agents(&self, holder: &Holder) -> Vec<Statement> {
        let agents = self.agents_of(holder);
        let asked = Moment::now();
        let mut answers = JoinSet::new();
        for (id, address) in agents {
            let agent = Agent::new(self.parts.http.anonymous(), address.clone(), AGENT_PATIENCE);
            answers.spawn(async move {
                let says = match agent.identity().await {
                    Ok(info) if info.id == id => Says::AgentAnswers { agent: info.id },
                    Ok(info) => Says::AgentReplaced { agent: info.id },
                    Err(error) => Says::AgentSilent { why: error.chain() },
                };
                Statement { source: format!("agent {address}"), asked, says }
            });
        }
        answers.join_all().await
    }

    async fn ask_backend(&self, volume: &str, holder: &Holder) -> Statement {
        let asked = Moment::now();
        let state = self.parts.backend.host_state(volume, &holder.node);
        let says = match tokio::time::timeout(BACKEND_PATIENCE, state).await {
            Ok(state) => state.into(),
            Err(_) => Says::HostUnknown { why: format!("no answer within {} s", BACKEND_PATIENCE.as_secs()) },
        };
        Statement { source: "storage".to_owned(), asked, says }
    }
}

/// What the master's view says about `holder`: its agent, and any other agent on its node.
///
/// Which agent it is: the one on record; without one, whatever agent is registered on the node; without one, the agent that was last
/// seen there. If several were, it may be any of them, so the one counts that is least dead.
fn about(view: &MasterView, holder: &Holder, remembered: Remembered, watched: impl Fn(&AgentId) -> Duration) -> Vec<Says> {
    let standing = |agent: AgentId| match view.standing(&agent) {
        Standing::Registered { active } => Says::AgentRegistered { agent, active },
        Standing::Recovered => Says::AgentRecovered { agent },
        Standing::Unreachable { since } => Says::AgentUnreachable { watched: watched(&agent), agent, since },
        Standing::Gone { since } => Says::AgentGone { agent, since },
        Standing::Unknown => Says::AgentUnknown { agent },
    };
    let mut says: Vec<Says> = holder.agent.clone().map(standing).into_iter().collect();
    let on_node: Vec<&AgentInfo> = view.agents_on(&holder.node).filter(|info| Some(&info.id) != holder.agent.as_ref()).collect();
    if holder.agent.is_none() && on_node.is_empty() {
        says.push(match remembered {
            Remembered::Agents(agents) => least_dead(agents, view).map_or(Says::NodeUnknown, standing),
            Remembered::Uncertain(agent) => Says::NodeUncertain { agent },
            Remembered::Nobody => Says::NodeUnknown,
        });
    }
    for info in on_node {
        let agent = info.id.clone();
        says.push(match view.standing(&agent) {
            Standing::Registered { active } if holder.agent.is_none() => Says::AgentRegistered { agent, active },
            _ if holder.agent.is_none() => Says::AgentRecovered { agent },
            Standing::Registered { .. } if is_later_boot(holder, info) => {
                Says::Rebooted { agent, boot: info.boot.clone().unwrap_or_default() }
            }
            // Also when it has not come back after a failover of the master: it is not known to be dead.
            _ => Says::OtherAgent { agent },
        });
    }
    says
}

/// Whether `info` names another boot than the holder was in. Both must be UUIDs: the kernel writes a boot id with hyphens and
/// systemd without, and two spellings of one boot must not pass for a reboot.
fn is_later_boot(holder: &Holder, info: &AgentInfo) -> bool {
    let boot = |text: &Option<String>| text.as_deref().and_then(|text| Uuid::try_parse(text.trim()).ok());
    info.is_on(&holder.node) && matches!((boot(&holder.boot), boot(&info.boot)), (Some(before), Some(now)) if before != now)
}

#[cfg(test)]
mod tests;

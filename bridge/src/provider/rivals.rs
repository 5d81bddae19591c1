//! Who else offers a disk: an agent that was gone comes back after its disks were given to others, and its own ledger knows nothing of it.
//!
//! Each provider looks at what the master lists of all agents. Of two that offer one disk the one gives it up whose word on it is the
//! older one: disks that were adopted bear the time of that as a label, which all see, and the ids of agents decide between equals. So one
//! gives it up and the other does not, whoever looks first. A disk that this node has attached is not given up: nobody else can use it.
//! One that was adopted and that another node has by now is that one's; so is any where there is no master to be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_volume::{Deadline, Error, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Provider;
use super::state::State;
use crate::driver::Driver;
use crate::mesos::{AgentId, Master, MasterView};

/// The label of a disk that was adopted: when, in seconds since 1970.
pub(super) const ADOPTED: &str = "hawser.dev/adopted";

/// How long the driver may take to say who has its volumes.
const LOOK: std::time::Duration = std::time::Duration::from_secs(60);

/// The master, of whom many may ask at once: a look is a lot to answer in a large cluster, and serves all who asked before it began.
#[derive(Debug)]
pub(super) struct Cluster {
    master: Master,
    last: Mutex<Option<(Instant, Arc<MasterView>)>>,
}

impl Cluster {
    pub(super) fn of(master: Master) -> Self {
        Self { master, last: Mutex::default() }
    }

    /// What the master lists now.
    pub(super) async fn view(&self) -> Result<Arc<MasterView>> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((begun, view)) = &*last
            && *begun >= asked
        {
            return Ok(Arc::clone(view));
        }
        let begun = Instant::now();
        let view = Arc::new(self.master.view().await?);
        *last = Some((begun, Arc::clone(&view)));
        Ok(view)
    }
}

/// All other agents, as the master knows them.
#[derive(Debug, Clone)]
pub(super) struct Rivals {
    pub(super) cluster: Arc<Cluster>,
    pub(super) agent: AgentId,
}

impl Rivals {
    /// Refuses a disk that another agent offers (`Precondition`), or may offer as far as the master can tell (`Unavailable`).
    pub(super) async fn refuse(&self, id: &str) -> Result<()> {
        let view = self.cluster.view().await?;
        if !view.registered.contains_key(&self.agent) {
            return Err(Error::unavailable(format!("master {} does not list this agent, {}", view.leader, self.agent)));
        }
        if let Some((agent, _)) = offers(&view, id).find(|(agent, _)| **agent != self.agent) {
            return Err(Error::precondition(format!(
                "agent {agent} offers volume {id}; it is offered by one agent at a time: mark that one gone first, when it is"
            )));
        }
        let absent: Vec<&str> = view.recovered.keys().chain(view.unsettled()).map(AgentId::as_str).collect();
        if !absent.is_empty() {
            return Err(Error::unavailable(format!(
                "agents {} have not come back since the master began to lead, and may offer volume {id}; ask again when they are back or \
                 marked unreachable or gone",
                absent.join(", ")
            )));
        }
        Ok(())
    }
}

/// The agents that offer the disk, with the time of its adoption there.
fn offers<'a>(view: &'a MasterView, id: &'a str) -> impl Iterator<Item = (&'a AgentId, u64)> {
    view.registered.iter().filter_map(move |(agent, registered)| {
        let labels = registered.disks.get(id)?;
        Some((agent, labels.get(ADOPTED).and_then(|at| at.parse().ok()).unwrap_or(0)))
    })
}

/// The agent to which `own`, with a disk that was adopted at this time, gives it up.
fn successor<'a>(view: &'a MasterView, own: &AgentId, id: &'a str, adopted: u64) -> Option<&'a AgentId> {
    offers(view, id).filter(|(agent, _)| *agent != own).find(|(agent, at)| (*at, *agent) > (adopted, own)).map(|(agent, _)| agent)
}

/// Who else has volumes, and who offers them.
#[derive(Debug)]
pub(super) struct Around {
    attached: BTreeMap<String, Vec<String>>,
    others: Option<Arc<MasterView>>,
}

impl Provider {
    /// Looks who else offers the disks of `state`, or has them. Nothing when there are none.
    pub(super) fn look_around(
        &self,
        agent: &AgentId,
        state: &State,
    ) -> Option<impl Future<Output = Result<Around>> + Send + use<>> {
        let disks: Vec<(String, u64)> = state.disks_by_id().map(|(id, disk)| (id.to_owned(), disk.adopted_at())).collect();
        let (rivals, driver, agent) = (self.rivals(agent), self.lifecycle.driver().clone(), agent.clone());
        let look = async move {
            let others = match rivals {
                Some(rivals) => Some(rivals.cluster.view().await?),
                None => None,
            };
            // Listing all volumes is a lot to ask for of a storage system: only when something depends on it.
            let is_doubtful = |(id, adopted): &(String, u64)| {
                *adopted > 0 || others.as_ref().is_none_or(|view| successor(view, &agent, id, *adopted).is_some())
            };
            let attached = if disks.iter().any(is_doubtful) { attached(&driver).await? } else { BTreeMap::new() };
            Ok(Around { attached, others })
        };
        (!state.is_without_disks()).then_some(look)
    }

    /// Gives up the disks that are another agent's by now. Whether there were any.
    pub(super) fn give_up_lost(&self, agent: &AgentId, state: &mut State, around: &Around) -> Result<bool> {
        let mut lost: Vec<(String, String)> = Vec::new();
        for (id, disk) in state.disks_by_id() {
            let (id, adopted) = (id.to_owned(), disk.adopted_at());
            let nodes = around.attached.get(&id).map(Vec::as_slice).unwrap_or_default();
            if nodes.contains(&self.lifecycle.driver().node_id) {
                continue;
            }
            if let Some(other) = around.others.as_ref().and_then(|view| successor(view, agent, &id, adopted)) {
                lost.push((id.clone(), format!("agent {other} offers it")));
            } else if let Some(node) = nodes.first().filter(|_| adopted > 0 || around.others.is_none()) {
                lost.push((id, format!("node {node} has it")));
            }
        }
        for (id, why) in &lost {
            tracing::error!(volume = id, why, "this disk is another agent's by now; it is not offered here any more");
            state.remove_disk(id)?;
        }
        Ok(!lost.is_empty())
    }

    /// The others than `agent`; nothing without a master who could be asked.
    pub(super) fn rivals(&self, agent: &AgentId) -> Option<Rivals> {
        Some(Rivals { cluster: self.cluster.clone()?, agent: agent.clone() })
    }
}

/// The nodes that have volumes. None for a driver that cannot tell.
async fn attached(driver: &Driver) -> Result<BTreeMap<String, Vec<String>>> {
    if !driver.can.list_nodes || !driver.can.attach {
        return Ok(BTreeMap::new());
    }
    let listed = driver.list(Deadline::after(LOOK)).await?;
    Ok(listed.into_iter().filter_map(|entry| Some((entry.volume?.volume_id, entry.status?.published_node_ids))).collect())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::mesos::AgentInfo;
    use crate::mesos::master::RegisteredAgent;

    /// A cluster whose agents offer the disk `d`, adopted at these times.
    fn view(offers: &[(&str, Option<u64>)]) -> MasterView {
        let mut view = MasterView::for_tests("m", SystemTime::UNIX_EPOCH, BTreeMap::new());
        for (agent, adopted) in offers {
            let id: AgentId = agent.parse().unwrap();
            let info = AgentInfo { id: id.clone(), hostname: "h".to_owned(), nodes: vec![], numeric_nodes: vec![], boot: None };
            let labels = adopted.iter().map(|at| (ADOPTED.to_owned(), at.to_string())).collect();
            let disks = BTreeMap::from([("d".to_owned(), labels)]);
            view.registered.insert(id, RegisteredAgent { info, active: true, process: None, disks });
        }
        view
    }

    /// The agents that keep the disk after all have looked.
    fn keepers(offers: &[(&str, Option<u64>)]) -> Vec<String> {
        let view = view(offers);
        let keeps = |(agent, adopted): &&(&str, Option<u64>)| {
            successor(&view, &agent.parse().unwrap(), "d", adopted.unwrap_or(0)).is_none()
        };
        offers.iter().filter(keeps).map(|(agent, _)| (*agent).to_owned()).collect()
    }

    #[test]
    fn of_several_that_offer_a_disk_exactly_one_keeps_it() {
        assert_eq!(keepers(&[("A-S1", None)]), ["A-S1"]);
        assert_eq!(keepers(&[("A-S1", None), ("A-S2", Some(7))]), ["A-S2"]);
        assert_eq!(keepers(&[("A-S1", Some(8)), ("A-S2", Some(7))]), ["A-S1"]);
        assert_eq!(keepers(&[("A-S1", Some(7)), ("A-S2", Some(7)), ("A-S3", None)]), ["A-S2"]);
        assert_eq!(successor(&view(&[("A-S2", Some(7))]), &"A-S1".parse().unwrap(), "another", 0), None);
    }
}

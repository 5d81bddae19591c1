//! Volumes whose name has a place for a number: the task gets the one with the lowest number that nobody else has.
//!
//! Who has which number is written down nowhere but in the storage system: a number is held by whoever has its volume attached. So two
//! agents that begin at the same time get different ones, a task that is unreachable keeps its own, and the replacement of a
//! task that is over, on any agent, finds its predecessor's data.

use std::path::PathBuf;
use std::time::Duration;

use hawser_volume::{Error, Kind, Result};

use super::Inner;
use super::witness::other_holder;
use crate::ledger::Known;
use crate::mesos::DeclaredVolume;
use crate::name::NameTemplate;
use crate::slot::Slot;

/// How many numbers are tried. Each one that is held costs some calls to the storage system.
const SLOTS_MAX: u32 = 1000;

impl Inner {
    /// Has the first volume of `pattern` mounted that no other node has.
    pub(super) async fn mount_in_slot(&self, name: &str, known: &Known, pattern: &NameTemplate) -> Result<PathBuf> {
        if let Some(made) = &known.made
            && self.holding(&made.id).await?.is_some()
        {
            return self.bring_up(name, known, Duration::ZERO).await;
        }
        let framework = if pattern.has_framework() { self.framework_of(name).await? } else { String::new() };
        // Without a place for the number there is one volume for each framework.
        let slots = if pattern.has_slot() { SLOTS_MAX } else { 1 };
        let beside = self.slot_beside(pattern).await?;
        for slot in beside.into_iter().chain((0..slots).map(Slot)) {
            let volume = pattern.resolve(&framework, slot)?;
            let made = self.resolve(&known.claim.of(&volume), None, self.deadline()).await?;
            let this = Known { made: Some(made.clone()), slot: Some(slot), ..known.clone() };
            self.put_known(name, &this).await?;
            match self.bring_up(name, &this, Duration::ZERO).await {
                Err(error) if error.kind() == Kind::Precondition && pattern.has_slot() && self.is_elsewhere(&made.id).await => {
                    tracing::info!(volume = %volume, "another node has this volume; trying the next number");
                }
                mounted => return mounted,
            }
        }
        Err(Error::exhausted(format!("all {slots} volumes of {} are held by other nodes", pattern.as_str())))
    }

    /// The number that this agent's task has already, by another of its volumes: data and log of node 2 stay together.
    async fn slot_beside(&self, pattern: &NameTemplate) -> Result<Option<Slot>> {
        for (_, known) in self.ledger(|ledger| ledger.all_known()).await? {
            let is_beside = known.claim.pattern().is_some_and(|other| other != pattern && other.series() == pattern.series());
            if let (true, Some(slot), Some(made)) = (is_beside, known.slot, &known.made)
                && self.holding(&made.id).await?.is_some()
            {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    async fn is_elsewhere(&self, id: &str) -> bool {
        matches!(other_holder(&self.driver, id, self.deadline()).await, Ok(Some(_)))
    }

    /// The name of the framework whose task on this agent declares the Docker volume `name`.
    async fn framework_of(&self, name: &str) -> Result<String> {
        let wrong = |why: String| Error::invalid(format!("the volume name {name} begins with its task's framework, and {why}"));
        let Some(agent) = &self.settings.agent else {
            return Err(wrong("no Mesos agent is configured that would know it (bridge.mesos-agent)".to_owned()));
        };
        let ask = async { Ok((agent.view().await?, agent.frameworks().await?)) };
        let (view, names) = ask.await.map_err(|error: Error| error.while_doing(format_args!("find the framework of {name}")))?;
        let is_it = |volume: &DeclaredVolume| matches!(volume, DeclaredVolume::Docker { name: declared, .. } if declared == name);
        let mut found: Vec<&String> =
            view.uses.iter().filter(|one| is_it(&one.volume)).filter_map(|one| one.framework.as_ref()).collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [one] => names.get(*one).cloned().ok_or_else(|| wrong(format!("the agent does not name framework {one}"))),
            [] => Err(wrong("no task on this agent declares it".to_owned())),
            _ => Err(wrong("tasks of several frameworks on this agent declare it".to_owned())),
        }
    }
}

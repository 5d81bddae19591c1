//! For how long an agent was seen as unreachable.
//!
//! The time at which the master marked an agent is not enough for `unreachable-after`. If the master was away afterwards, the agent
//! could not come back to it, however alive it was; and if we could not reach the master, we do not know what it saw. So we look for
//! ourselves, every [`EVERY`], and count the time between two looks only when
//!
//! * both found the same master leading since the same election,
//! * both were told the same time of marking, so that the agent did not come back in between,
//! * no look in between failed, and
//! * there were at most [`GAP`] between them.
//!
//! One failed look leaves a hole that is not counted. A hole longer than [`GAP`], another leader or another time of marking begins
//! the count anew: after an absence of the master, an agent that is alive must have the whole time to come back. The count is not
//! kept over a restart of the bridge either.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::moment::Moment;
use crate::mesos::{AgentId, MasterView, Standing};

/// How often a watched agent is looked at.
pub const EVERY: Duration = Duration::from_secs(15);

/// Longest time between two looks that leaves the count standing.
pub const GAP: Duration = Duration::from_secs(45);

/// How long an agent is watched after somebody last asked about it.
const INTEREST: Duration = Duration::from_secs(3600);

/// The agents that are watched.
#[derive(Debug, Default)]
pub struct Watch {
    stretches: HashMap<AgentId, Stretch>,
    /// Counts the looks that failed.
    failures: u64,
}

/// One unbroken time.
#[derive(Debug)]
struct Stretch {
    sighting: Sighting,
    counted: Duration,
    last: Moment,
    failures: u64,
    wanted: Moment,
}

/// What must stay the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    master: String,
    elected: SystemTime,
    since: SystemTime,
}

impl Watch {
    /// Begins to watch `agent`, or goes on: somebody asked about it. `view` came in at `answered`.
    pub fn want(&mut self, agent: &AgentId, view: &MasterView, answered: Moment) {
        if let Some(sighting) = Sighting::of(agent, view) {
            let failures = self.failures;
            let begin = || Stretch { sighting, counted: Duration::ZERO, last: answered, failures, wanted: answered };
            self.stretches.entry(agent.clone()).or_insert_with(begin).wanted = answered;
        }
    }

    /// Whether there is anything to look at.
    pub fn is_idle(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Counts what a look found that was `asked` and `answered` then. What it found was so at some time in between, so an
    /// unbroken time begins with an answer and goes on to a question.
    pub fn looked(&mut self, view: &MasterView, asked: Moment, answered: Moment) {
        let failures = self.failures;
        self.stretches.retain(|agent, stretch| {
            let Some(sighting) = Sighting::of(agent, view).filter(|_| stretch.wanted.age(answered) <= INTEREST) else {
                return false;
            };
            if sighting != stretch.sighting || stretch.last.age(asked) > GAP {
                *stretch = Stretch { sighting, counted: Duration::ZERO, last: answered, failures, wanted: stretch.wanted };
                return true;
            }
            let passed = stretch.last.passed(asked);
            // Looks may overlap: one that was asked before the last one adds nothing, and must not move it back.
            if !passed.is_zero() {
                stretch.counted += if failures == stretch.failures { passed } else { Duration::ZERO };
                (stretch.last, stretch.failures) = (asked, failures);
            }
            true
        });
    }

    /// A look failed: what lies between the looks before and after it is not counted.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// For how long `agent` was seen as unreachable, up to the last look.
    pub fn watched(&self, agent: &AgentId) -> Duration {
        self.stretches.get(agent).map_or(Duration::ZERO, |stretch| stretch.counted)
    }
}

impl Sighting {
    fn of(agent: &AgentId, view: &MasterView) -> Option<Self> {
        match view.standing(agent) {
            Standing::Unreachable { since } => Some(Self { master: view.id.clone(), elected: view.elected, since }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

//! Why a volume is not taken, and what would free it.
//!
//! The text reaches the user of Mesos as the reason of a failed task, so it says who has the volume, what is known about them and
//! from whom, and what somebody can do. It never advises to declare dead what is alive.

use std::fmt;
use std::time::Duration;

use super::decide::needed;
use super::evidence::{Evidence, Grade, Says, Statement, Weight, spoken};
use super::holder::Holder;
use crate::mesos::AgentId;
use crate::policy::Takeover;

/// How many statements the text repeats: the two that say most.
const SHOWN_MAX: usize = 2;

/// Longest statement that the text repeats, in characters.
const STATEMENT_MAX: usize = 160;

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The policy is `never`.
    Never,
    /// The holder or its node is alive.
    Alive,
    /// One source says alive and another one dead.
    Contradiction,
    /// Nothing that is known is enough for the policy.
    Unproven,
    /// The agent is unreachable, and not long enough.
    TooSoon {
        /// How much is missing.
        left: Duration,
    },
    /// What is known was asked too long ago.
    Stale,
    /// The evidence is about another holder, or a later hold of the same one.
    AnotherHolder,
}

impl Why {
    /// The words for all of them.
    pub const WORDS: [&str; 7] = ["never", "alive", "contradiction", "unproven", "too-soon", "stale", "another-holder"];

    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Never => "never",
            Why::Alive => "alive",
            Why::Contradiction => "contradiction",
            Why::Unproven => "unproven",
            Why::TooSoon { .. } => "too-soon",
            Why::Stale => "stale",
            Why::AnotherHolder => "another-holder",
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub why: Why,
    /// What to tell the user: one line.
    pub text: String,
}

impl Refusal {
    pub(super) fn new(why: Why, policy: Takeover, holder: &Holder, evidence: &Evidence) -> Self {
        let known = known(why, evidence);
        let known = if known.is_empty() { String::new() } else { format!("; {known}") };
        Self { why, text: format!("it is held by {holder}{known}; {}", advice(why, policy, holder, evidence)) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What was said, that which decided first.
fn known(why: Why, evidence: &Evidence) -> String {
    let rank = |statement: &&Statement| match (statement.says.weight(), &statement.says) {
        (Weight::Alive, _) => 0,
        (Weight::Dead(Grade::BackendDead), _) => 1,
        (Weight::Dead(Grade::AgentGone), _) => 2,
        (Weight::Dead(Grade::Unreachable), _) => 3,
        (Weight::Silent, Says::HostUnknown { .. } | Says::AgentSilent { .. }) => 5,
        (Weight::Silent, _) => 4,
    };
    let counts = |statement: &&Statement| match why {
        Why::AnotherHolder => false,
        Why::Alive => statement.says.weight() == Weight::Alive,
        _ => true,
    };
    let mut said: Vec<&Statement> = evidence.statements.iter().filter(counts).collect();
    said.sort_by_key(rank);
    if why == Why::Contradiction {
        // One of each side, the stronger of its kind.
        said.dedup_by_key(|statement| statement.says.weight() == Weight::Alive);
    }
    let words = said.into_iter().take(SHOWN_MAX).map(|statement| {
        let text = statement.to_string();
        match text.char_indices().nth(STATEMENT_MAX) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

/// What would free the volume.
fn advice(why: Why, policy: Takeover, holder: &Holder, evidence: &Evidence) -> String {
    let node = &holder.node;
    let says = |wanted: fn(&Says) -> bool| evidence.statements.iter().any(|statement| wanted(&statement.says));
    let user = holder.task.as_ref().map_or_else(|| "the task that uses it".to_owned(), |task| format!("task {task}"));
    let place = agent(holder, evidence).map_or_else(|| format!("node {node}"), |agent| format!("agent {agent}"));
    let by_hand = format!("when it is certain that node {node} is down, detach the volume from it by hand");
    match why {
        Why::Never => format!("takeover is never: stop {user} on {place}, or {by_hand}"),
        Why::Alive => format!("stop {user} on {place}, and the volume follows"),
        Why::Contradiction => {
            format!("these disagree, so nothing is done: look at node {node}, then stop {user} there or switch the node off")
        }
        Why::TooSoon { left } => {
            let gone = mark_gone(holder, evidence).map_or_else(String::new, |gone| format!(", or {gone}"));
            format!("takeover is {policy}: possible in {} if the master is there all the time{gone}", spoken(left))
        }
        Why::Stale => "what is known is too old by now: try again".to_owned(),
        Why::AnotherHolder => "it has changed hands while it was asked about: try again".to_owned(),
        Why::Unproven => {
            let mut ways: Vec<String> = Vec::new();
            if says(|s| matches!(s, Says::MasterAway { .. })) {
                ways.push("bring the master back, or correct bridge.mesos-master".to_owned());
            }
            if says(|s| matches!(s, Says::NodeUnknown)) {
                ways.push(format!("tell the agent its node (--attributes=csi_node:{node})"));
            }
            if says(|s| matches!(s, Says::AgentRecovered { .. })) {
                ways.push("wait until the agent is back or the master gives it up (--agent_reregister_timeout)".to_owned());
            }
            // Only where the master still knows the agent: it answers 404 for every other.
            let markable =
                says(|s| matches!(s, Says::AgentUnreachable { .. } | Says::AgentRecovered { .. } | Says::NodeUncertain { .. }));
            if needed(policy).is_some_and(|needed| needed <= Grade::AgentGone) && markable {
                ways.extend(mark_gone(holder, evidence));
            }
            if policy == Takeover::BackendDead && !says(|s| matches!(s, Says::HostUnknown { .. })) {
                ways.push(format!("switch node {node} off"));
            }
            ways.push(by_hand);
            format!("takeover is {policy}: {}", ways.join(", or "))
        }
    }
}

/// The holder's agent: the one on record, or the one that the master was asked about instead.
fn agent<'a>(holder: &'a Holder, evidence: &'a Evidence) -> Option<&'a AgentId> {
    let told = evidence.statements.iter().find_map(|statement| match &statement.says {
        Says::AgentRegistered { agent, .. }
        | Says::AgentRecovered { agent }
        | Says::AgentUnreachable { agent, .. }
        | Says::AgentGone { agent, .. }
        | Says::AgentAnswers { agent }
        | Says::NodeUncertain { agent } => Some(agent),
        _ => None,
    });
    holder.agent.as_ref().or(told)
}

fn mark_gone(holder: &Holder, evidence: &Evidence) -> Option<String> {
    let agent = agent(holder, evidence)?;
    Some(format!("when its host is down for good, mark agent {agent} gone at the master (MARK_AGENT_GONE)"))
}

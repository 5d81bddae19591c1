//! The decision, from what was said and nothing else.
//!
//! 1. `never` refuses.
//! 2. One voice for life refuses, whoever it is and whatever the others say. A statement for life never grows old.
//! 3. Otherwise the strongest statement for death counts, if it is at most [`FRESH`] old. It must have the grade that the policy
//!    asks for, or a higher one. `unreachable-after` asks, besides, that the agent was watched to be unreachable for so long.
//! 4. Nothing else counts: silence, however long, is never proof.

use std::time::Duration;

use super::evidence::{Evidence, Grade, Says, Statement, Weight};
use super::holder::Holder;
use super::moment::Moment;
use super::proof::Proof;
use super::refusal::{Refusal, Why};
use crate::policy::Takeover;

/// How old a statement may be that proves a death. A node can come back at any time; what is not covered by this is the time that the
/// detach itself takes.
pub const FRESH: Duration = Duration::from_secs(10);

/// Whether the volume may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, on this proof.
    Take(Box<Proof>),
    /// No.
    Refuse(Refusal),
}

/// Decides whether `policy` lets a volume be taken from `holder` on this `evidence`.
pub fn decide(policy: Takeover, holder: &Holder, evidence: &Evidence, now: Moment) -> Decision {
    let refuse = |why: Why| Decision::Refuse(Refusal::new(why, policy, holder, evidence));
    if !evidence.holder.is_same_hold(holder) {
        return refuse(Why::AnotherHolder);
    }
    let Some(needed) = needed(policy) else {
        return refuse(Why::Never);
    };
    let weighed = || evidence.statements.iter().map(|statement| (statement.says.weight(), statement));
    let dead = |statement: &Statement| matches!(statement.says.weight(), Weight::Dead(_));
    if weighed().any(|(weight, _)| weight == Weight::Alive) {
        let contradicted = evidence.statements.iter().any(dead);
        return refuse(if contradicted { Why::Contradiction } else { Why::Alive });
    }
    // Of equal grade, the agent that was watched longest: there may be several looks at one agent.
    let strongest = weighed()
        .filter_map(|(weight, statement)| match weight {
            Weight::Dead(grade) if statement.asked.age(now) <= FRESH => Some((grade, watched(statement), statement)),
            _ => None,
        })
        .max_by_key(|(grade, watched, _)| (*grade, *watched));
    let Some((grade, watched, statement)) = strongest else {
        return refuse(if evidence.statements.iter().any(dead) { Why::Stale } else { Why::Unproven });
    };
    match policy {
        _ if grade < needed => refuse(Why::Unproven),
        Takeover::UnreachableAfter(wait) if grade == Grade::Unreachable && watched < wait => {
            refuse(Why::TooSoon { left: wait.saturating_sub(watched) })
        }
        _ => Decision::Take(Box::new(Proof::new(policy, grade, evidence.clone(), statement.asked))),
    }
}

/// The grade that a policy asks for; nothing when no evidence is enough for it.
pub(super) fn needed(policy: Takeover) -> Option<Grade> {
    match policy {
        Takeover::Never => None,
        Takeover::BackendDead => Some(Grade::BackendDead),
        Takeover::AgentGone => Some(Grade::AgentGone),
        Takeover::UnreachableAfter(_) => Some(Grade::Unreachable),
    }
}

/// For how long an agent was seen as unreachable; no time for every other statement.
fn watched(statement: &Statement) -> Duration {
    match statement.says {
        Says::AgentUnreachable { watched, .. } => watched,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;

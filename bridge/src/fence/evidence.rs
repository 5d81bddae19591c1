//! What is known about a holder: statements, each with who made it and when it was asked for.
//!
//! A statement says that the holder is alive, or that it is dead with some [`Grade`] of certainty, or neither. Which of the three is
//! decided here and nowhere else, in [`Says::weight`].

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::holder::Holder;
use super::moment::Moment;
use crate::mesos::AgentId;

/// How certain it is that a holder is dead. Ordered: each is stronger than those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The master has marked the agent unreachable. Its tasks may run on.
    Unreachable,
    /// Mesos has given the agent up for good, or its host has been booted since.
    AgentGone,
    /// The storage system says that the host is down or cut off, so nothing there can write.
    BackendDead,
}

impl Grade {
    /// Every grade.
    pub const ALL: [Grade; 3] = [Grade::Unreachable, Grade::AgentGone, Grade::BackendDead];

    /// One word for it, as the audit log has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Unreachable => "unreachable",
            Grade::AgentGone => "agent-gone",
            Grade::BackendDead => "backend-dead",
        }
    }
}

/// What a statement is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The holder, or the node that it is on, is alive.
    Alive,
    /// Neither.
    Silent,
    /// The holder is dead.
    Dead(Grade),
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Master: the agent is registered. Also when it is not `active`: a deactivated agent runs its tasks, and of a disconnected one
    /// nothing is known until the ping timeout has passed and the agent is unreachable.
    AgentRegistered {
        /// Which.
        agent: AgentId,
        /// Whether the master offers its resources.
        active: bool,
    },
    /// Master: the agent was there before a failover and has not come back yet.
    AgentRecovered {
        /// Which.
        agent: AgentId,
    },
    /// Master: the agent does not answer pings.
    AgentUnreachable {
        /// Which.
        agent: AgentId,
        /// Since when, by the master's clock.
        since: SystemTime,
        /// For how much of that time we have seen a master which led without a break and said so.
        watched: Duration,
    },
    /// Master: an operator marked the agent gone, or a drain that was asked to.
    AgentGone {
        /// Which.
        agent: AgentId,
        /// Since when, by the master's clock.
        since: SystemTime,
    },
    /// Master: no agent of this id is known. Worth nothing: the master may have forgotten, or be that of another cluster.
    AgentUnknown {
        /// Which.
        agent: AgentId,
    },
    /// Master: no registered agent is on the node, and none is on record or was seen there.
    NodeUnknown,
    /// Master: this agent is unreachable, and nobody knows whether it is on the node. So what was seen there earlier is worth nothing.
    NodeUncertain {
        /// Which.
        agent: AgentId,
    },
    /// No master that leads has answered.
    MasterAway {
        /// What each of them did.
        why: String,
    },
    /// Master: another agent is on the holder's node, in the same boot or in one that nobody knows.
    OtherAgent {
        /// Which.
        agent: AgentId,
    },
    /// Master: another agent is on the holder's node, and it says that the host has been booted since.
    Rebooted {
        /// Which.
        agent: AgentId,
        /// The boot that it is in.
        boot: String,
    },
    /// The agent itself answered.
    AgentAnswers {
        /// Which.
        agent: AgentId,
    },
    /// Another agent answered at the holder's address. Worth nothing: addresses are used again.
    AgentReplaced {
        /// Which.
        agent: AgentId,
    },
    /// Nobody answered at the holder's address. Worth nothing: it may be our own network.
    AgentSilent {
        /// What happened.
        why: String,
    },
    /// Storage system: the host is up.
    HostAlive {
        /// In its words (`instance i-1 is running`).
        state: String,
    },
    /// Storage system: the host is down or cut off.
    HostDead {
        /// In its words.
        state: String,
    },
    /// Storage system: it cannot say, or was not asked.
    HostUnknown {
        /// Why.
        why: String,
    },
}

impl Says {
    /// What it is worth.
    pub fn weight(&self) -> Weight {
        match self {
            Says::AgentRegistered { .. } | Says::OtherAgent { .. } | Says::AgentAnswers { .. } | Says::HostAlive { .. } => {
                Weight::Alive
            }
            Says::AgentUnreachable { .. } => Weight::Dead(Grade::Unreachable),
            Says::AgentGone { .. } | Says::Rebooted { .. } => Weight::Dead(Grade::AgentGone),
            Says::HostDead { .. } => Weight::Dead(Grade::BackendDead),
            Says::AgentRecovered { .. }
            | Says::AgentUnknown { .. }
            | Says::NodeUnknown
            | Says::NodeUncertain { .. }
            | Says::MasterAway { .. }
            | Says::AgentReplaced { .. }
            | Says::AgentSilent { .. }
            | Says::HostUnknown { .. } => Weight::Silent,
        }
    }

    /// The name of the statement in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Says::AgentRegistered { .. } => "agent-registered",
            Says::AgentRecovered { .. } => "agent-recovered",
            Says::AgentUnreachable { .. } => "agent-unreachable",
            Says::AgentGone { .. } => "agent-gone",
            Says::AgentUnknown { .. } => "agent-unknown",
            Says::NodeUnknown => "node-unknown",
            Says::NodeUncertain { .. } => "node-uncertain",
            Says::MasterAway { .. } => "master-away",
            Says::OtherAgent { .. } => "other-agent",
            Says::Rebooted { .. } => "rebooted",
            Says::AgentAnswers { .. } => "agent-answers",
            Says::AgentReplaced { .. } => "agent-replaced",
            Says::AgentSilent { .. } => "agent-silent",
            Says::HostAlive { .. } => "host-alive",
            Says::HostDead { .. } => "host-dead",
            Says::HostUnknown { .. } => "host-unknown",
        }
    }
}

/// A duration as people read it, in whole seconds.
pub(super) fn spoken(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |since: &SystemTime| humantime::format_rfc3339_seconds(*since).to_string();
        match self {
            Says::AgentRegistered { agent, active: true } => write!(f, "agent {agent} is registered and active"),
            Says::AgentRegistered { agent, active: false } => {
                write!(f, "agent {agent} is registered, though not active (disconnected or deactivated)")
            }
            Says::AgentRecovered { agent } => write!(f, "agent {agent} has not come back since the master was elected"),
            Says::AgentUnreachable { agent, since, watched } => {
                write!(f, "agent {agent} is unreachable since {}, seen so for {}", time(since), spoken(*watched))
            }
            Says::AgentGone { agent, since } => write!(f, "agent {agent} was marked gone at {}", time(since)),
            Says::AgentUnknown { agent } => write!(f, "agent {agent} is not known"),
            Says::NodeUnknown => f.write_str("no agent is known on this node"),
            Says::NodeUncertain { agent } => write!(f, "agent {agent} is unreachable, and it is not known on which node"),
            Says::MasterAway { why } => f.write_str(why),
            Says::OtherAgent { agent } => write!(f, "agent {agent} is on the same node now"),
            Says::Rebooted { agent, boot } => write!(f, "agent {agent} is on the same node now, in another boot ({boot})"),
            Says::AgentAnswers { agent } => write!(f, "agent {agent} answers"),
            Says::AgentReplaced { agent } => write!(f, "another agent answers there, {agent}"),
            Says::AgentSilent { why } => f.write_str(why),
            Says::HostAlive { state } | Says::HostDead { state } => f.write_str(state),
            Says::HostUnknown { why } => f.write_str(why),
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Who made it: `master http://m1:5050`, `agent http://10.0.0.7:5051`, `storage`.
    pub source: String,
    /// When the question went out. The answer is no older than that.
    pub asked: Moment,
    /// What it is.
    pub says: Says,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.says)
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Statement", 4)?;
        record.serialize_field("source", &self.source)?;
        record.serialize_field("asked", &self.asked)?;
        record.serialize_field("says", self.says.name())?;
        record.serialize_field("words", &self.says.to_string())?;
        record.end()
    }
}

/// Everything that was said about one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// About whom.
    pub holder: Holder,
    /// What was said, in no particular order.
    pub statements: Vec<Statement>,
}

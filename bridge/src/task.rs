//! Which task, and whether it is over.

use std::fmt;
use std::str::FromStr;

use hawser_volume::{Error, Result};
use serde::{Deserialize, Serialize};

/// A task. Its id is unique within its framework only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskKey {
    /// The `FrameworkID`.
    pub framework: String,
    /// The `TaskID`.
    pub task: String,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of framework {}", self.task, self.framework)
    }
}

/// What Mesos says of a task (`TaskState`, mesos.proto of Mesos 1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It may be running: staging, starting, running, being killed; and also unreachable or unknown, when nobody can say.
    Alive,
    /// It is over, as Mesos counts it (`isTerminalState`, src/common/protobuf_utils.cpp).
    Terminal,
}

/// The states by their names in the v1 API.
const STATES: [(&str, TaskState); 14] = [
    ("TASK_STAGING", TaskState::Alive),
    ("TASK_STARTING", TaskState::Alive),
    ("TASK_RUNNING", TaskState::Alive),
    ("TASK_KILLING", TaskState::Alive),
    ("TASK_UNREACHABLE", TaskState::Alive),
    ("TASK_UNKNOWN", TaskState::Alive),
    ("TASK_FINISHED", TaskState::Terminal),
    ("TASK_FAILED", TaskState::Terminal),
    ("TASK_KILLED", TaskState::Terminal),
    ("TASK_ERROR", TaskState::Terminal),
    ("TASK_DROPPED", TaskState::Terminal),
    ("TASK_GONE", TaskState::Terminal),
    ("TASK_GONE_BY_OPERATOR", TaskState::Terminal),
    // The agent of a lost task may still run it. The framework starts another one at once all the same; it must get the same slot,
    // or it would begin with an empty volume. That it does not get the volume too early is for the takeover policy.
    ("TASK_LOST", TaskState::Terminal),
];

impl FromStr for TaskState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        STATES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, state)| *state)
            .ok_or_else(|| Error::invalid(format!("{} is not a task state of Mesos", hawser_volume::error::shown(text))))
    }
}

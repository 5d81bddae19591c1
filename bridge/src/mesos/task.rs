//! What runs, and which volumes it declared.

use std::collections::BTreeSet;
use std::fmt;

use super::identity::AgentId;

/// The id of a container, nested ones as `parent.child`, which is how Mesos names their directories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The container with this id.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The container `value` nested in this one.
    #[must_use]
    pub fn child(&self, value: &str) -> Self {
        Self(format!("{}.{value}", self.0))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A volume as a container declares it, which is not yet a volume of CSI: the name of a Docker volume may still have to be looked
/// up, and a plugin may know several backends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeclaredVolume {
    /// A `Volume` of type `DOCKER_VOLUME`.
    Docker {
        /// The Docker volume driver; empty where the task named none.
        driver: String,
        /// The name, with which the driver finds the volume.
        name: String,
    },
    /// A `Volume` of type `CSI_VOLUME`.
    Csi {
        /// The CSI plugin, by the `type` of its configuration.
        plugin: String,
        /// The volume id.
        id: String,
    },
    /// A disk among its resources that has an id, which a resource provider chose.
    Disk {
        /// The id.
        id: String,
    },
}

impl DeclaredVolume {
    /// What the container calls it: the Docker volume's name, or the CSI volume's id.
    pub fn name(&self) -> &str {
        match self {
            Self::Docker { name, .. } => name,
            Self::Csi { id, .. } | Self::Disk { id } => id,
        }
    }
}

/// A task, as a master or an agent tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The `TaskID`, unique within its framework.
    pub id: String,
    /// The `FrameworkID`.
    pub framework: String,
    /// The `ExecutorID`, if its framework named an executor.
    pub executor: Option<String>,
    /// Where it was launched.
    pub agent: AgentId,
    /// The `TaskState` by its name.
    pub state: String,
    /// The container that it was last said to run in. With an executor that does not make containers of its own, the executor's.
    pub container: Option<ContainerId>,
    /// What its own `ContainerInfo` declares, and the disks among its resources. That of its executor comes with the executor.
    pub volumes: BTreeSet<DeclaredVolume>,
}

/// One use of a volume on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The volume.
    pub volume: DeclaredVolume,
    /// The framework whose task or executor uses it; none for a standalone container.
    pub framework: Option<String>,
    /// The executor that declared it, or that runs the task which did.
    pub executor: Option<String>,
    /// The task that declared it; none when the executor did.
    pub task: Option<String>,
    /// The container, where it is known.
    pub container: Option<ContainerId>,
}

//! The shapes that several answers of Mesos have in common: JSON made of its protobuf messages (include/mesos/v1/mesos.proto).
//! A list that is empty may be left out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use hawser_volume::{Error, Result};
use serde::Deserialize;

use super::identity::{self, AgentId};
use super::task::{ContainerId, DeclaredVolume, Task};

/// Every id of Mesos.
#[derive(Debug, Deserialize)]
pub(super) struct Id {
    pub value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct AgentIdField {
    pub value: AgentId,
}

#[derive(Debug, Deserialize)]
pub(super) struct TimeInfo {
    nanoseconds: u64,
}

impl TimeInfo {
    pub(super) fn moment(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanoseconds)
    }
}

/// Seconds since 1970 with a fraction. The double has a resolution of a quarter of a microsecond.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Seconds(pub SystemTime);

impl TryFrom<f64> for Seconds {
    type Error = Error;

    fn try_from(seconds: f64) -> Result<Self> {
        Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
            .map(Self)
            .ok_or_else(|| Error::invalid(format!("{seconds} is no time")))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct AgentInfo {
    id: AgentIdField,
    hostname: String,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

/// `type` says which one of the values counts, and the others are absent.
#[derive(Debug, Deserialize)]
struct Attribute {
    name: String,
    text: Option<Id>,
    set: Option<Set>,
    scalar: Option<Scalar>,
}

#[derive(Debug, Deserialize)]
struct Set {
    #[serde(default)]
    item: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Scalar {
    value: f64,
}

impl From<AgentInfo> for identity::AgentInfo {
    fn from(info: AgentInfo) -> Self {
        let (mut nodes, mut numeric_nodes, mut boots) = (Vec::new(), Vec::new(), Vec::new());
        for attribute in info.attributes {
            let texts =
                attribute.text.map(|text| text.value).into_iter().chain(attribute.set.into_iter().flat_map(|set| set.item));
            match attribute.name.as_str() {
                identity::NODE_ATTRIBUTE => {
                    nodes.extend(texts);
                    numeric_nodes.extend(attribute.scalar.map(|scalar| scalar.value));
                }
                identity::BOOT_ATTRIBUTE => boots.extend(texts),
                _ => {}
            }
        }
        let boot = if boots.len() == 1 { boots.pop() } else { None };
        Self { id: info.id.value, hostname: info.hostname, nodes, numeric_nodes, boot }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ContainerIdField {
    value: String,
    pub parent: Option<Box<ContainerIdField>>,
}

impl From<ContainerIdField> for ContainerId {
    fn from(field: ContainerIdField) -> Self {
        match field.parent {
            Some(parent) => ContainerId::from(*parent).child(&field.value),
            None => ContainerId::new(field.value),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ContainerInfo {
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize)]
struct Volume {
    source: Option<Source>,
}

/// The members of a `Volume.Source`; `type` says which one counts, and the others are absent.
#[derive(Debug, Deserialize)]
struct Source {
    docker_volume: Option<DockerVolume>,
    csi_volume: Option<CsiVolume>,
}

#[derive(Debug, Deserialize)]
struct DockerVolume {
    #[serde(default)]
    driver: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct CsiVolume {
    plugin_name: String,
    static_provisioning: Option<StaticProvisioning>,
}

#[derive(Debug, Deserialize)]
struct StaticProvisioning {
    volume_id: String,
}

impl ContainerInfo {
    pub(super) fn declared(self) -> BTreeSet<DeclaredVolume> {
        let sources = self.volumes.into_iter().filter_map(|volume| volume.source);
        sources
            .flat_map(|source| {
                let docker =
                    source.docker_volume.map(|volume| DeclaredVolume::Docker { driver: volume.driver, name: volume.name });
                let csi = source.csi_volume.and_then(|volume| {
                    Some(DeclaredVolume::Csi { plugin: volume.plugin_name, id: volume.static_provisioning?.volume_id })
                });
                docker.into_iter().chain(csi)
            })
            .collect()
    }
}

/// One of the resources of a task or an executor, as far as it says which disk it is.
#[derive(Debug, Deserialize)]
pub(super) struct ResourceMessage {
    disk: Option<DiskInfo>,
}

#[derive(Debug, Deserialize)]
struct DiskInfo {
    source: Option<DiskSource>,
}

#[derive(Debug, Deserialize)]
struct DiskSource {
    id: Option<String>,
    metadata: Option<Labels>,
}

#[derive(Debug, Default, Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Vec<Label>,
}

#[derive(Debug, Deserialize)]
struct Label {
    key: String,
    value: Option<String>,
}

/// The disks with an id among what an agent has, each with the labels of its source.
pub(super) fn labelled_disks(resources: Vec<ResourceMessage>) -> BTreeMap<String, BTreeMap<String, String>> {
    let sources = resources.into_iter().filter_map(|resource| resource.disk?.source);
    let labels = |source: DiskSource| {
        let labels = source.metadata.unwrap_or_default().labels.into_iter();
        Some((source.id?, labels.map(|label| (label.key, label.value.unwrap_or_default())).collect()))
    };
    sources.filter_map(labels).collect()
}

/// The disks with an id among resources.
pub(super) fn disks(resources: Vec<ResourceMessage>) -> impl Iterator<Item = DeclaredVolume> {
    resources.into_iter().filter_map(|resource| Some(DeclaredVolume::Disk { id: resource.disk?.source?.id? }))
}

#[derive(Debug, Deserialize)]
pub(super) struct TaskMessage {
    task_id: Id,
    framework_id: Id,
    executor_id: Option<Id>,
    agent_id: AgentIdField,
    state: String,
    #[serde(default)]
    statuses: Vec<TaskStatus>,
    container: Option<ContainerInfo>,
    #[serde(default)]
    resources: Vec<ResourceMessage>,
}

#[derive(Debug, Deserialize)]
struct TaskStatus {
    container_status: Option<ContainerStatus>,
}

#[derive(Debug, Deserialize)]
struct ContainerStatus {
    container_id: Option<ContainerIdField>,
}

impl From<TaskMessage> for Task {
    fn from(task: TaskMessage) -> Self {
        let container = task.statuses.into_iter().rev().find_map(|status| status.container_status?.container_id);
        let declared = task.container.map(ContainerInfo::declared).unwrap_or_default();
        Self {
            id: task.task_id.value,
            framework: task.framework_id.value,
            // A command task has no executor of its own in the message; its executor bears the name of the task.
            executor: task.executor_id.map(|id| id.value).filter(|id| !id.is_empty()),
            agent: task.agent_id.value,
            state: task.state,
            container: container.map(ContainerId::from),
            volumes: declared.into_iter().chain(disks(task.resources)).collect(),
        }
    }
}

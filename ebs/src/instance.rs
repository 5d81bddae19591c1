//! Instances: what volumes are attached to.

mod kind;

use std::collections::BTreeMap;

use hawser_volume::Deadline;
use serde::Deserialize;

pub use kind::Room;

use crate::client::{Anything, Ec2, Paged};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

xml::states! {
    /// What an instance is doing.
    InstanceState {
        /// It starts.
        Pending = "pending",
        /// It runs.
        Running = "running",
        /// It goes for good.
        ShuttingDown = "shutting-down",
        /// It has gone for good. EC2 lists it for an hour or so.
        Terminated = "terminated",
        /// It stops.
        Stopping = "stopping",
        /// It is off, with its volumes attached.
        Stopped = "stopped",
    }
}

/// A device name of an instance that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenName {
    /// The name, `/dev/xvdba`.
    pub device: String,
    /// The volume that has it.
    pub volume: String,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// What it is doing.
    pub state: InstanceState,
    /// Its type, `m7i.large`.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// The device names that are taken.
    pub taken: Vec<TakenName>,
    /// How many network interfaces it has.
    pub interfaces: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    instance_id: String,
    instance_state: State,
    #[serde(default)]
    instance_type: String,
    #[serde(default)]
    placement: Placement,
    #[serde(default, deserialize_with = "xml::items")]
    block_device_mapping: Vec<Mapping>,
    #[serde(default, deserialize_with = "xml::items")]
    network_interface_set: Vec<Anything>,
}

#[derive(Debug, Deserialize)]
struct State {
    name: InstanceState,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Placement {
    #[serde(default)]
    availability_zone: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    device_name: String,
    #[serde(default)]
    ebs: Ebs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ebs {
    #[serde(default)]
    volume_id: String,
}

impl From<Item> for Instance {
    fn from(item: Item) -> Self {
        let taken = item
            .block_device_mapping
            .into_iter()
            .map(|mapping| TakenName { device: mapping.device_name, volume: mapping.ebs.volume_id });
        Self {
            id: item.instance_id,
            state: item.instance_state.name,
            instance_type: item.instance_type,
            zone: item.placement.availability_zone,
            taken: taken.collect(),
            interfaces: u32::try_from(item.network_interface_set.len()).unwrap_or(u32::MAX),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instances {
    #[serde(default, deserialize_with = "xml::items")]
    reservation_set: Vec<Reservation>,
    #[serde(default, deserialize_with = "xml::text")]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default, deserialize_with = "xml::items")]
    instances_set: Vec<Item>,
}

impl Paged for Instances {
    type Item = Instance;

    fn split(self) -> (Vec<Instance>, Option<String>) {
        let instances = self.reservation_set.into_iter().flat_map(|reservation| reservation.instances_set);
        (instances.map(Instance::from).collect(), self.next_token)
    }
}

impl Ec2 {
    /// The instances with these ids, by id. One that does not exist is not among them; asked for by filter, it spoils nothing.
    pub async fn describe_instances(&self, ids: &[String], deadline: Deadline) -> Result<BTreeMap<String, Instance>, Refusal> {
        let form = Form::new().with_filter("instance-id", ids);
        let found = self.pages::<Instances>("DescribeInstances", form, deadline).await?;
        Ok(found.into_iter().map(|instance| (instance.id.clone(), instance)).collect())
    }
}

/// Whether `text` is the id of an instance. Checked before it is asked for: a malformed id is refused together with all others.
pub fn is_instance_id(text: &str) -> bool {
    is_id(text, "i-")
}

/// EC2's ids are a prefix and eight (old) or seventeen hexadecimal digits.
pub(crate) fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

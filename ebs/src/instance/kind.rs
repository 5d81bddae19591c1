//! Types of instances: how many volumes they can have.

use std::collections::BTreeMap;

use hawser_volume::Deadline;
use serde::Deserialize;

use super::Instance;
use crate::client::{Ec2, Paged};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

/// What an instance of a type can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Most volumes of EBS, the root one of them.
    pub volumes: u32,
    /// Whether network interfaces, beyond the first, and local disks take of that.
    pub shared: bool,
    /// Local disks of that kind.
    pub disks: u32,
}

impl Room {
    /// Whether `instance` can have no other volume.
    pub fn is_full(&self, instance: &Instance) -> bool {
        let taken = u32::try_from(instance.taken.len()).unwrap_or(u32::MAX);
        let others = if self.shared { instance.interfaces.saturating_sub(1).saturating_add(self.disks) } else { 0 };
        taken.saturating_add(others) >= self.volumes
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    instance_type: String,
    #[serde(default)]
    ebs_info: Ebs,
    #[serde(default)]
    instance_storage_info: Storage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ebs {
    #[serde(default)]
    maximum_ebs_attachments: Option<u32>,
    #[serde(default)]
    attachment_limit_type: String,
    #[serde(default)]
    nvme_support: String,
}

#[derive(Debug, Default, Deserialize)]
struct Storage {
    #[serde(default, deserialize_with = "xml::items")]
    disks: Vec<Disk>,
}

#[derive(Debug, Deserialize)]
struct Disk {
    #[serde(default)]
    count: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinds {
    #[serde(default, deserialize_with = "xml::items")]
    instance_type_set: Vec<Item>,
    #[serde(default, deserialize_with = "xml::text")]
    next_token: Option<String>,
}

impl Paged for Kinds {
    type Item = (String, Option<Room>);

    fn split(self) -> (Vec<Self::Item>, Option<String>) {
        let room = |item: Item| {
            let room = item.ebs_info.maximum_ebs_attachments.map(|volumes| Room {
                volumes,
                shared: item.ebs_info.attachment_limit_type == "shared",
                // Only where all disks are on NVMe do they share places.
                disks: match item.ebs_info.nvme_support.as_str() {
                    "required" => item.instance_storage_info.disks.iter().map(|disk| disk.count).sum(),
                    _ => 0,
                },
            });
            (item.instance_type, room)
        };
        (self.instance_type_set.into_iter().map(room).collect(), self.next_token)
    }
}

impl Ec2 {
    /// What instances of these types can have; nothing for one of which EC2 does not say it.
    pub async fn describe_instance_types(
        &self,
        types: &[String],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Option<Room>>, Refusal> {
        let form = Form::new().with_filter("instance-type", types);
        Ok(self.pages::<Kinds>("DescribeInstanceTypes", form, deadline).await?.into_iter().collect())
    }
}

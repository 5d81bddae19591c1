//! Changes of a volume's size, type and speed.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hawser_volume::Deadline;
use serde::Deserialize;

use crate::client::{Call, Ec2, Paged};
use crate::form::Form;
use crate::refusal::Refusal;
use crate::xml;

xml::states! {
    /// How far a change is. From `optimizing` on the volume has its new size.
    ModificationState {
        /// It has begun.
        Modifying = "modifying",
        /// The volume is what it shall be, and not yet as fast.
        Optimizing = "optimizing",
        /// It is done.
        Completed = "completed",
        /// It has failed; the volume is what it was.
        Failed = "failed",
    }
}

/// What shall change; what is not said stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The size, in GiB. It cannot become less.
    pub size: Option<u32>,
    /// The type.
    pub volume_type: Option<String>,
    /// Operations a second.
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
}

/// A change of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Modification {
    /// The volume.
    #[serde(rename = "volumeId")]
    pub volume: String,
    /// How far it is.
    #[serde(rename = "modificationState")]
    pub state: ModificationState,
    /// What EC2 says about it.
    #[serde(default, rename = "statusMessage", deserialize_with = "xml::text")]
    pub message: Option<String>,
    /// The size that it is to have, in GiB.
    #[serde(default)]
    pub target_size: Option<u32>,
    /// The type that it is to have.
    #[serde(default, rename = "targetVolumeType", deserialize_with = "xml::text")]
    pub target_type: Option<String>,
    /// Operations a second that it is to have.
    #[serde(default)]
    pub target_iops: Option<u32>,
    /// MiB a second that it is to have.
    #[serde(default)]
    pub target_throughput: Option<u32>,
    /// When it began.
    #[serde(default, rename = "startTime", deserialize_with = "xml::time")]
    pub started: Option<SystemTime>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modified {
    volume_modification: Modification,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modifications {
    #[serde(default, deserialize_with = "xml::items")]
    volume_modification_set: Vec<Modification>,
    #[serde(default, deserialize_with = "xml::text")]
    next_token: Option<String>,
}

impl Paged for Modifications {
    type Item = Modification;

    fn split(self) -> (Vec<Modification>, Option<String>) {
        (self.volume_modification_set, self.next_token)
    }
}

impl Ec2 {
    /// Begins a change. EC2 allows the next one only some six hours later, so it is not sent again after a lost answer: look.
    pub async fn modify_volume(&self, id: &str, change: &Change, deadline: Deadline) -> Result<Modification, Refusal> {
        let form = Form::new()
            .with("VolumeId", id)
            .with_some("Size", change.size)
            .with_some("VolumeType", change.volume_type.as_ref())
            .with_some("Iops", change.iops)
            .with_some("Throughput", change.throughput);
        self.call::<Modified>(&Call::once("ModifyVolume", form), deadline).await.map(|answer| answer.volume_modification)
    }

    /// The latest change of each of these volumes (at most 200), by volume. One that never changed is not among them.
    pub async fn describe_modifications(
        &self,
        volumes: &[String],
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Modification>, Refusal> {
        let form = Form::new().with_filter("volume-id", volumes);
        let mut latest: BTreeMap<String, Modification> = BTreeMap::new();
        for modification in self.pages::<Modifications>("DescribeVolumesModifications", form, deadline).await? {
            let newer = latest.get(&modification.volume).is_none_or(|known| known.started <= modification.started);
            if newer {
                latest.insert(modification.volume.clone(), modification);
            }
        }
        Ok(latest)
    }
}

//! Copies of volumes, made by EC2 within one zone.

use std::collections::BTreeMap;

use hawser_volume::Deadline;

use super::{Volume, Volumes};
use crate::client::{Call, Ec2};
use crate::form::Form;
use crate::refusal::Refusal;

/// What a copy shall be. What is not said is as the source has it.
#[derive(Debug, Clone, Default)]
pub struct NewCopy {
    /// What makes two calls one, as for a new volume.
    pub client_token: String,
    /// The volume that is copied. Its zone and its key are the copy's.
    pub source: String,
    /// Its size, in GiB; not less than the source's.
    pub size: u32,
    /// Its type.
    pub volume_type: Option<String>,
    /// Operations a second.
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
    /// For several instances at once.
    pub multi_attach: bool,
    /// What is written on it, in the same moment.
    pub tags: BTreeMap<String, String>,
}

const ACTION: &str = "CopyVolumes";

impl NewCopy {
    fn call(&self) -> Call {
        let form = Form::new()
            .with_some("ClientToken", Some(&self.client_token).filter(|token| !token.is_empty()))
            .with("SourceVolumeId", &self.source)
            .with("Size", self.size)
            .with_some("VolumeType", self.volume_type.as_ref())
            .with_some("Iops", self.iops)
            .with_some("Throughput", self.throughput)
            .with_some("MultiAttachEnabled", self.multi_attach.then_some(true))
            .with_tags_for("volume", &self.tags);
        // Without a token each attempt that arrives makes a copy.
        if self.client_token.is_empty() { Call::once(ACTION, form) } else { Call::repeatable(ACTION, form) }
    }
}

impl Ec2 {
    /// Whether EC2 would do [`Ec2::copy_volume`] of `new`, which is not made.
    pub async fn may_copy_volume(&self, new: &NewCopy, deadline: Deadline) -> Result<(), Refusal> {
        self.allowed(new.call(), deadline).await
    }

    /// Copies a volume as it is at this moment, or gives the copy that an earlier call with the same token made.
    pub async fn copy_volume(&self, new: &NewCopy, deadline: Deadline) -> Result<Volume, Refusal> {
        let made: Volumes = self.call(&new.call(), deadline).await?;
        made.volume_set.into_iter().next().ok_or_else(|| Refusal::unanswered(ACTION, "the answer names no volume", true))
    }
}

//! Volumes and their attachments.

mod change;
mod copy;
mod health;

use std::collections::BTreeMap;
use std::time::SystemTime;

use hawser_volume::Deadline;
use serde::Deserialize;

pub use change::{Change, Modification, ModificationState};
pub use copy::NewCopy;
pub use health::Health;

use crate::client::{Anything, Call, Ec2, Paged};
use crate::form::Form;
use crate::instance::is_id;
use crate::refusal::Refusal;
use crate::{tag, xml};

xml::states! {
    /// What a volume is doing.
    VolumeState {
        /// It is being made, and may yet vanish.
        Creating = "creating",
        /// Nobody has it.
        Available = "available",
        /// An instance has it.
        InUse = "in-use",
        /// It goes.
        Deleting = "deleting",
        /// It has gone.
        Deleted = "deleted",
        /// It could not be made.
        Error = "error",
    }
}

xml::states! {
    /// How far an attachment is.
    AttachmentState {
        /// The instance does not see it yet.
        Attaching = "attaching",
        /// The instance has it.
        Attached = "attached",
        /// It goes; the instance may still write.
        Detaching = "detaching",
        /// It has gone.
        Detached = "detached",
        /// It cannot go, as the instance uses it.
        Busy = "busy",
    }
}

/// That an instance has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The volume.
    #[serde(default, rename = "volumeId")]
    pub volume: String,
    /// The instance.
    #[serde(default, rename = "instanceId")]
    pub instance: String,
    /// The name that was asked for it, `/dev/xvdba`.
    #[serde(default)]
    pub device: String,
    /// How far it is.
    #[serde(rename = "status")]
    pub state: AttachmentState,
    /// When it began.
    #[serde(default, rename = "attachTime", deserialize_with = "xml::time")]
    pub since: Option<SystemTime>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its id.
    #[serde(rename = "volumeId")]
    pub id: String,
    /// Its size, in GiB.
    pub size: u32,
    /// What it is doing.
    #[serde(rename = "status")]
    pub state: VolumeState,
    /// Its type, `gp3`.
    #[serde(default, rename = "volumeType")]
    pub volume_type: String,
    /// Where it is.
    #[serde(default, rename = "availabilityZone")]
    pub zone: String,
    /// The outpost that has it.
    #[serde(default, rename = "outpostArn", deserialize_with = "xml::text")]
    pub outpost: Option<String>,
    /// Operations a second that it may have, where its type has them.
    #[serde(default)]
    pub iops: Option<u32>,
    /// MiB a second that it may have, where its type has them.
    #[serde(default)]
    pub throughput: Option<u32>,
    /// Whether it is encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// With which key.
    #[serde(default, rename = "kmsKeyId", deserialize_with = "xml::text")]
    pub key: Option<String>,
    /// Whether several instances may have it at once.
    #[serde(default)]
    pub multi_attach_enabled: bool,
    /// The snapshot that it was made from.
    #[serde(default, rename = "snapshotId", deserialize_with = "xml::text")]
    pub snapshot: Option<String>,
    /// When it was made.
    #[serde(default, rename = "createTime", deserialize_with = "xml::time")]
    pub created: Option<SystemTime>,
    /// Who has it.
    #[serde(default, rename = "attachmentSet", deserialize_with = "xml::items")]
    pub attachments: Vec<Attachment>,
    /// What is written on it.
    #[serde(default, rename = "tagSet", deserialize_with = "tag::tags")]
    pub tags: BTreeMap<String, String>,
}

impl Volume {
    /// The attachment to `instance`.
    pub fn attachment_to(&self, instance: &str) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.instance == instance)
    }
}

/// What a new volume shall be. What is not said EC2 decides.
#[derive(Debug, Clone, Default)]
pub struct NewVolume {
    /// What makes two calls one: the same token makes the same volume. At most 64 characters.
    pub client_token: String,
    /// Where.
    pub zone: String,
    /// Its size, in GiB.
    pub size: u32,
    /// Its type.
    pub volume_type: Option<String>,
    /// Operations a second.
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
    /// Whether to encrypt it. What is not said the account decides.
    pub encrypted: Option<bool>,
    /// With which key.
    pub key: Option<String>,
    /// For several instances at once.
    pub multi_attach: bool,
    /// The snapshot that it is made from.
    pub snapshot: Option<String>,
    /// MiB a second with which the snapshot's content is fetched.
    pub initialization_rate: Option<u32>,
    /// The outpost.
    pub outpost: Option<String>,
    /// What is written on it, in the same moment.
    pub tags: BTreeMap<String, String>,
}

impl NewVolume {
    fn call(&self) -> Call {
        let form = Form::new()
            .with("ClientToken", &self.client_token)
            .with("AvailabilityZone", &self.zone)
            .with("Size", self.size)
            .with_some("VolumeType", self.volume_type.as_ref())
            .with_some("Iops", self.iops)
            .with_some("Throughput", self.throughput)
            .with_some("Encrypted", self.encrypted)
            .with_some("KmsKeyId", self.key.as_ref())
            .with_some("MultiAttachEnabled", self.multi_attach.then_some(true))
            .with_some("SnapshotId", self.snapshot.as_ref())
            .with_some("VolumeInitializationRate", self.initialization_rate)
            .with_some("OutpostArn", self.outpost.as_ref())
            .with_tags_for("volume", &self.tags);
        // Without a token each attempt that arrives makes a volume.
        if self.client_token.is_empty() { Call::once("CreateVolume", form) } else { Call::repeatable("CreateVolume", form) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volumes {
    #[serde(default, deserialize_with = "xml::items")]
    volume_set: Vec<Volume>,
    #[serde(default, deserialize_with = "xml::text")]
    next_token: Option<String>,
}

impl Paged for Volumes {
    type Item = Volume;

    fn split(self) -> (Vec<Volume>, Option<String>) {
        (self.volume_set, self.next_token)
    }
}

impl Ec2 {
    /// Makes a volume, or gives the one that an earlier call with the same token made. It may still be in the making.
    pub async fn create_volume(&self, new: &NewVolume, deadline: Deadline) -> Result<Volume, Refusal> {
        self.call(&new.call(), deadline).await
    }

    /// Whether the credentials allow [`Ec2::create_volume`] of `new`, which is not made.
    pub async fn may_create_volume(&self, new: &NewVolume, deadline: Deadline) -> Result<(), Refusal> {
        self.allowed(new.call(), deadline).await
    }

    /// Removes a volume that nobody has. It may still be going.
    pub async fn delete_volume(&self, id: &str, deadline: Deadline) -> Result<(), Refusal> {
        let form = Form::new().with("VolumeId", id);
        self.call::<Anything>(&Call::repeatable("DeleteVolume", form), deadline).await.map(drop)
    }

    /// Gives a volume to an instance under a device name that is free there. Not sent again after a lost answer: look.
    pub async fn attach_volume(&self, id: &str, instance: &str, device: &str, deadline: Deadline) -> Result<Attachment, Refusal> {
        let form = Form::new().with("VolumeId", id).with("InstanceId", instance).with("Device", device);
        self.call(&Call::once("AttachVolume", form), deadline).await
    }

    /// Takes a volume from that instance. With `force` EC2 does not wait for the instance to let go, and what it has not written
    /// is lost. Not sent again after a lost answer, for the volume may have come back since: look.
    pub async fn detach_volume(&self, id: &str, instance: &str, force: bool, deadline: Deadline) -> Result<Attachment, Refusal> {
        let form = Form::new().with("VolumeId", id).with("InstanceId", instance).with_some("Force", force.then_some(true));
        self.call(&Call::once("DetachVolume", form), deadline).await
    }

    /// The volumes that have one of `values` (at most 200) for the filter `name`. One that does not exist is not among them, and
    /// neither, for some seconds, may be one that was just made.
    pub async fn describe_volumes(&self, name: &str, values: &[String], deadline: Deadline) -> Result<Vec<Volume>, Refusal> {
        self.pages::<Volumes>("DescribeVolumes", Form::new().with_filter(name, values), deadline).await
    }

    /// A page of the volumes that have one of `values` for the filter `name`, at most `max` (5 to 1000), from `token` on.
    pub async fn list_volumes(
        &self,
        name: &str,
        values: &[String],
        max: u32,
        token: Option<&str>,
        deadline: Deadline,
    ) -> Result<(Vec<Volume>, Option<String>), Refusal> {
        let form = Form::new().with_filter(name, values).with("MaxResults", max.clamp(5, 1000)).with_some("NextToken", token);
        self.call::<Volumes>(&Call::repeatable("DescribeVolumes", form), deadline).await.map(Paged::split)
    }
}

/// Whether `text` is the id of a volume.
pub fn is_volume_id(text: &str) -> bool {
    is_id(text, "vol-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_what_ec2_leaves_out_and_leaves_empty() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><volumeSet>
            <item><volumeId>vol-0123456789abcdef0</volumeId><size>8</size><snapshotId/><availabilityZone>eu-central-1a</availabilityZone>
            <status>in-use</status><createTime>2026-11-22T04:36:28.123Z</createTime><attachmentSet><item>
            <volumeId>vol-0123456789abcdef0</volumeId><instanceId>i-0123456789abcdef0</instanceId><device>/dev/xvdba</device>
            <status>busy</status><attachTime>2026-11-22T04:36:29.000Z</attachTime><deleteOnTermination>false</deleteOnTermination>
            </item></attachmentSet><volumeType>gp3</volumeType><iops>3000</iops><encrypted>true</encrypted>
            <multiAttachEnabled>false</multiAttachEnabled><throughput>125</throughput>
            <tagSet><item><key>a</key><value/></item><item><key>b</key><value>x &amp; y</value></item></tagSet></item>
            <item><volumeId>vol-2</volumeId><size>1</size><status>moonlit</status><attachmentSet/></item>
            </volumeSet><nextToken/></DescribeVolumesResponse>"#;
        let (volumes, next) = quick_xml::de::from_reader::<_, Volumes>(text.as_bytes()).unwrap().split();
        assert_eq!(next, None);
        let [first, second] = &volumes[..] else { panic!("{volumes:?}") };
        assert_eq!((first.size, first.state, first.snapshot.as_deref()), (8, VolumeState::InUse, None));
        assert_eq!((first.iops, first.throughput, first.encrypted), (Some(3000), Some(125), true));
        assert_eq!(first.attachment_to("i-0123456789abcdef0").unwrap().state, AttachmentState::Busy);
        assert_eq!(first.tags, BTreeMap::from([("a".to_owned(), String::new()), ("b".to_owned(), "x & y".to_owned())]));
        assert_eq!((second.state, second.iops, second.attachments.len()), (VolumeState::Unknown, None, 0));
    }

    #[test]
    fn half_an_answer_is_no_answer() {
        let text =
            "<DescribeVolumesResponse><volumeSet><item><volumeId>vol-2</volumeId><size>1</size><status>available</status></item>";
        for end in 1..text.len() {
            assert!(quick_xml::de::from_str::<Volumes>(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }

    #[test]
    fn ids_are_told_from_other_words() {
        assert!(is_volume_id("vol-0123456789abcdef0") && is_volume_id("vol-12345678"));
        for text in ["vol-", "vol-0123456789ABCDEF0", "vol-0123456789abcdef01", "snap-12345678", "vol-1234567*"] {
            assert!(!is_volume_id(text), "{text}");
        }
    }
}

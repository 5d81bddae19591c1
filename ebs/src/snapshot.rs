//! Snapshots.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hawser_volume::Deadline;
use serde::Deserialize;

use crate::client::{Anything, Call, Ec2, Paged};
use crate::form::Form;
use crate::instance::is_id;
use crate::place::Outpost;
use crate::refusal::Refusal;
use crate::{tag, xml};

mod keeping;

pub use keeping::Lock;

xml::states! {
    /// How far a snapshot is.
    SnapshotState {
        /// The cut is made; it is being copied.
        Pending = "pending",
        /// It is complete.
        Completed = "completed",
        /// It has failed.
        Error = "error",
        /// It is in the recycle bin.
        Recoverable = "recoverable",
        /// It comes back from the recycle bin or the archive.
        Recovering = "recovering",
    }
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its id.
    #[serde(rename = "snapshotId")]
    pub id: String,
    /// The volume that it shows.
    #[serde(default, rename = "volumeId")]
    pub volume: String,
    /// How far it is.
    #[serde(rename = "status")]
    pub state: SnapshotState,
    /// When it was begun. Its content is of this moment.
    #[serde(default, rename = "startTime", deserialize_with = "xml::time")]
    pub started: Option<SystemTime>,
    /// Size of the volume that it shows, in GiB.
    #[serde(rename = "volumeSize")]
    pub size: u32,
    /// How much of it is copied, `53%`.
    #[serde(default, deserialize_with = "xml::text")]
    pub progress: Option<String>,
    /// What EC2 says about its state.
    #[serde(default, rename = "statusMessage", deserialize_with = "xml::text")]
    pub message: Option<String>,
    /// What is written on it.
    #[serde(default, rename = "tagSet", deserialize_with = "tag::tags")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshots {
    #[serde(default, deserialize_with = "xml::items")]
    snapshot_set: Vec<Snapshot>,
    #[serde(default, deserialize_with = "xml::text")]
    next_token: Option<String>,
}

impl Paged for Snapshots {
    type Item = Snapshot;

    fn split(self) -> (Vec<Snapshot>, Option<String>) {
        (self.snapshot_set, self.next_token)
    }
}

impl Ec2 {
    /// Cuts a snapshot, kept on `outpost` if one is given. EC2 takes no client token for it, so it is not sent again after a lost
    /// answer: look by the tags.
    pub async fn create_snapshot(
        &self,
        volume: &str,
        outpost: Option<&Outpost>,
        tags: &BTreeMap<String, String>,
        deadline: Deadline,
    ) -> Result<Snapshot, Refusal> {
        let form = Form::new().with("VolumeId", volume).with_some("OutpostArn", outpost).with_tags_for("snapshot", tags);
        self.call(&Call::once("CreateSnapshot", form), deadline).await
    }

    /// Removes a snapshot.
    pub async fn delete_snapshot(&self, id: &str, deadline: Deadline) -> Result<(), Refusal> {
        let form = Form::new().with("SnapshotId", id);
        self.call::<Anything>(&Call::repeatable("DeleteSnapshot", form), deadline).await.map(drop)
    }

    /// The account's own snapshots that have one of `values` for the filter `name`.
    pub async fn describe_snapshots(&self, name: &str, values: &[String], deadline: Deadline) -> Result<Vec<Snapshot>, Refusal> {
        // Without an owner, those that anybody made public are listed too.
        let form = Form::new().with_list("Owner", ["self"]).with_filter(name, values);
        self.pages::<Snapshots>("DescribeSnapshots", form, deadline).await
    }

    /// A page of the account's own snapshots that pass `filters`, at most `max` (5 to 1000), from `token` on.
    pub async fn list_snapshots(
        &self,
        filters: &[(&str, &str)],
        max: u32,
        token: Option<&str>,
        deadline: Deadline,
    ) -> Result<(Vec<Snapshot>, Option<String>), Refusal> {
        let owned = Form::new().with_list("Owner", ["self"]);
        let form = filters.iter().fold(owned, |form, (name, value)| form.with_filter(name, [value]));
        let form = form.with("MaxResults", max.clamp(5, 1000)).with_some("NextToken", token);
        self.call::<Snapshots>(&Call::repeatable("DescribeSnapshots", form), deadline).await.map(Paged::split)
    }
}

/// Whether `text` is the id of a snapshot.
pub fn is_snapshot_id(text: &str) -> bool {
    is_id(text, "snap-")
}

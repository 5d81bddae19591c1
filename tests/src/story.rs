//! A volume's life with every mutating call in it, as a CO would make them, and the way down from wherever it was cut off.
//!
//! The suites that disturb it, by killing the driver or by making calls fail, go on with the same call or with the opposite ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hawser_proto::csi;
use tonic::Status;

use crate::client::{POD, create_request, exactly, map, restore_request};
use crate::content::{read, write_through};
use crate::kernel::mount_at;
use crate::settings::Kind;
use crate::{Client, Context, MIB, Usage};

/// What mkfs.xfs needs. xfs grows without CAP_SYS_RESOURCE.
const LEAST: i64 = 320 * MIB;

/// What the task writes, and must find again after every crash.
const LETTER: &[u8] = b"written before the crash";

/// The calls of the story, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// CreateVolume.
    Create,
    /// ControllerPublishVolume.
    Attach,
    /// NodeStageVolume.
    Stage,
    /// NodePublishVolume; then the task writes its letter, or reads it.
    Publish,
    /// ControllerExpandVolume.
    Expand,
    /// NodeExpandVolume.
    ExpandNode,
    /// ControllerModifyVolume.
    Modify,
    /// CreateSnapshot.
    Snapshot,
    /// CreateVolume from the snapshot.
    Restore,
    /// DeleteVolume of that one.
    DeleteRestored,
    /// CreateVolumeGroupSnapshot.
    Group,
    /// DeleteVolumeGroupSnapshot.
    DeleteGroup,
    /// DeleteSnapshot.
    DeleteSnapshot,
    /// NodeUnpublishVolume.
    Unpublish,
    /// NodeUnstageVolume.
    Unstage,
    /// ControllerUnpublishVolume.
    Detach,
    /// DeleteVolume.
    Delete,
}

/// The calls in their order. The volume is staged a second time, with the letter on it.
const CALLS: &[Call] = &[
    Call::Create,
    Call::Attach,
    Call::Stage,
    Call::Publish,
    Call::Expand,
    Call::ExpandNode,
    Call::Modify,
    Call::Snapshot,
    Call::Restore,
    Call::DeleteRestored,
    Call::Group,
    Call::DeleteGroup,
    Call::DeleteSnapshot,
    Call::Unpublish,
    Call::Unstage,
    Call::Stage,
    Call::Publish,
    Call::Unpublish,
    Call::Unstage,
    Call::Detach,
    Call::Delete,
];

/// How the CO goes on after a call that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// With the same call, and the rest of the story.
    Same,
    /// Everything is taken down from where it is.
    Opposite,
}

impl After {
    /// Both, with their names.
    pub const ALL: [(After, &str); 2] = [(After::Same, "same"), (After::Opposite, "opposite")];
}

/// A story of one kind of volume.
#[derive(Debug)]
pub struct Story {
    kind: Kind,
    /// The calls, in order.
    pub calls: Vec<Call>,
}

impl Story {
    /// The story of images, or of directories of an export, each with everything that can be done with them.
    pub fn of(kind: Kind) -> Self {
        let lacks: &[Call] = match kind {
            Kind::Image => &[],
            Kind::Directory => panic!("nobody tells the story of a directory"),
            Kind::Nfs => &[Call::Modify, Call::Group, Call::DeleteGroup],
            Kind::Ebs => &[Call::Group, Call::DeleteGroup],
            Kind::ScaleIo => &[Call::Modify],
        };
        Self { kind, calls: CALLS.iter().copied().filter(|call| !lacks.contains(call)).collect() }
    }

    /// How the volume is used.
    pub fn usage(&self) -> Usage {
        if self.kind == Kind::Nfs { Usage::mount() } else { Usage::mount().filesystem("xfs") }
    }

    /// What the volume has, and what it has when it was grown.
    fn sizes(&self) -> (i64, i64) {
        let size = self.kind.sizes().fit(LEAST);
        (size, 2 * size)
    }

    /// A volume of an export has a place of its own, which is one thing more to claim and to give back.
    fn parameters(&self) -> BTreeMap<String, String> {
        if self.kind == Kind::Nfs { map([("subDir", "places/${name}")]) } else { map([]) }
    }
}

/// What the CO remembers.
#[derive(Debug)]
pub struct Memory<'a> {
    story: &'a Story,
    written: bool,
    volume: Option<csi::Volume>,
    context: Context,
    target: Option<PathBuf>,
    snapshot: Option<String>,
    restored: Option<csi::Volume>,
    group: Option<csi::VolumeGroupSnapshot>,
}

impl<'a> Memory<'a> {
    /// Nothing is remembered yet.
    pub fn new(story: &'a Story) -> Self {
        Self {
            story,
            written: false,
            volume: None,
            context: Context::default(),
            target: None,
            snapshot: None,
            restored: None,
            group: None,
        }
    }

    fn volume(&self) -> &csi::Volume {
        self.volume.as_ref().unwrap()
    }

    fn id(&self) -> String {
        self.volume().volume_id.clone()
    }

    /// Makes a call.
    pub async fn perform(&mut self, call: Call, client: &Client) -> Result<(), Status> {
        let (usage, parameters, (size, grown)) = (self.story.usage(), self.story.parameters(), self.story.sizes());
        match call {
            Call::Create => {
                let request = csi::CreateVolumeRequest { parameters, ..create_request("story", size, &usage) };
                self.volume = Some(client.try_create(request).await?);
            }
            Call::Attach => self.context = client.attach(self.volume(), &usage).await?,
            Call::Stage => drop(client.stage(self.volume(), &self.context, &usage).await?),
            Call::Publish => {
                let target = client.publish(self.volume(), &self.context, &usage, POD).await?;
                if !self.written {
                    write_through(&target, LETTER).unwrap();
                    self.written = true;
                }
                self.target = Some(target);
                self.read_letter(client);
            }
            Call::Expand => drop(client.expand(&self.id(), exactly(grown)).await?),
            Call::ExpandNode => {
                let target = self.target.clone().unwrap();
                client.expand_here(&self.id(), &target, &usage, grown).await?;
            }
            Call::Modify => {
                let [key, _, value] = self.story.kind.change().unwrap();
                let request = csi::ControllerModifyVolumeRequest {
                    volume_id: self.id(),
                    mutable_parameters: map([(key, value)]),
                    ..Default::default()
                };
                client.controller().controller_modify_volume(request).await?;
            }
            Call::Snapshot => self.snapshot = Some(client.snapshot("story-snapshot", &self.id()).await?.snapshot_id),
            Call::Restore => {
                let request = restore_request("story-restored", grown, &usage, self.snapshot.as_ref().unwrap());
                let request = csi::CreateVolumeRequest { parameters, ..request };
                self.restored = Some(client.try_create(request).await?);
            }
            Call::DeleteRestored => client.delete(&self.restored.as_ref().unwrap().volume_id).await?,
            Call::Group => {
                let request = csi::CreateVolumeGroupSnapshotRequest {
                    name: "story-group".to_owned(),
                    source_volume_ids: vec![self.id()],
                    ..Default::default()
                };
                let answer = client.groups().create_volume_group_snapshot(request).await?;
                self.group = answer.into_inner().group_snapshot;
            }
            Call::DeleteGroup => {
                let group = self.group.as_ref().unwrap();
                let request = csi::DeleteVolumeGroupSnapshotRequest {
                    group_snapshot_id: group.group_snapshot_id.clone(),
                    snapshot_ids: group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect(),
                    ..Default::default()
                };
                client.groups().delete_volume_group_snapshot(request).await?;
            }
            Call::DeleteSnapshot => client.delete_snapshot(self.snapshot.as_ref().unwrap()).await?,
            Call::Unpublish => {
                self.read_letter(client);
                client.unpublish(&self.id(), POD).await?;
            }
            Call::Unstage => client.unstage(&self.id()).await?,
            Call::Detach => client.detach(&self.id()).await?,
            Call::Delete => client.delete(&self.id()).await?,
        }
        Ok(())
    }

    /// Whatever happened, what the task wrote is there as long as the volume is mounted.
    fn read_letter(&self, client: &Client) {
        let target = client.target(POD, &self.id());
        if self.written && mount_at(&target).is_some() {
            assert_eq!(read(&target, LETTER.len()), LETTER, "the letter is lost");
        }
    }

    /// Makes the calls of the rest of the story, beginning with the one numbered `from`.
    pub async fn go_on(&mut self, from: usize, client: &Client) {
        for call in &self.story.calls[from..] {
            self.perform(*call, client).await.unwrap_or_else(|status| panic!("{call:?} again: {status}"));
        }
    }

    /// Takes down whatever there may be, in the order of a CO. What has no id yet is named by making it again.
    pub async fn take_down(&mut self, interrupted: Call, client: &Client) {
        let mut calls = Vec::new();
        if matches!(interrupted, Call::Create | Call::Snapshot | Call::Restore | Call::Group) {
            calls.push(interrupted);
        }
        calls.extend([Call::Unpublish, Call::Unstage, Call::Detach]);
        if self.group.is_some() || interrupted == Call::Group {
            calls.push(Call::DeleteGroup);
        }
        if self.restored.is_some() || interrupted == Call::Restore {
            calls.push(Call::DeleteRestored);
        }
        if self.snapshot.is_some() || interrupted == Call::Snapshot {
            calls.push(Call::DeleteSnapshot);
        }
        calls.push(Call::Delete);
        for call in calls {
            self.perform(call, client).await.unwrap_or_else(|status| panic!("{call:?} on the way down: {status}"));
        }
    }
}

//! Group snapshots: several volumes at one moment, all or none.

use std::collections::BTreeSet;

use hawser_proto::csi;
use tokio::task::spawn_blocking;
use tonic::{Code, Status};

use crate::client::{Client, restore_request};
use crate::content::{Journal, assert_holds, pattern, write};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::rig::inside;

super::table! {
    a_group_has_a_snapshot_of_every_volume: [Group],
    the_same_group_again_is_the_same: [Group],
    a_member_goes_with_its_group: [Group],
    a_group_that_cannot_be_whole_is_refused: [Group],
    mounted_volumes_are_cut_at_one_moment: [Group, Format],
}

const LENGTH: usize = 3 << 20;

async fn group(a: &Client, name: &str, sources: &[&str]) -> Result<csi::VolumeGroupSnapshot, Status> {
    let request = csi::CreateVolumeGroupSnapshotRequest {
        name: name.to_owned(),
        source_volume_ids: sources.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    };
    Ok(a.groups().create_volume_group_snapshot(request).await?.into_inner().group_snapshot.unwrap())
}

async fn delete_group(a: &Client, id: &str, members: &[String]) -> Result<(), Status> {
    let request = csi::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: id.to_owned(),
        snapshot_ids: members.to_vec(),
        ..Default::default()
    };
    a.groups().delete_volume_group_snapshot(request).await.map(drop)
}

async fn get_group(a: &Client, id: &str, members: &[String]) -> Result<csi::VolumeGroupSnapshot, Status> {
    let request = csi::GetVolumeGroupSnapshotRequest {
        group_snapshot_id: id.to_owned(),
        snapshot_ids: members.to_vec(),
        ..Default::default()
    };
    Ok(a.groups().get_volume_group_snapshot(request).await?.into_inner().group_snapshot.unwrap())
}

fn members(group: &csi::VolumeGroupSnapshot) -> Vec<String> {
    group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect()
}

/// Volumes that hold patterns with the seeds 1, 2 and so on.
async fn written(plugin: &Plugin, count: u64) -> Vec<csi::Volume> {
    let (a, usage) = (plugin.a(), plugin.usage());
    let mut volumes = Vec::new();
    for seed in 1..=count {
        let volume = a.create(&format!("volume-{seed}"), plugin.small(), &usage).await;
        write(&a.up(&volume, &usage).await, &pattern(seed, LENGTH)).unwrap();
        a.down(&volume).await;
        volumes.push(volume);
    }
    volumes
}

async fn gone(a: &Client, volumes: Vec<csi::Volume>) {
    for volume in volumes {
        a.delete(&volume.volume_id).await.unwrap();
    }
}

async fn a_group_has_a_snapshot_of_every_volume(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volumes = written(plugin, 3).await;
    let ids: Vec<&str> = volumes.iter().map(|volume| volume.volume_id.as_str()).collect();
    let made = group(&a, "group", &ids).await.unwrap();
    assert!(made.ready_to_use && made.creation_time.is_some());
    let sources: BTreeSet<&str> = made.snapshots.iter().map(|snapshot| snapshot.source_volume_id.as_str()).collect();
    assert_eq!(sources, ids.iter().copied().collect());
    for snapshot in &made.snapshots {
        assert_eq!(snapshot.group_snapshot_id, made.group_snapshot_id);
        assert!(snapshot.ready_to_use);
    }
    let listed = a.controller().list_snapshots(csi::ListSnapshotsRequest::default()).await.unwrap().into_inner().entries;
    assert_eq!(listed.len(), 3);
    assert!(listed.into_iter().all(|entry| made.snapshots.contains(&entry.snapshot.unwrap())));
    for snapshot in &made.snapshots {
        let seed = 1 + u64::try_from(ids.iter().position(|id| *id == snapshot.source_volume_id).unwrap()).unwrap();
        let restored = a
            .try_create(restore_request(&format!("restored-{seed}"), plugin.small(), &usage, &snapshot.snapshot_id))
            .await
            .unwrap();
        assert_holds(&a.up(&restored, &usage).await, seed, LENGTH);
        a.down(&restored).await;
        a.delete(&restored.volume_id).await.unwrap();
    }
    delete_group(&a, &made.group_snapshot_id, &members(&made)).await.unwrap();
    gone(&a, volumes).await;
}

async fn the_same_group_again_is_the_same(plugin: &Plugin) {
    let a = plugin.a();
    let volumes = written(plugin, 3).await;
    let [one, two, three] = [0, 1, 2].map(|index| volumes[index].volume_id.as_str());
    let made = group(&a, "group", &[one, two]).await.unwrap();
    // The order in which the volumes are named is nothing that a CO promises to keep.
    for sources in [&[one, two][..], &[two, one]] {
        assert_eq!(group(&a, "group", sources).await.unwrap(), made);
    }
    for sources in [&[one][..], &[one, three], &[one, two, three]] {
        refused(group(&a, "group", sources).await, Code::AlreadyExists, &["group"]);
    }
    assert_eq!(get_group(&a, &made.group_snapshot_id, &members(&made)).await.unwrap(), made);
    assert_eq!(get_group(&a, &made.group_snapshot_id, &[]).await.unwrap(), made);
    refused(get_group(&a, &made.group_snapshot_id, &members(&made)[..1]).await, Code::InvalidArgument, &["snapshot_ids"]);
    delete_group(&a, &made.group_snapshot_id, &[]).await.unwrap();
    gone(&a, volumes).await;
}

async fn a_member_goes_with_its_group(plugin: &Plugin) {
    let a = plugin.a();
    let volumes = written(plugin, 2).await;
    let made = group(&a, "group", &[&volumes[0].volume_id, &volumes[1].volume_id]).await.unwrap();
    let alone = a.snapshot("alone", &volumes[0].volume_id).await.unwrap();
    let (id, members) = (made.group_snapshot_id.clone(), members(&made));
    for member in &members {
        refused(a.delete_snapshot(member).await, Code::InvalidArgument, &[&id]);
    }
    for wrong in [&members[..1], &[members[0].clone(), alone.snapshot_id.clone()]] {
        refused(delete_group(&a, &id, wrong).await, Code::InvalidArgument, &["snapshot_ids"]);
    }
    assert_eq!(get_group(&a, &id, &members).await.unwrap(), made, "a refused deletion deleted something");
    for _ in 0..3 {
        delete_group(&a, &id, &members).await.unwrap();
    }
    refused(get_group(&a, &id, &[]).await, Code::NotFound, &[&id]);
    let listed = a.controller().list_snapshots(csi::ListSnapshotsRequest::default()).await.unwrap().into_inner().entries;
    assert_eq!(listed.into_iter().map(|entry| entry.snapshot.unwrap()).collect::<Vec<_>>(), std::slice::from_ref(&alone));
    a.delete_snapshot(&alone.snapshot_id).await.unwrap();
    gone(&a, volumes).await;
}

async fn a_group_that_cannot_be_whole_is_refused(plugin: &Plugin) {
    let a = plugin.a();
    let volumes = written(plugin, 1).await;
    let unknown = "local:00000000000000000000000000000000-00000000";
    refused(group(&a, "group", &[]).await, Code::InvalidArgument, &["source_volume_ids"]);
    refused(group(&a, "", &[&volumes[0].volume_id]).await, Code::InvalidArgument, &["name"]);
    refused(group(&a, "group", &[&volumes[0].volume_id, unknown]).await, Code::NotFound, &[unknown]);
    assert!(a.controller().list_snapshots(csi::ListSnapshotsRequest::default()).await.unwrap().into_inner().entries.is_empty());
    gone(&a, volumes).await;
}

/// A writer that writes to one volume and, when that is flushed, to the other: in no cut may the second be ahead of the first, or
/// the first by more than one.
async fn mounted_volumes_are_cut_at_one_moment(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volumes = [a.create("first", plugin.small(), &usage).await, a.create("second", plugin.small(), &usage).await];
    let (first, second) = (a.up(&volumes[0], &usage).await, a.up(&volumes[1], &usage).await);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (count, mut counted) = tokio::sync::watch::channel(0);
    let (mut journals, mut made) = ((Journal::new(&first), Journal::new(&second)), Vec::new());
    let writer = spawn_blocking(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            journals.0.append();
            count.send_replace(journals.1.append());
        }
    });
    for number in inside::some(0..4) {
        let at_least = *counted.wait_for(|count| *count >= 5 * (number + 1)).await.unwrap();
        let ids = [volumes[0].volume_id.as_str(), volumes[1].volume_id.as_str()];
        made.push((at_least, group(&a, &format!("group-{number}"), &ids).await.unwrap()));
    }
    stop.send(()).unwrap();
    writer.await.unwrap();
    for (at_least, group) in made {
        let mut found = Vec::new();
        for volume in &volumes {
            let snapshot = group.snapshots.iter().find(|snapshot| snapshot.source_volume_id == volume.volume_id).unwrap();
            let restored =
                a.try_create(restore_request("restored", plugin.small(), &usage, &snapshot.snapshot_id)).await.unwrap();
            found.push(Journal::count(&a.up(&restored, &usage).await));
            a.down(&restored).await;
            a.delete(&restored.volume_id).await.unwrap();
        }
        assert!(
            found[1] >= at_least && (found[1]..=found[1] + 1).contains(&found[0]),
            "{found:?} lines, {at_least} were flushed"
        );
        delete_group(&a, &group.group_snapshot_id, &members(&group)).await.unwrap();
    }
    for volume in volumes {
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

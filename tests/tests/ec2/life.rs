//! What the client makes of states that take their time, pages, and refusals.

use std::time::{Duration, Instant};

use hawser_ebs::Class;
use hawser_ebs::instance::InstanceState;
use hawser_ebs::snapshot::SnapshotState;
use hawser_ebs::volume::{AttachmentState, Change, ModificationState, NewVolume, VolumeState};
use hawser_tests::ec2::{Ec2, Ec2Settings, ZONES};

use crate::ready::{NAME, account, client, new, soon};

const STEP: Duration = Duration::from_millis(300);

fn slow() -> Ec2Settings {
    Ec2Settings { create: STEP, attach: STEP, detach: STEP, modify: STEP, snapshot: STEP, ..Ec2Settings::default() }
}

#[tokio::test]
async fn a_volume_lives_through_all_its_states() {
    let ec2 = Ec2::start(slow()).await;
    let (account, instance) = (account(&ec2), ec2.world().instance(ZONES[0]));
    let client = &account.ec2;
    let volume = client.create_volume(&new("a"), soon()).await.unwrap();
    assert_eq!((volume.state, volume.size, volume.zone.as_str()), (VolumeState::Creating, 1, ZONES[0]));
    let id = volume.id.as_str();
    let available =
        account.watch.until(id, soon(), |volume| volume.filter(|v| v.state == VolumeState::Available).cloned()).await.unwrap();
    assert_eq!((available.iops, available.throughput, available.tags[NAME].as_str()), (Some(3000), Some(125), "a"));

    assert_eq!(client.attach_volume(id, &instance, "/dev/xvdba", soon()).await.unwrap().state, AttachmentState::Attaching);
    assert_eq!(client.delete_volume(id, soon()).await.unwrap_err().code(), "VolumeInUse");
    let attached = |state| {
        move |volume: Option<&hawser_ebs::volume::Volume>| {
            let found = volume?.attachments.first().map(|attachment| attachment.state);
            (found == state).then_some(())
        }
    };
    account.watch.until(id, soon(), attached(Some(AttachmentState::Attached))).await.unwrap();
    let seen = account.instances.get(&instance, soon()).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.zone.as_str()), (InstanceState::Running, ZONES[0]));
    assert!(seen.taken.iter().any(|taken| taken.device == "/dev/xvdba" && taken.volume == id), "{:?}", seen.taken);

    let change = Change { size: Some(3), iops: Some(4000), ..Change::default() };
    assert_eq!(client.modify_volume(id, &change, soon()).await.unwrap().state, ModificationState::Modifying);
    assert_eq!(client.modify_volume(id, &change, soon()).await.unwrap_err().class(), Class::State);
    let modified = |volume: Option<&hawser_ebs::volume::Volume>| volume.filter(|v| v.size == 3).map(|v| v.iops);
    assert_eq!(account.watch.until(id, soon(), modified).await.unwrap(), Some(4000));
    assert_eq!(account.modifications.get(id, soon()).await.unwrap().unwrap().target_size, Some(3));

    let cut = client.create_snapshot(id, None, &new("s").tags, soon()).await.unwrap();
    assert_eq!((cut.state, cut.size, cut.started.is_some()), (SnapshotState::Pending, 3, true));
    let from = NewVolume { snapshot: Some(cut.id.clone()), ..new("b") };
    assert_eq!(client.create_volume(&from, soon()).await.unwrap_err().class(), Class::State);
    tokio::time::sleep(STEP).await;
    assert_eq!(account.snapshots_by_tag.get("s", soon()).await.unwrap().unwrap()[0].state, SnapshotState::Completed);
    let small = client.create_volume(&from, soon()).await.unwrap_err();
    assert_eq!((small.class(), small.code()), (Class::Invalid, "InvalidParameterValue"));
    let copy = client.create_volume(&NewVolume { size: 4, client_token: "c".to_owned(), ..from }, soon()).await.unwrap();
    assert_eq!(copy.snapshot.as_deref(), Some(cut.id.as_str()));
    client.delete_snapshot(&cut.id, soon()).await.unwrap();
    assert!(account.snapshots.get(&cut.id, soon()).await.unwrap().is_none());

    assert_eq!(client.detach_volume(id, &instance, false, soon()).await.unwrap().state, AttachmentState::Detaching);
    account.watch.until(id, soon(), attached(None)).await.unwrap();
    assert_eq!(client.detach_volume(id, &instance, false, soon()).await.unwrap_err().code(), "IncorrectState");
    client.delete_volume(id, soon()).await.unwrap();
    assert_eq!(client.delete_volume(id, soon()).await.unwrap_err().class(), Class::NotFound);
    assert!(account.volumes.get(id, soon()).await.unwrap().is_none());
    assert!(account.health.get(&copy.id, soon()).await.unwrap().unwrap().trouble().is_none());
    client.may_describe_zones(soon()).await.unwrap();
    let zones = client.describe_zones(soon()).await.unwrap();
    assert_eq!(zones.iter().map(|zone| zone.zone_name.as_str()).collect::<Vec<_>>(), ZONES);
}

#[tokio::test]
async fn what_one_instance_has_another_is_refused() {
    let ec2 = Ec2::start(Ec2Settings { attachments: 1, ..Ec2Settings::default() }).await;
    let client = client(&ec2);
    let a = ec2.world().instance(ZONES[0]);
    let b = ec2.world().instance(ZONES[0]);
    let far = ec2.world().instance(ZONES[1]);
    let first = client.create_volume(&new("a"), soon()).await.unwrap().id;
    let second = client.create_volume(&new("b"), soon()).await.unwrap().id;
    client.attach_volume(&first, &a, "/dev/xvdba", soon()).await.unwrap();
    for (volume, instance, device, code, class) in [
        (&first, &b, "/dev/xvdba", "VolumeInUse", Class::State),
        (&first, &a, "/dev/xvdbb", "VolumeInUse", Class::State),
        (&second, &a, "/dev/xvdba", "InvalidParameterValue", Class::Invalid),
        (&second, &a, "/dev/xvdbb", "AttachmentLimitExceeded", Class::Quota),
        (&second, &far, "/dev/xvdba", "InvalidVolume.ZoneMismatch", Class::State),
    ] {
        let refusal = client.attach_volume(volume, instance, device, soon()).await.unwrap_err();
        assert_eq!((refusal.code(), refusal.class()), (code, class), "{volume} {instance} {device}");
    }
    assert_eq!(client.detach_volume(&first, &b, false, soon()).await.unwrap_err().code(), "InvalidAttachment.NotFound");
    ec2.world().terminate(&a);
    client.attach_volume(&first, &b, "/dev/xvdba", soon()).await.unwrap();
}

#[tokio::test]
async fn a_token_is_one_volume_for_ever() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let client = client(&ec2);
    let first = client.create_volume(&new("a"), soon()).await.unwrap();
    assert_eq!(client.create_volume(&new("a"), soon()).await.unwrap().id, first.id);
    let other = NewVolume { size: 2, ..new("a") };
    assert_eq!(client.create_volume(&other, soon()).await.unwrap_err().class(), Class::TokenMismatch);
    client.delete_volume(&first.id, soon()).await.unwrap();
    assert_eq!(client.create_volume(&new("a"), soon()).await.unwrap().id, first.id, "EC2 says so, though it has gone");
    assert!(ec2.world().volumes.is_empty());
}

/// A thousand pages would be asked for were they not followed to the end.
#[tokio::test]
async fn a_listing_has_each_volume_once_whatever_the_size_of_a_page() {
    let ec2 = Ec2::start(Ec2Settings { page: 7, ..Ec2Settings::default() }).await;
    let account = account(&ec2);
    let mut made = Vec::new();
    for number in 0..30 {
        made.push(account.ec2.create_volume(&new(&format!("v{number}")), soon()).await.unwrap().id);
    }
    let found = account.volumes.get_all(made.iter().cloned(), soon()).await.unwrap();
    assert!(found.len() == 30 && made.iter().all(|id| found.contains_key(id)));
    let (page, next) = account.ec2.list_volumes("tag-key", &[NAME.to_owned()], 5, None, soon()).await.unwrap();
    let (then, _) = account.ec2.list_volumes("tag-key", &[NAME.to_owned()], 5, next.as_deref(), soon()).await.unwrap();
    assert_eq!((page.len(), then.len()), (5, 5));
    assert!(page.iter().all(|volume| !then.iter().any(|other| other.id == volume.id)));
}

#[tokio::test]
async fn a_name_with_the_signs_of_a_pattern_finds_only_itself() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let account = account(&ec2);
    for name in ["a*", "ab", "a?", "a\\b"] {
        account.ec2.create_volume(&new(name), soon()).await.unwrap();
    }
    for name in ["a*", "ab", "a?", "a\\b"] {
        assert_eq!(account.volumes_by_tag.get(name, soon()).await.unwrap().unwrap().len(), 1, "{name}");
    }
    assert!(account.volumes_by_tag.get("*", soon()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_hundred_volumes_are_waited_for_with_few_questions() {
    let ec2 =
        Ec2::start(Ec2Settings { create: Duration::from_secs(2), listed: Duration::from_secs(1), ..Ec2Settings::default() })
            .await;
    let account = account(&ec2);
    let began = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let account = account.clone();
            tokio::spawn(async move {
                let volume = account.ec2.create_volume(&new(&format!("v{number}")), soon()).await.unwrap();
                let made = Instant::now();
                let ready = |volume: Option<&hawser_ebs::volume::Volume>| (volume?.state == VolumeState::Available).then_some(());
                account.watch.until(&volume.id, soon(), ready).await.unwrap();
                made.elapsed()
            })
        })
        .collect();
    let mut longest = Duration::ZERO;
    for task in tasks {
        longest = longest.max(task.await.unwrap());
    }
    let asked = ec2.asked();
    println!("100 volumes: {:?} in all, at most {longest:?} for one that takes 2 s; {asked:?}", began.elapsed());
    assert_eq!(asked["CreateVolume"], 100);
    // Fifty creations go at once and five a second after that; a look every 0.4 s is some thirty.
    assert!(asked["DescribeVolumes"] <= 60, "{asked:?}");
}

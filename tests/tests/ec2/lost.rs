//! Answers that get lost, one at a time: what was asked for is done, and done once.

use std::time::Duration;

use hawser_proto::csi;
use hawser_tests::client::{clone_request, create_request, exactly, map};
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, Trick, ZONES};
use hawser_tests::usage::Usage;

const GIB: i64 = 1024 * hawser_tests::MIB;

const TRICKS: [Trick; 5] = [Trick::LoseAnswer, Trick::FailAfter, Trick::LoseRequest, Trick::Fail, Trick::Throttle];

const QUICK: &str = "    listed-within-seconds: 1\n";

fn slow() -> Ec2Settings {
    let step = Duration::from_millis(100);
    Ec2Settings {
        create: step,
        attach: step,
        detach: step,
        modify: step,
        listed: Duration::from_millis(700),
        modify_again: Duration::from_secs(3600),
        ..Ec2Settings::default()
    }
}

fn request(name: &str) -> csi::CreateVolumeRequest {
    let place = csi::Topology { segments: map([("csi.hawser.dev/ebs", ZONES[0])]) };
    csi::CreateVolumeRequest {
        accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![place], preferred: vec![] }),
        ..create_request(name, GIB, &Usage::mount())
    }
}

#[tokio::test]
async fn each_step_of_a_life_is_done_once_whichever_answer_is_lost() {
    let place = tempfile::tempdir().unwrap();
    for trick in TRICKS {
        let ec2 = Ec2::start(slow()).await;
        let instance = ec2.world().instance(ZONES[0]);
        let plugin = Controller::start(&ec2, place.path(), &format!("{trick:?}"), QUICK).await;
        let client = plugin.client(&instance);
        for action in
            ["CreateVolume", "AttachVolume", "ModifyVolume", "CreateSnapshot", "CopyVolumes", "DetachVolume", "DeleteVolume"]
        {
            ec2.trick(action, trick);
        }
        let volume = client.try_create(request("data")).await.unwrap();
        client.attach(&volume, &Usage::mount()).await.unwrap();
        client.expand(&volume.volume_id, exactly(2 * GIB)).await.unwrap();
        let cut = client.snapshot("cut", &volume.volume_id).await.unwrap();
        assert_eq!(client.snapshot("cut", &volume.volume_id).await.unwrap().snapshot_id, cut.snapshot_id);
        client.try_create(clone_request("copy", 2 * GIB, &Usage::mount(), &volume.volume_id)).await.unwrap();
        client.detach(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        let world = ec2.world();
        assert_eq!((world.made.len(), world.granted.len(), world.snapshots.len()), (2, 1, 1), "{trick:?}");
        assert_eq!(world.volumes.len(), 1, "{trick:?}");
    }
}

/// EC2 has no token for snapshots; both controllers look again after they have cut one.
#[tokio::test]
async fn two_controllers_that_are_asked_for_one_snapshot_have_one() {
    let ec2 = Ec2::start(slow()).await;
    let place = tempfile::tempdir().unwrap();
    let one = Controller::start(&ec2, place.path(), "one", QUICK).await;
    let two = Controller::start(&ec2, place.path(), "two", QUICK).await;
    let (one, two) = (one.client("i-0123456789abcdef0"), two.client("i-0123456789abcdef0"));
    let volume = one.try_create(request("data")).await.unwrap();
    for number in 0..5 {
        let name = format!("cut{number}");
        let (first, second) = tokio::join!(one.snapshot(&name, &volume.volume_id), two.snapshot(&name, &volume.volume_id));
        assert_eq!(first.unwrap().snapshot_id, second.unwrap().snapshot_id);
    }
    assert_eq!(ec2.world().snapshots.len(), 5);
    assert!(ec2.asked()["CreateSnapshot"] > 5, "they were not asked at once: {:?}", ec2.asked());
}

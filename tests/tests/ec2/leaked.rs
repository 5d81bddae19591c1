//! `hawser volume leaked`: what nobody claims, and nothing else.

use std::path::Path;
use std::process::Command;

use hawser_proto::csi;
use hawser_tests::binary::hawser;
use hawser_tests::client::{create_request, map};
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, ZONES};
use hawser_tests::usage::Usage;

/// What the command says, and whether it succeeded.
async fn leaked(place: &Path, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(hawser());
    command.args(["volume", "leaked", "--config"]).arg(place.join("one.yaml")).args(arguments);
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret").env_remove("AWS_PROFILE");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

#[tokio::test]
async fn only_what_nobody_claims_is_listed_and_only_that_is_deleted() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let place = tempfile::tempdir().unwrap();
    let plugin = Controller::start(&ec2, place.path(), "one", "").await;
    let instance = ec2.world().instance(ZONES[0]);
    let client = plugin.client(&instance);
    let mut made = Vec::new();
    for name in ["claimed", "lost", "used"] {
        let zone = csi::Topology { segments: map([("csi.hawser.dev/ebs", ZONES[0])]) };
        let request = csi::CreateVolumeRequest {
            accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![zone], preferred: vec![] }),
            ..create_request(name, 1024 * hawser_tests::MIB, &Usage::mount())
        };
        made.push(client.try_create(request).await.unwrap());
    }
    client.attach(&made[2], &Usage::mount()).await.unwrap();
    let ids: Vec<String> = made.iter().map(|volume| volume.volume_id.trim_start_matches("ebs:").to_owned()).collect();
    let list = place.path().join("claimed");
    std::fs::write(&list, format!("{}\nlocal:0123\n", made[0].volume_id)).unwrap();
    let list = list.to_str().unwrap();

    assert_eq!(leaked(place.path(), &["--claimed", list]).await, (String::new(), true), "all are young");
    let (said, _) = leaked(place.path(), &["--claimed", list, "--older-than", "0"]).await;
    assert!(said.contains(&format!("volume {} 1GiB \"lost\"\n", ids[1])), "{said}");
    assert!(said.contains(&format!("attachment of {} to {instance} \"used\"\n", ids[2])), "{said}");
    assert_eq!((said.lines().count(), said.contains(&ids[0])), (2, false), "{said}");
    assert!(!leaked(place.path(), &["--delete"]).await.1, "without a list nothing is deleted");
    let bad = place.path().join("bad");
    std::fs::write(&bad, "pvc-1\n").unwrap();
    let (said, done) = leaked(place.path(), &["--claimed", bad.to_str().unwrap(), "--older-than", "0", "--delete"]).await;
    assert!(!done && said.contains("pvc-1"), "{said}");
    assert_eq!(ec2.world().volumes.len(), 3);

    let (said, done) = leaked(place.path(), &["--claimed", list, "--older-than", "0", "--delete"]).await;
    assert!(done && said.contains(&format!("{} 1GiB \"lost\": deleted", ids[1])), "{said}");
    let world = ec2.world();
    let left: Vec<&String> = world.volumes.keys().collect();
    assert_eq!(left, [&ids[0], &ids[2]]);
}

//! `hawser volume adopt`: a volume of REX-Ray's is found under its name, and no other.

use std::path::Path;
use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::client::create_request;
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, ZONES};
use hawser_tests::usage::Usage;

/// What the command says, and whether it succeeded.
async fn adopt(place: &Path, volume: &str, name: &str) -> (String, bool) {
    let mut command = Command::new(hawser());
    command.args(["volume", "adopt", volume, name, "--config"]).arg(place.join("one.yaml"));
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret").env_remove("AWS_PROFILE");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

#[tokio::test]
async fn what_is_adopted_is_the_volume_of_the_name_and_stays_as_it_is() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let place = tempfile::tempdir().unwrap();
    let plugin = Controller::start(&ec2, place.path(), "one", "").await;
    let instance = ec2.world().instance(ZONES[0]);
    let client = plugin.client(&instance);
    let gib = 1024 * hawser_tests::MIB;
    // As something else made it: with a size, and without any tag of ours.
    let made = client.try_create(create_request("of-rexray", 2 * gib, &Usage::mount())).await.unwrap().volume_id;
    let id = made.trim_start_matches("ebs:").to_owned();
    ec2.world().volumes.get_mut(&id).unwrap().tags.clear();
    let other = client.try_create(create_request("taken", gib, &Usage::mount())).await.unwrap().volume_id;
    let other = other.trim_start_matches("ebs:");

    for (volume, name, words) in [
        ("vol-0000000000000dead", "pgdata", "there is no such volume"),
        ("pgdata", "pgdata", "no id of a volume"),
        (id.as_str(), "taken", other),
        (other, "pgdata", "taken"),
    ] {
        let (said, done) = adopt(place.path(), volume, name).await;
        assert!(!done && said.contains(words), "{volume} {name}: {said}");
    }
    assert!(ec2.world().volumes[&id].tags.is_empty(), "a refusal writes nothing");

    assert_eq!(adopt(place.path(), &id, "pgdata").await, (format!("{made} \"pgdata\": adopted\n"), true));
    assert_eq!(adopt(place.path(), &made, "pgdata").await, (format!("{made} \"pgdata\": was adopted before\n"), true));
    let found = client.try_create(create_request("pgdata", 2 * gib, &Usage::mount())).await.unwrap();
    assert_eq!((found.volume_id, found.volume_context["name"].as_str()), (made, "pgdata"));
    let refused = client.try_create(create_request("pgdata", 3 * gib, &Usage::mount())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::AlreadyExists, "{refused}");
    assert_eq!(ec2.world().volumes.len(), 2);
}

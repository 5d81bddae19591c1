//! What users get to see when something is wrong with the account, the key, the zone or the line.

use std::net::TcpListener;

use hawser_proto::csi;
use hawser_tests::client::{create_request, map};
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, ZONES};
use hawser_tests::refusal::refused;
use hawser_tests::usage::Usage;
use tonic::Code;

fn request(name: &str, zone: &str, parameters: &[(&str, &str)]) -> csi::CreateVolumeRequest {
    let place = csi::Topology { segments: map([("topology.kubernetes.io/zone", zone)]) };
    csi::CreateVolumeRequest {
        parameters: parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![place], preferred: vec![] }),
        ..create_request(name, 4096 * hawser_tests::MIB, &Usage::mount())
    }
}

#[tokio::test]
async fn each_mistake_has_its_code_and_says_how_to_mend_it() {
    let place = tempfile::tempdir().unwrap();
    let ec2 =
        Ec2::start(Ec2Settings { volumes: 1, create: std::time::Duration::from_millis(300), ..Ec2Settings::default() }).await;
    let quick = "    listed-within-seconds: 1\n";
    let plugin = Controller::start(&ec2, place.path(), "one", quick).await;
    let client = plugin.client("i-0123456789abcdef0");
    let mut table = Vec::new();
    let mut note = |what: &str, code: Code, message: String| table.push(format!("| {what} | {code:?} | {message} |"));

    ec2.world().denied.insert("CreateVolume".to_owned());
    let denied = client.try_create(request("a", ZONES[0], &[])).await;
    note("not allowed", Code::PermissionDenied, refused(denied, Code::PermissionDenied, &["UnauthorizedOperation", "policy"]));
    ec2.world().denied.clear();
    let unknown = client.try_create(request("a", ZONES[0], &[("kmsKeyId", "unknown-key")])).await;
    note("unknown key", Code::InvalidArgument, refused(unknown, Code::InvalidArgument, &["InvalidKmsKey.NotFound"]));
    let denied = client.try_create(request("a", ZONES[0], &[("kmsKeyId", "denied-key")])).await;
    note(
        "key that cannot be used",
        Code::InvalidArgument,
        refused(denied, Code::InvalidArgument, &["denied-key", "kms:CreateGrant"]),
    );
    let zone = client.try_create(request("b", "us-east-1z", &[])).await;
    let words = ["accessibility_requirements", "us-east-1z", "does not exist"];
    note("unknown zone", Code::InvalidArgument, refused(zone, Code::InvalidArgument, &words));
    // Whoever names it, alone or against what a node could reach.
    let bad = [("availabilityZone", "us-east-1z")];
    let anywhere = csi::CreateVolumeRequest { accessibility_requirements: None, ..request("b", ZONES[0], &bad) };
    for request in [anywhere, request("b", ZONES[0], &bad)] {
        let words = ["\"availabilityZone\"", "us-east-1z", "does not exist"];
        refused(client.try_create(request).await, Code::InvalidArgument, &words);
    }
    let lost = Controller::start(&ec2, place.path(), "lost", &format!("{quick}    zone: us-east-1z\n")).await;
    let anywhere = csi::CreateVolumeRequest { accessibility_requirements: None, ..request("b", ZONES[0], &[]) };
    let nowhere = lost.client("i-0123456789abcdef0").try_create(anywhere).await;
    refused(nowhere, Code::InvalidArgument, &["\"zone\" in the configuration", "us-east-1z", "does not exist"]);
    ec2.world().full.insert(ZONES[1].to_owned());
    let full = client.try_create(request("c", ZONES[1], &[])).await;
    note("no room in the zone", Code::ResourceExhausted, refused(full, Code::ResourceExhausted, &["InsufficientVolumeCapacity"]));
    client.try_create(request("d", ZONES[0], &[])).await.unwrap();
    let quota = client.try_create(request("e", ZONES[0], &[])).await;
    note(
        "limit of the account",
        Code::ResourceExhausted,
        refused(quota, Code::ResourceExhausted, &["VolumeLimitExceeded", "limit"]),
    );
    // At the limit, what is there is found all the same.
    client.try_create(request("d", ZONES[0], &[])).await.unwrap();

    let without = Controller::start_with(&ec2, place.path(), "without", quick, &[]).await;
    let none = without.client("i-0123456789abcdef0").try_create(request("f", ZONES[0], &[])).await;
    note("no credentials", Code::Unauthenticated, refused(none, Code::Unauthenticated, &["credentials"]));
    let far = Controller::start(&ec2, place.path(), "far", "    region: eu-west-1\n").await;
    let wrong = far.client("i-0123456789abcdef0").try_create(request("f", ZONES[0], &[])).await;
    note("wrong region", Code::Unauthenticated, refused(wrong, Code::Unauthenticated, &["AuthFailure"]));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = Controller::start(&ec2, place.path(), "dead", &format!("    endpoint: http://{closed}\n")).await;
    let silent = dead.client("i-0123456789abcdef0").try_create(request("f", ZONES[0], &[])).await;
    note("no EC2", Code::Unavailable, refused(silent, Code::Unavailable, &["127.0.0.1"]));
    println!("{}", table.join("\n"));
    assert_eq!((table.len(), ec2.world().volumes.len()), (9, 1));
}

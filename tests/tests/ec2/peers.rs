//! boto3 and moto: that the simulator speaks EC2, and that the client signs as AWS' own does.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_tests::binary::{tool, workspace_root};
use hawser_tests::client::{create_request, map};
use hawser_tests::daemon::Daemon;
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, ZONES};
use hawser_tests::usage::Usage;
use serde_json::{Value, json};

use crate::ready::{client, new, soon};

fn program(name: &str) -> PathBuf {
    tool("ec2").join("venv/bin").join(name)
}

fn script(name: &str) -> Command {
    let mut command = Command::new(program("python"));
    command.arg(workspace_root().join("tests/ec2").join(name)).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Each step's line.
async fn life(endpoint: String, instance: Option<String>) -> Vec<Value> {
    let run = move || script("life.py").arg(endpoint).args(instance).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// moto, which ends when it is dropped.
async fn moto(place: &std::path::Path) -> (Daemon, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program("moto_server"));
    // Its list of images takes ten seconds to read, and nobody asks for images here.
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false");
    let mut moto = Daemon::spawn(command, &place.join("moto.log"));
    let end = Instant::now() + Duration::from_secs(60);
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(!moto.has_ended() && Instant::now() < end, "{}", moto.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (moto, format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn boto3_sees_the_simulator_as_it_sees_moto() {
    let place = tempfile::tempdir().unwrap();
    let (moto, endpoint) = moto(place.path()).await;
    let theirs = life(endpoint, None).await;
    drop(moto);
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let instance = ec2.world().instance(ZONES[0]);
    let ours = life(ec2.address().to_owned(), Some(instance)).await;
    assert_eq!(ours.len(), theirs.len());
    let same = |(ours, theirs): &(&Value, &Value)| ["step", "code", "facts"].iter().all(|part| ours[part] == theirs[part]);
    let other: Vec<_> = ours.iter().zip(&theirs).filter(|pair| !same(pair)).collect();
    assert!(other.is_empty(), "{other:#?}");
    assert!(ours.len() >= 28 && ours.iter().filter(|step| step["code"].is_null()).count() >= 18, "{}", ours.len());
}

#[tokio::test]
async fn a_signature_is_what_botocore_makes_of_the_same_request() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    for name in ["plain", "ü & <b> = 100 %"] {
        let mut new = new(name);
        new.client_token = "t".repeat(name.len());
        client(&ec2).create_volume(&new, soon()).await.unwrap();
        let heard = ec2.last();
        let mut child = script("signature.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(json!({"headers": heard.headers, "body": heard.body}).to_string().as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        let ours = heard.headers["authorization"].split("Signature=").nth(1).unwrap();
        assert_eq!(theirs.trim(), ours, "{:?}", heard.headers);
    }
}

/// What the backend makes boto3 sees as the backend says, and what boto3 does the backend sees.
#[tokio::test]
async fn boto3_and_the_backend_see_the_same_volume() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let instance = ec2.world().instance(ZONES[0]);
    let place = tempfile::tempdir().unwrap();
    let plugin = Controller::start(&ec2, place.path(), "one", "").await;
    let client = plugin.client(&instance);
    let zone = csi::Topology { segments: map([("topology.kubernetes.io/zone", ZONES[0])]) };
    let request = csi::CreateVolumeRequest {
        parameters: map([("type", "gp3"), ("tagSpecification_1", "team=a&b <c>")]),
        accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![zone], preferred: vec![] }),
        ..create_request("data & more", 4096 * hawser_tests::MIB, &Usage::mount())
    };
    let volume = client.try_create(request).await.unwrap();
    let context = client.attach(&volume, &Usage::mount()).await.unwrap();
    let (endpoint, id) = (ec2.address().to_owned(), context["volume-id"].clone());
    let look = move || script("look.py").args([endpoint.as_str(), id.as_str(), "detach"]).output().unwrap();
    let output = tokio::task::spawn_blocking(look).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&seen["size"], &seen["type"], &seen["zone"], &seen["state"]),
        (&json!(4), &json!("gp3"), &json!(ZONES[0]), &json!("in-use"))
    );
    assert_eq!((&seen["tags"]["team"], &seen["tags"]["CSIVolumeName"]), (&json!("a&b <c>"), &json!("data & more")));
    assert_eq!(seen["attachments"], json!([[instance, context["device"], "attached"]]));
    assert!(client.holders(&volume.volume_id).await.is_empty());
}

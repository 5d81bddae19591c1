//! A node that asks the instance metadata who it is: what it says when they answer, and what the operator is told when they do not.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use hawser_proto::csi;
use hawser_tests::binary::hawser;
use hawser_tests::client::map;
use hawser_tests::ec2::imds::{Face, Imds, Wrong};
use hawser_tests::notice::notice;
use hawser_tests::output::Output;
use hawser_tests::process::Process;
use hawser_tests::{Client, Workspace};

use crate::world::{INSTANCE, ZONE};

fn config(address: &str, more: &str) -> String {
    format!("backends:\n  ebs:\n    type: ebs\n    node:\n      metadata: {address}\n{more}")
}

fn service() -> Imds {
    let face = Face { instance_type: "m7i.large".to_owned(), interfaces: 4, volumes: 2, ..Face::new(INSTANCE, ZONE) };
    Imds::start(TcpListener::bind("127.0.0.1:0").unwrap(), face)
}

fn command(workspace: &Workspace, config: &str) -> Command {
    let file = workspace.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(hawser());
    command.args(["serve", "node", "--config"]).arg(file);
    command.arg("--endpoint").arg(format!("unix://{}", workspace.path().join("csi.sock").display()));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_what_its_metadata_say() {
    let (service, workspace) = (service(), Workspace::new());
    let command = command(&workspace, &config(service.address(), ""));
    let socket = workspace.path().join("csi.sock");
    let mut process = Process::spawn(command, &socket, &workspace.path().join("log"));
    process.wait_until_it_answers().await;
    let client = Client::new(&socket, INSTANCE, workspace.path());
    let info = client.node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    // 32 places for volumes alone, of which the root volume and two others have three.
    assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), (INSTANCE, 29));
    let segments = info.accessible_topology.unwrap().segments;
    assert_eq!(segments, map([("csi.hawser.dev/ebs", ZONE), ("topology.ebs.csi.aws.com/zone", ZONE)]));
    assert!(process.terminate().success());
}

/// How each failure ends, and what it is called: the table of the documentation.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_ask_says_what_to_set() {
    let garbage = || Wrong::Document(b"<html><title>Log in</title></html>".to_vec());
    for (wrong, said) in [
        (Wrong::Token(401), "it refuses"),
        (Wrong::Items(401), "it does not accept the token that it gave"),
        (Wrong::Token(403), "it is switched off for this instance, or forbidden to this process"),
        (Wrong::Token(404), "what answers there is not the metadata service of an instance"),
        (Wrong::Items(404), "it has no such item"),
        (Wrong::Token(500), "it has a fault"),
        (Wrong::Slow(Duration::from_secs(30)), "no answer to PUT /latest/api/token within 2 s"),
        (garbage(), "which is none"),
    ] {
        let (service, workspace) = (service(), Workspace::new());
        service.go_wrong(Some(wrong.clone()));
        let output = Output::of(command(&workspace, &config(service.address(), ""))).await;
        let status = output.status.code();
        let complaint = output.badly();
        notice(&format!("{wrong:?}: status {status:?}: {complaint}"));
        for word in [said, "backend ebs", service.address(), "driver.node-id", "node.zone", "hop-limit 2"] {
            assert!(complaint.contains(word), "{wrong:?}: no {word:?} in {complaint}");
        }
        assert_eq!(status, Some(1));
    }
    // Nobody is there.
    let workspace = Workspace::new();
    let complaint = Output::of(command(&workspace, &config("http://127.0.0.1:1", ""))).await.badly();
    notice(&format!("absent: {complaint}"));
    assert!(complaint.contains("driver.node-id") && complaint.contains("127.0.0.1:1"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_not_asked_for_and_what_is_wrong_is_refused() {
    let workspace = Workspace::new();
    let text = format!("{}driver:\n  node-id: {INSTANCE}\n", config("http://127.0.0.1:1", "      zone: us-east-1b\n"));
    let socket = workspace.path().join("csi.sock");
    let mut process = Process::spawn(command(&workspace, &text), &socket, &workspace.path().join("log"));
    process.wait_until_it_answers().await;
    assert!(process.terminate().success());
    let mut other = command(&workspace, &config("http://127.0.0.1:1", ""));
    other.args(["--node-id", "agent-7"]);
    let complaint = Output::of(other).await.badly();
    assert!(complaint.contains("must be the instance's id"), "{complaint}");
    let service = service();
    let mut other = command(&workspace, &config(service.address(), ""));
    other.args(["--node-id", "i-00000000000000001"]);
    let complaint = Output::of(other).await.badly();
    assert!(complaint.contains("the metadata say that this is i-0123456789abcdef0"), "{complaint}");
}

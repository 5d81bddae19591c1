//! The program itself, started as a controller: csi-sanity's controller part against it, and what it tells while the array is away.

use std::collections::BTreeMap;
use std::process::Command;

use hawser_proto::csi;
use hawser_tests::binary::{hawser, tool};
use hawser_tests::client::Client;
use hawser_tests::daemon::Daemon;
use hawser_tests::poll::until;
use hawser_tests::scaleio::{ScaleIo, ScaleIoSettings, USER};
use serde_json::Value;
use tonic::Code;

const GIB: u64 = 1 << 30;

fn config(array: &ScaleIo, listing: &str) -> String {
    format!(
        "driver:\n  list-volumes: {listing}\nbackends:\n  sio:\n    type: scaleio\n    systems:\n      - gateways: {:?}\n        \
         user: {USER}\n        password-file: {}\n        ca-file: {}\n",
        array.addresses(),
        array.password_file().display(),
        array.ca_file().display()
    )
}

fn serve(array: &ScaleIo, mode: &str, config: &str) -> (Daemon, String) {
    let file = array.place().join(format!("{mode}.yaml"));
    std::fs::write(&file, config).unwrap();
    let socket = array.place().join(format!("{mode}.sock"));
    let mut command = Command::new(hawser());
    command.args(["serve", mode, "--node-id", "node-a", "--config"]).arg(file);
    command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
    let mut daemon = Daemon::spawn(command, &array.place().join(format!("{mode}.log")));
    until("the socket", || {
        assert!(!daemon.has_ended(), "{}", daemon.tail());
        socket.exists().then_some(())
    });
    (daemon, format!("unix://{}", socket.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csi_sanity_finds_a_controller_of_both_faces() {
    for version in ["3.6", "4.5"] {
        let array =
            ScaleIo::start(ScaleIoSettings { version: version.to_owned(), gateways: 2, ..ScaleIoSettings::default() }).await;
        array.world().sdc(Some("node-a"));
        let (controller, endpoint) = serve(&array, "controller", &config(&array, "all"));
        // The suite asks a node who it is, and tells it to let go of what was never staged there: so it knows the backend by name.
        let root = array.place().join("local");
        let (_node, node) = serve(&array, "node", &format!("backends:\n  sio:\n    type: local\n    root: {}\n", root.display()));
        let report = array.place().join("report.json");
        let mut sanity = Command::new(tool("csi-sanity"));
        sanity
            .arg(format!("-csi.endpoint={node}"))
            .arg(format!("-csi.controllerendpoint={endpoint}"))
            .arg(format!("-csi.mountdir={}", array.place().join("mounts").display()))
            .arg(format!("-csi.stagingdir={}", array.place().join("stages").display()))
            .arg(format!("-csi.testvolumesize={}", 8 * GIB))
            .arg(format!("-csi.testvolumeexpandsize={}", 16 * GIB))
            .arg(format!("-ginkgo.json-report={}", report.display()))
            .args([
                "-ginkgo.seed=1",
                "-ginkgo.no-color",
                "-ginkgo.focus=Controller|Snapshot|ListVolumes",
                "-ginkgo.skip=Node Service",
            ]);
        let output = tokio::task::spawn_blocking(move || sanity.output().unwrap()).await.unwrap();
        let text = std::fs::read_to_string(&report).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)));
        let report: Value = serde_json::from_str(&text).unwrap();
        let specs: Vec<&Value> =
            report[0]["SpecReports"].as_array().unwrap().iter().filter(|spec| spec["LeafNodeType"] == "It").collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for spec in &specs {
            *counts.entry(spec["State"].as_str().unwrap()).or_default() += 1;
            assert!(
                ["passed", "skipped", "pending"].contains(&spec["State"].as_str().unwrap()),
                "{version}: {} {}\n{}\n{}",
                spec["ContainerHierarchyTexts"],
                spec["LeafNodeText"],
                spec["Failure"]["Message"],
                controller.tail()
            );
        }
        println!("{version}: csi-sanity, the controller's part: {counts:?}");
        assert!(counts["passed"] >= 53, "{counts:?}");
        assert!(array.world().volumes.is_empty(), "it cleans up: {:?}", array.world().volumes);
        assert!(!controller.tail().contains("Pa55"));
    }
}

/// Mesos' own storage provider, which such a driver is for, asks no more once it has been refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_listed_the_last_capacity_is_told_while_the_array_is_away() {
    for (listing, is_told) in [("none", true), ("all", false)] {
        let array = ScaleIo::start(ScaleIoSettings { gateways: 1, ..ScaleIoSettings::default() }).await;
        let (controller, endpoint) = serve(&array, "controller", &config(&array, listing));
        let client = Client::new(endpoint.strip_prefix("unix://").unwrap().as_ref(), "node-a", array.place());
        let ask = || async { client.controller().get_capacity(csi::GetCapacityRequest::default()).await };
        let before = ask().await.unwrap().into_inner();
        assert!(before.available_capacity > 0);
        array.kill(0);
        match ask().await {
            Ok(answer) if is_told => {
                assert_eq!(answer.into_inner(), before);
                assert!(controller.said().contains("answering with the last capacity that was known"), "{}", controller.tail());
            }
            Err(status) if !is_told => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            other => panic!("{listing}: {other:?}"),
        }
    }
}

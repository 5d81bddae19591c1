//! Many operations at once: what they cost beyond the storage, and that none is forgotten.

use std::collections::HashMap;
use std::time::Instant;

use hawser_proto::csi::controller_client::ControllerClient;
use hawser_tests::client::create_request;
use hawser_tests::usage::Usage;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use super::hazards::{BRIDGE, Stage, allocated, operation, uuid};

/// How many operations there are, unless this variable says otherwise.
const OPERATIONS: usize = 100;
const VARIABLE: &str = "HAWSER_TEST_OPERATIONS";

/// The size of each disk, in MiB.
const SIZE: f64 = 16.0;

/// The same volumes made by the driver alone, all at once; how long that takes, in milliseconds.
async fn by_the_driver(stage: &Stage, number: usize) -> u128 {
    let socket = stage.bridges.workspace().path().join(BRIDGE).join("state/csi.sock");
    let channel = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap().connect().await.unwrap();
    let (begun, mut calls) = (Instant::now(), JoinSet::new());
    for number in 0..number {
        let mut client = ControllerClient::new(channel.clone());
        let request = create_request(&format!("before-{number}"), 16 << 20, &Usage::mount().filesystem("ext4"));
        calls.spawn(async move { client.create_volume(request).await.unwrap() });
    }
    calls.join_all().await;
    begun.elapsed().as_millis()
}

/// A figure of the bridge's memory, in KiB.
fn memory(stage: &Stage, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.bridges.process_id(BRIDGE))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_operations_at_once_all_end_and_none_is_forgotten() {
    let count = std::env::var(VARIABLE).map_or(OPERATIONS, |text| text.parse().unwrap());
    let stage = Stage::start_with("100GiB", "1m").await;
    let (_, state) = stage.subscribed().await;
    let (idle, alone) = (memory(&stage, "VmRSS"), by_the_driver(&stage, count).await);
    let space = &state["resources"][0];
    let make = json!({"type": "CREATE_DISK", "create_disk": {"source": allocated(space, SIZE), "target_type": "MOUNT"}});
    let begun = Instant::now();
    for number in 0..count {
        stage.agent.say(&operation(number, &state["resource_version_uuid"], &make));
    }
    let numbers: HashMap<String, usize> = (0..count).map(|number| (uuid(number).to_string(), number)).collect();
    let mut ended = vec![false; count];
    while ended.contains(&false) {
        let update = stage.agent.call("UPDATE_OPERATION_STATUS").await;
        let number = numbers[&update["operation_uuid"].to_string()];
        assert_eq!(update["status"]["state"], "OPERATION_FINISHED", "{update:#}");
        stage.acknowledge(number, &update["status"]);
        ended[number] = true;
    }
    let elapsed = begun.elapsed().as_millis();
    let each = |total: u128| total as f64 / count as f64;
    eprintln!(
        "{count} operations: {:.2} ms each, of which the driver alone takes {:.2} ms; memory {} KiB, {idle} KiB before",
        each(elapsed),
        each(alone),
        memory(&stage, "VmHWM")
    );
    // No acknowledgement was missed: the provider knows none of them any more. What the agent says is taken in order.
    let uuids: Vec<Value> = (0..count).map(uuid).collect();
    stage.agent.say(&json!({"type": "RECONCILE_OPERATIONS", "reconcile_operations": {"operation_uuids": uuids}}));
    for number in 0..count {
        loop {
            let update = stage.agent.call("UPDATE_OPERATION_STATUS").await;
            // Before it heard of its acknowledgement it may have said one once more.
            if update["status"]["state"] != "OPERATION_FINISHED" {
                assert_eq!((&update["operation_uuid"], &update["status"]["state"]), (&uuid(number), &json!("OPERATION_DROPPED")));
                break;
            }
        }
    }
    stage.agent.cut();
    let (_, state) = stage.subscribed().await;
    assert!(state.get("operations").is_none_or(|all| all.as_array().unwrap().is_empty()), "{state:#}");
    let disks: Vec<&Value> =
        state["resources"].as_array().unwrap().iter().filter(|found| found["disk"]["source"]["type"] == "MOUNT").collect();
    assert_eq!((disks.len(), stage.bridges.volumes().len()), (count, 2 * count));
    stage.finish();
}

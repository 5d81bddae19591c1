//! What an agent may do to its provider, and what a provider must not do to its agent: Mesos aborts on most of it.
//!
//! The agent here is not Mesos: none does all of this when it is asked to.

use std::fs;
use std::time::Duration;

use hawser_tests::bridge::Agents;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::mounts_below;
use hawser_tests::mesos::{FakeAgent, Welcome};
use hawser_tests::poll::until;
use hawser_tests::workspace::Workspace;
use serde_json::{Value, json};

/// The one bridge.
pub(super) const BRIDGE: &str = "agent-1";

/// A bridge with an agent that a test plays.
pub(super) struct Stage {
    pub(super) agent: FakeAgent,
    // Dropped in this order: nobody works in a directory that is removed.
    pub(super) bridges: Agents,
    _ground: Footing,
    _workspace: Workspace,
}

impl Stage {
    pub(super) async fn start() -> Self {
        Self::start_with("1GiB", "1s").await
    }

    /// The same with so much space, and a look at everything as often.
    pub(super) async fn start_with(capacity: &str, every: &str) -> Self {
        let (ground, workspace) = (Footing::of(Ground::Xfs), Workspace::new());
        let agent = FakeAgent::start("A-S0", workspace.path()).await;
        let (address, master) = (format!("mesos-agent: {}", agent.url()), format!("mesos-master: {}", agent.url()));
        let keys = [
            address.as_str(),
            &master,
            "grace: 1s",
            &format!("reconcile-every: {every}"),
            "provider:",
            "  format: json",
            "  pools:",
            "    fast:",
        ];
        let mut bridges = Agents::new(ground.path(), &[&keys[..], &[&format!("      capacity: {capacity}")]].concat());
        bridges.start(BRIDGE).await;
        Self { agent, bridges, _ground: ground, _workspace: workspace }
    }

    /// Waits for a subscription and for what the provider says that there is.
    pub(super) async fn subscribed(&self) -> (Value, Value) {
        let info = self.agent.call("SUBSCRIBE").await["resource_provider_info"].take();
        (info, self.agent.call("UPDATE_STATE").await)
    }

    /// Has an operation applied under the version `state`; its status.
    async fn apply(&self, number: usize, state: &Value, info: &Value) -> Value {
        self.agent.say(&operation(number, &state["resource_version_uuid"], info));
        self.status(number).await
    }

    /// The next status of an operation. An agent aborts on one that does not say whose it is.
    async fn status(&self, number: usize) -> Value {
        loop {
            let update = self.agent.call("UPDATE_OPERATION_STATUS").await;
            if update["operation_uuid"] == uuid(number) {
                for status in [&update["status"], &update["latest_status"]] {
                    let provider = status["resource_provider_id"]["value"].as_str();
                    assert!(provider.is_some_and(|id| id.starts_with('P')), "{update:#}");
                }
                return update["status"].clone();
            }
        }
    }

    pub(super) fn acknowledge(&self, number: usize, status: &Value) {
        let which = json!({"status_uuid": status["uuid"], "operation_uuid": uuid(number)});
        self.agent.say(&json!({"type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": which}));
    }

    /// Asks for disks; what the provider answers.
    async fn publish(&self, number: usize, resources: &[&Value]) -> Value {
        let publish = json!({"uuid": uuid(number), "resources": resources});
        self.agent.say(&json!({"type": "PUBLISH_RESOURCES", "publish_resources": publish}));
        let answer = self.agent.call("UPDATE_PUBLISH_RESOURCES_STATUS").await;
        assert_eq!(answer["uuid"], uuid(number));
        answer["status"].clone()
    }

    pub(super) fn finish(self) {
        assert_eq!(self.agent.most_open(), 1, "an agent aborts on a second subscription of one provider");
        self.bridges.finish();
    }
}

/// The 16 bytes of an operation's uuid, in base64.
pub(super) fn uuid(number: usize) -> Value {
    json!({"value": format!("{number:0>21}A==")})
}

pub(super) fn operation(number: usize, version: &Value, info: &Value) -> Value {
    json!({"type": "APPLY_OPERATION", "apply_operation": {
        "framework_id": {"value": "F"}, "info": info, "operation_uuid": uuid(number), "resource_version_uuid": version,
    }})
}

pub(super) fn allocated(resource: &Value, mebibytes: f64) -> Value {
    let mut resource = resource.clone();
    resource["allocation_info"] = json!({"role": "storage"});
    resource["scalar"]["value"] = json!(mebibytes);
    resource
}

/// What an agent would abort on in a state.
fn check(state: &Value, provider: &str) {
    assert_eq!(state["resource_version_uuid"]["value"].as_str().map(str::len), Some(24), "16 bytes in base64: {state:#}");
    for resource in state["resources"].as_array().unwrap() {
        assert_eq!(resource["provider_id"]["value"], provider, "{state:#}");
        assert!(resource.get("allocation_info").is_none(), "{state:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_done_once_and_said_until_it_is_acknowledged() {
    let mut stage = Stage::start().await;
    let (info, state) = stage.subscribed().await;
    assert!(info.get("id").is_none(), "{info}");
    check(&state, "P1");
    let space = &state["resources"][0];
    let make = json!({"type": "CREATE_DISK", "id": {"value": "make"},
        "create_disk": {"source": allocated(space, 64.0), "target_type": "MOUNT"}});

    // Asked for under a version that is no more: not begun.
    let outdated = json!({"resource_version_uuid": uuid(3)});
    let dropped = stage.apply(2, &outdated, &make).await;
    assert_eq!(dropped["state"], "OPERATION_DROPPED");
    assert!(dropped["uuid"]["value"].is_string() && stage.bridges.volumes().is_empty());
    stage.acknowledge(2, &dropped);

    // Twice, as after an agent's restart, and once more: there is one volume.
    stage.agent.say(&operation(1, &state["resource_version_uuid"], &make));
    let made = stage.apply(1, &state, &make).await;
    assert_eq!(made["state"], "OPERATION_FINISHED", "{made:#}");
    let disk = &made["converted_resources"][0];
    assert_eq!((&disk["allocation_info"]["role"], &disk["disk"]["source"]["type"]), (&json!("storage"), &json!("MOUNT")));
    assert!(disk["disk"]["source"]["mount"]["root"].as_str().unwrap().starts_with('/'));

    // Nobody acknowledges it: it is said again after each break, in the same words.
    for kill in [false, true, false] {
        if kill {
            stage.bridges.kill(BRIDGE);
            stage.bridges.start(BRIDGE).await;
        } else {
            stage.agent.cut();
        }
        let (info, state) = stage.subscribed().await;
        assert_eq!((&info["id"]["value"], &info["name"]), (&json!("P1"), &json!("hawser")));
        check(&state, "P1");
        assert_eq!(state["operations"][0]["latest_status"]["state"], "OPERATION_FINISHED", "{state:#}");
        assert_eq!(state["operations"].as_array().map(Vec::len), Some(1), "{state:#}");
        assert_eq!(stage.status(1).await, made);
        stage.acknowledge(1, &json!({"uuid": uuid(3)}));
    }
    assert_eq!(stage.bridges.volumes().len(), 1);
    stage.acknowledge(1, &made);
    // What the agent says arrives in order: this is after the acknowledgement.
    stage.agent.say(&json!({"type": "RECONCILE_OPERATIONS", "reconcile_operations": {"operation_uuids": [uuid(1)]}}));
    let unknown = stage.status(1).await;
    assert_eq!(
        (&unknown["state"], unknown.get("uuid")),
        (&json!("OPERATION_DROPPED"), None),
        "it would be acknowledged for ever"
    );
    stage.agent.cut();
    let (_, state) = stage.subscribed().await;
    assert!(state.get("operations").is_none_or(|all| all.as_array().unwrap().is_empty()), "{state:#}");

    // Agent and master believe that this was done. They are told that it was not, and how things are.
    let create = json!({"type": "CREATE", "create": {"volumes": [{
        "provider_id": {"value": "P1"}, "name": "disk", "type": "SCALAR", "scalar": {"value": 64.0},
        "disk": {"source": {"type": "MOUNT", "id": "local:none"}, "persistence": {"id": "x"}, "volume": {"container_path": "x", "mode": "RW"}},
    }]}});
    stage.agent.say(&operation(2, &state["resource_version_uuid"], &create));
    let after = stage.agent.call("UPDATE_STATE").await;
    check(&after, "P1");
    assert_ne!(after["resource_version_uuid"], state["resource_version_uuid"]);
    assert_eq!(after["resources"], state["resources"]);
    let failed = stage.status(2).await;
    assert_eq!(failed["state"], "OPERATION_FAILED");
    stage.acknowledge(2, &failed);

    // Disks: one that there is, one that there is not, and space.
    let mut nothing = disk.clone();
    nothing["disk"]["source"]["id"] = json!("local:none");
    assert_eq!(stage.publish(0, &[&nothing]).await, "FAILED");
    assert_eq!(stage.publish(1, &[disk, &allocated(space, 64.0)]).await, "FAILED");
    assert_eq!(stage.publish(2, &[disk]).await, "OK");
    let shown = stage.bridges.workspace().path().join(BRIDGE).join("mounts/disks");
    assert_eq!(mounts_below(&shown).len(), 1);

    // Another agent on this machine: its provider is another one, with the same disks.
    stage.agent.rename("B-S0");
    stage.agent.cut();
    let (info, state) = stage.subscribed().await;
    assert!(info.get("id").is_none(), "{info}");
    check(&state, "P2");
    let disk = state["resources"].as_array().unwrap().iter().find(|found| found["disk"]["source"]["type"] == "MOUNT").unwrap();
    let delete = json!({"type": "DESTROY_DISK", "destroy_disk": {"source": allocated(disk, 64.0)}});
    let deleted = stage.apply(3, &state, &delete).await;
    assert_eq!(deleted["state"], "OPERATION_FINISHED", "{deleted:#}");
    assert!(stage.bridges.volumes().is_empty());
    stage.acknowledge(3, &deleted);

    // An operator gives the provider up: it does not come back by itself.
    stage.agent.say(&json!({"type": "TEARDOWN"}));
    until("the end of the provider", || stage.bridges.said(BRIDGE).contains("given this provider up for good").then_some(()));
    stage.agent.cut();
    let before = stage.agent.subscriptions();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(stage.agent.subscriptions(), before);
    stage.finish();
}

/// An agent that was cut off has its disks on record, when an operator has given them to another agent long ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_agent_was_given_meanwhile_is_neither_emptied_nor_deleted() {
    // The look at others, by which it gives the disk up, comes too late here.
    let stage = Stage::start_with("1GiB", "600s").await;
    let (_, state) = stage.subscribed().await;
    let make = json!({"type": "CREATE_DISK", "id": {"value": "make"},
        "create_disk": {"source": allocated(&state["resources"][0], 64.0), "target_type": "MOUNT"}});
    let made = stage.apply(1, &state, &make).await;
    stage.acknowledge(1, &made);
    let disk = made["converted_resources"][0].clone();
    let id = disk["disk"]["source"]["id"].as_str().unwrap().to_owned();
    let mut volume = disk.clone();
    volume["disk"]["persistence"] = json!({"id": "letters"});
    volume["disk"]["volume"] = json!({"container_path": "data", "mode": "RW"});
    let create = json!({"type": "CREATE", "create": {"volumes": [volume]}});
    let destroy = json!({"type": "DESTROY", "destroy": {"volumes": [volume]}});
    let mut number = 2;
    let mut done = async |info: &Value| {
        let status = stage.apply(number, &state, info).await;
        stage.acknowledge(number, &status);
        number += 1;
        status
    };

    // The disk is used, and its volume destroyed. Then somebody else writes.
    assert_eq!(done(&create).await["state"], "OPERATION_FINISHED");
    assert_eq!(stage.publish(0, &[&volume]).await, "OK");
    assert_eq!(done(&destroy).await["state"], "OPERATION_FINISHED");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let shown = mounts_below(&stage.bridges.workspace().path().join(BRIDGE).join("mounts/disks"));
    let letter = shown[0].point.join("letter");
    fs::write(&letter, "of another agent's user").unwrap();
    assert_eq!(done(&create).await["state"], "OPERATION_FINISHED");
    assert_eq!(stage.publish(1, &[&volume]).await, "FAILED", "a task would write into another one's data");
    assert_eq!(fs::read_to_string(&letter).unwrap(), "of another agent's user");
    assert!(stage.bridges.said(BRIDGE).contains("letter was written since"), "{}", stage.bridges.said(BRIDGE));

    // And it is not deleted as long as that agent offers it.
    assert_eq!(done(&destroy).await["state"], "OPERATION_FINISHED");
    let delete = json!({"type": "DESTROY_DISK", "destroy_disk": {"source": disk}});
    stage.agent.offer_elsewhere(Some((&id, "A-S9")));
    let refused = done(&delete).await;
    assert_eq!(refused["state"], "OPERATION_FAILED", "{refused:#}");
    assert!(refused["message"].as_str().unwrap().contains("agent A-S9 offers volume"), "{refused:#}");
    assert_eq!(fs::read_to_string(&letter).unwrap(), "of another agent's user");
    stage.agent.offer_elsewhere(None);
    assert_eq!(done(&delete).await["state"], "OPERATION_FINISHED");
    assert!(stage.bridges.volumes().is_empty());
    stage.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_says_nonsense_is_subscribed_with_again() {
    let stage = Stage::start().await;
    stage.subscribed().await;
    let ok =
        |rest: &str| format!("HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nTransfer-Encoding: chunked\r\n\r\n{rest}").into_bytes();
    // Instead of a subscription.
    for welcome in [
        Welcome::Bytes(Vec::new()),
        Welcome::Bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwait".to_vec()),
        Welcome::Bytes(b"\x00\xff is no HTTP\r\n\r\n".to_vec()),
        Welcome::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        // As to an id that the agent does not know.
        Welcome::Bytes(ok("0\r\n\r\n")),
        Welcome::Bytes(ok("3\r\nx\n1\r\n")),
        Welcome::Bytes(ok("a\r\n61\n{\"type\":\r\n")),
        // An agent that is stopped in the middle.
        Welcome::Silence(ok("")),
    ] {
        stage.agent.welcome_with(welcome.clone());
        stage.agent.cut();
        stage.agent.call("SUBSCRIBE").await;
        let (info, state) = stage.subscribed().await;
        assert_eq!(info["id"]["value"], "P1", "after {welcome:?}");
        check(&state, "P1");
    }
    // In the midst of one: it is over, as nothing that follows could be understood.
    for bytes in ["-1\n", "99999999999\n", "7\nnonsens", "2\n[]", "26\n{\"type\":\"APPLY_OPERATION\"}", "6\n{\"type"] {
        stage.agent.forget_calls();
        stage.agent.say_bytes(bytes.as_bytes().to_vec());
        if bytes.ends_with("type") {
            stage.agent.cut();
        }
        stage.subscribed().await;
    }
    // What a newer agent may say is passed over.
    let before = stage.agent.subscriptions();
    for event in [json!({"type": "DANCE", "dance": {}}), json!({"type": "UNKNOWN"}), json!({})] {
        stage.agent.say(&event);
    }
    stage.agent.say(&json!({"type": "RECONCILE_OPERATIONS", "reconcile_operations": {"operation_uuids": [uuid(1)]}}));
    assert_eq!(stage.status(1).await["state"], "OPERATION_DROPPED");
    assert_eq!(stage.agent.subscriptions(), before);
    let said = fs::read_to_string(stage.bridges.workspace().path().join(BRIDGE).join("log")).unwrap();
    assert!(said.contains("trying again in"), "{said}");
    stage.finish();
}

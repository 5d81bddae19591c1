//! The agent's client.

use std::time::{Duration, Instant};

use hawser_bridge::mesos::{Agent, DeclaredVolume, Http, HttpOptions};
use hawser_volume::Kind;

use crate::fake::{Fake, Fate, Manner};

const PATIENCE: Duration = Duration::from_millis(400);

fn agent(url: &str) -> Agent {
    Agent::new(Http::new(HttpOptions::default()).unwrap(), url.parse().unwrap(), PATIENCE)
}

async fn recorded() -> Fake {
    let fake = Fake::start().await;
    let answers = [
        ("GET_AGENT", include_str!("fixtures/agent/get_agent.json")),
        ("GET_TASKS", include_str!("fixtures/agent/get_tasks.json")),
        ("GET_EXECUTORS", include_str!("fixtures/agent/get_executors.json")),
        ("GET_CONTAINERS", include_str!("fixtures/agent/get_containers.json")),
    ];
    fake.set(|state| state.recorded = answers.into_iter().map(|(call, text)| (call, text.to_owned())).collect());
    fake
}

#[tokio::test]
async fn who_uses_which_volume_is_told_but_for_standalone_containers() {
    let fake = recorded().await;
    let view = agent(&fake.url()).view().await.unwrap();
    assert_eq!(view.info.id.as_str(), "a105768f-75ce-48fc-8dd0-e30e6c13d44e-S0");
    assert_eq!(view.info.nodes, ["node-b"]);
    let running = "89e8ffaa-ccd8-4992-b2c5-32244d2237ff";
    let containers: Vec<&str> = view.containers.iter().map(|id| id.as_str()).collect();
    assert_eq!(containers, [running, "c-standalone"]);
    let untold: Vec<&str> = view.untold.iter().map(|id| id.as_str()).collect();
    assert_eq!(untold, ["c-standalone"]);

    // The task declares one, its executor another; those that are over are not told, though the agent lists them.
    let csi = DeclaredVolume::Csi { plugin: "csi.hawser.dev".into(), id: "local:vol-1".into() };
    let docker = DeclaredVolume::Docker { driver: "hawser".into(), name: "db0".into() };
    for (volume, task) in [(csi, Some("task-1")), (docker, None)] {
        let users: Vec<_> = view.users_of(&volume).collect();
        let [user] = users.as_slice() else { panic!("{users:?}") };
        assert_eq!((user.task.as_deref(), user.executor.as_deref()), (task, Some("ex1")));
        assert_eq!(user.framework.as_deref(), Some("a105768f-75ce-48fc-8dd0-e30e6c13d44e-0001"));
        assert_eq!(user.container.as_ref().unwrap().as_str(), running);
    }
    assert_eq!(view.uses.len(), 2);
}

#[tokio::test]
async fn an_agent_without_containers_leaves_them_out() {
    let fake = recorded().await;
    fake.set(|state| {
        state.recorded.insert("GET_CONTAINERS", include_str!("fixtures/agent/get_containers-none.json").to_owned());
        state.recorded.insert("GET_TASKS", r#"{"get_tasks":{}}"#.to_owned());
        state.recorded.insert("GET_EXECUTORS", r#"{"get_executors":{}}"#.to_owned());
    });
    let view = agent(&fake.url()).view().await.unwrap();
    assert_eq!((view.containers.len(), view.uses.len(), view.untold.len()), (0, 0, 0));
}

#[tokio::test]
async fn a_nested_container_is_named_with_its_parent() {
    let fake = recorded().await;
    let container =
        |nested: &str| format!(r#"{{"container_id":{nested},"framework_id":{{"value":"F"}},"executor_id":{{"value":"ex1"}}}}"#);
    let list = [container(r#"{"value":"p"}"#), container(r#"{"value":"c","parent":{"value":"p"}}"#)].join(",");
    fake.set(|state| {
        state.recorded.insert("GET_CONTAINERS", format!(r#"{{"get_containers":{{"containers":[{list}]}}}}"#));
    });
    let view = agent(&fake.url()).view().await.unwrap();
    let names: Vec<&str> = view.containers.iter().map(|id| id.as_str()).collect();
    assert_eq!((names, view.untold.len()), (vec!["p", "p.c"], 0));
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_told_in_time() {
    let fake = Fake::start().await;
    fake.agent("A", "n1", Fate::Active);
    assert_eq!(agent(&fake.url()).identity().await.unwrap().id.as_str(), "A");
    assert_eq!(agent(&format!("{}/slave(1)", fake.url())).identity().await.unwrap().id.as_str(), "A");
    assert!(agent(&format!("{}/slave(2)", fake.url())).identity().await.unwrap_err().chain().contains("404"));
    fake.manner(Manner::Hangs);
    let started = Instant::now();
    let error = agent(&fake.url()).identity().await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded, "{}", error.chain());
    assert!(started.elapsed() < Duration::from_secs(2));
    fake.manner(Manner::Standby("127.0.0.1:1".into()));
    assert!(agent(&fake.url()).identity().await.unwrap_err().chain().contains("which no agent does"));
    fake.manner(Manner::Says("GET_AGENT", r#"{"get_agent":{}}"#.into()));
    assert!(agent(&fake.url()).identity().await.unwrap_err().chain().contains("agent_info"));
}

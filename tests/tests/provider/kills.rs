//! Bridge and agent are killed at every step.

use std::time::Duration;

use hawser_tests::cluster::Cluster;
use hawser_tests::mesos::{Container, Framework, disk_of, is_disk, persistent, sized};
use hawser_tests::poll::{until, until_async};
use serde_json::{Value, json};

use super::{SPACE, cluster, id, offered};

/// After this time an operation that Mesos does not know has not begun: the provider is back by then.
const UNKNOWN: Duration = Duration::from_secs(10);

/// What is killed, and started again.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Bridge,
    Agent,
    Both,
}

/// Kills and starts again, beside the containers.
async fn strike(cluster: &mut Cluster, number: usize, blow: Blow) {
    let (agent, bridge) = (!matches!(blow, Blow::Bridge), !matches!(blow, Blow::Agent));
    if agent {
        cluster.mesos_mut().agent_mut(number).kill_process();
    }
    if bridge {
        cluster.kill_bridge(number);
    }
    if agent {
        cluster.mesos_mut().agent_mut(number).start_again().await;
        cluster.mesos().until_registered(cluster.mesos().agent(number)).await;
    }
    if bridge {
        cluster.start_bridge(number).await;
    }
}

/// Begins an operation on the disk of this id (on space when there is none yet), strikes, and waits for its end. What was dropped had
/// not begun, and is asked for again; anything else must have been done.
async fn operate_under(
    cluster: &mut Cluster,
    framework: &mut Framework,
    blow: Blow,
    number: usize,
    (kind, disk): (&str, Option<&str>),
    body: impl Fn(&Value) -> Value,
) -> Vec<Value> {
    let agent = cluster.mesos().agent(number).id().await;
    for attempt in 0..5 {
        let wanted = |resource: &Value| {
            disk_of(resource).is_some_and(|source| match disk {
                Some(id) => source["id"] == id,
                None => source["type"] == "RAW",
            })
        };
        let (offer, found) = framework.disk_offer_of(&agent, wanted).await;
        let id = format!("{kind} {blow:?} {attempt}");
        framework.begin(&offer, &id, kind, &body(&found)).await;
        if attempt == 0 {
            strike(cluster, number, blow).await;
        }
        let outcome = framework.outcome_or_unknown(&id, &agent, UNKNOWN).await;
        match outcome["state"].as_str() {
            Some("OPERATION_FINISHED") => return outcome["converted_resources"].as_array().cloned().unwrap_or_default(),
            Some("OPERATION_DROPPED" | "OPERATION_UNKNOWN") => {}
            Some("OPERATION_ERROR") if outcome["message"].as_str().unwrap().contains("no longer valid") => {}
            _ => panic!("{id}: {outcome:#}"),
        }
    }
    panic!("{kind} is dropped again and again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_ends_and_nothing_is_lost_when_bridge_and_agent_are_killed() {
    let mut cluster = cluster().await;
    let mut framework = Framework::subscribe_as(cluster.mesos(), "storage").await;
    let number = 0;
    for blow in [Blow::Bridge, Blow::Agent, Blow::Both] {
        let make = |space: &Value| json!({"source": sized(space, 64.0), "target_type": "MOUNT"});
        let disk = operate_under(&mut cluster, &mut framework, blow, number, ("CREATE_DISK", None), make).await.remove(0);
        let disk = id(&disk);
        let create = |disk: &Value| json!({"volumes": [persistent(disk, "letters", "data")]});
        operate_under(&mut cluster, &mut framework, blow, number, ("CREATE", Some(&disk)), create).await;

        let destroy = |volume: &Value| json!({"volumes": [volume]});
        operate_under(&mut cluster, &mut framework, blow, number, ("DESTROY", Some(&disk)), destroy).await;
        let delete = |disk: &Value| json!({"source": disk});
        operate_under(&mut cluster, &mut framework, blow, number, ("DESTROY_DISK", Some(&disk)), delete).await;
        assert!(cluster.bridges().volumes().is_empty(), "{blow:?}: {:?}", cluster.bridges().volumes());
    }
    let agent = cluster.mesos().agent(number).id().await;
    // What an operation has set free is offered by itself before it is offered with the rest.
    framework.disk_offer_of(&agent, |space| space["scalar"]["value"] == SPACE).await;
    assert_eq!(offered(&cluster, &agent).await, [format!("RAW fast {SPACE:?}")]);
    until_async("the acknowledgement of every operation", async || cluster.mesos().operations().await.is_empty().then_some(()))
        .await;
    cluster.finish();
}

/// A task goes on with its disk while bridge and agent are killed beside it, and when it ends the disk is taken down all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_stays_with_its_task_and_goes_after_it_when_bridge_and_agent_are_killed() {
    let mut cluster = cluster().await;
    let mut framework = Framework::subscribe_as(cluster.mesos(), "storage").await;
    let disk = framework.make_disk("make", "fast", 64.0).await;
    let disk = id(&disk);
    let create = |disk: &Value| json!({"volumes": [persistent(disk, "letters", "data")]});
    framework.operate("create", "CREATE", is_disk(&disk), create).await;
    for blow in [Blow::Bridge, Blow::Agent, Blow::Both] {
        let (offer, volume) = framework.offer_of(&disk).await;
        let id = offer["agent_id"]["value"].as_str().unwrap().to_owned();
        let agent = if id == cluster.mesos().agent(0).id().await { 0 } else { 1 };
        // Without a space: with one Mesos does not find its own mounts again (docs/provider.md).
        let write = Container::new(&format!("write-{blow:?}"), "while sleep 0.05; do echo x >> data/letter || exit 1; done")
            .disk(&volume);
        framework.launch(&offer, &id, &write).await;
        framework.until(write.id(), "TASK_RUNNING").await;
        strike(&mut cluster, agent, blow).await;
        let letter = letter(&cluster, agent);
        let before = std::fs::metadata(&letter).unwrap().len();
        until("the next word of the task", || (std::fs::metadata(&letter).unwrap().len() > before).then_some(()));
        framework.kill(write.id()).await;
        assert_eq!(framework.end(write.id()).await["state"], "TASK_KILLED", "{blow:?}\n{}", cluster.mesos().tail());
        until(&format!("the unmount after {blow:?}"), || cluster.mounted(agent).is_empty().then_some(()));
    }
    cluster.finish();
}

/// What the task writes to, where the bridge shows its disk.
fn letter(cluster: &Cluster, agent: usize) -> std::path::PathBuf {
    let mounted = cluster.mounted(agent);
    mounted.iter().map(|point| point.join("letter")).find(|letter| letter.exists()).unwrap_or_else(|| panic!("{mounted:?}"))
}

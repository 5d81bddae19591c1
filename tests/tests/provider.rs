//! Disks in the offers of a real Mesos: a framework makes one, uses it, and gives it back, whatever fails meanwhile.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::time::Duration;

use hawser_tests::cluster::{Cluster, Way};
use hawser_tests::mesos::{Container, Framework, disk_of, is_disk, persistent, sized};
use hawser_tests::poll::until;
use serde_json::{Value, json};

/// What is offered of the profile, in MiB.
const SPACE: f64 = 1024.0;

/// Offers of space reserved for the role `storage`, and short times.
const PROVIDER: [&str; 7] =
    ["grace: 1s", "reconcile-every: 1s", "provider:", "  role: storage", "  pools:", "    fast:", "      capacity: 1GiB"];

async fn cluster() -> Cluster {
    Cluster::start(Way::Provider, &PROVIDER, &[]).await
}

/// The id of a disk.
fn id(disk: &Value) -> String {
    disk_of(disk).unwrap()["id"].as_str().unwrap().to_owned()
}

/// What there is, as kind, id or profile, and size, in order.
fn summary(disks: &[Value]) -> Vec<String> {
    let line = |disk: &Value| {
        let source = disk_of(disk).unwrap();
        let name = source["id"].as_str().or(source["profile"].as_str()).unwrap();
        format!("{} {name} {}", source["type"].as_str().unwrap(), disk["scalar"]["value"])
    };
    let mut lines: Vec<String> = disks.iter().map(line).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_made_of_an_offer_used_by_a_container_and_given_back() {
    let cluster = cluster().await;
    let mut framework = Framework::subscribe_as(cluster.mesos(), "storage").await;
    let (_, space) = framework.disk_offer(|_| true).await;
    assert_eq!(summary(std::slice::from_ref(&space)), [format!("RAW fast {SPACE:?}")]);
    assert_eq!(space["reservations"][0]["role"], "storage");
    drop(framework);

    let mut framework = Framework::subscribe_as(cluster.mesos(), "storage").await;
    let disk = framework.make_disk("make", "fast", 128.0).await;
    assert_eq!(disk_of(&disk).unwrap()["type"], "MOUNT");
    assert_eq!(cluster.bridges().volumes().len(), 1);

    // A persistent volume on it, and a task that writes to it.
    let disk = id(&disk);
    let create = |disk: &Value| json!({"volumes": [persistent(disk, "letters", "data")]});
    framework.operate("create", "CREATE", is_disk(&disk), create).await;
    let (offer, volume) = framework.offer_of(&disk).await;
    let agent = offer["agent_id"]["value"].as_str().unwrap().to_owned();
    let write =
        Container::new("write", "grep ' /.*data ' /proc/self/mountinfo | grep -q ext4 && echo hello > data/letter").disk(&volume);
    framework.launch(&offer, &agent, &write).await;
    assert_eq!(framework.end("write").await["state"], "TASK_FINISHED", "{}", cluster.mesos().tail());
    let (offer, volume) = framework.offer_of(&disk).await;
    let read = Container::new("read", "test \"$(cat data/letter)\" = hello").disk(&volume);
    framework.launch(&offer, &agent, &read).await;
    assert_eq!(framework.end("read").await["state"], "TASK_FINISHED", "{}", cluster.mesos().tail());

    // Mesos never says that a disk is not used any more.
    until("the unmount of what no container uses", || (0..2).all(|agent| cluster.mounted(agent).is_empty()).then_some(()));
    framework.operate("destroy", "DESTROY", is_disk(&disk), |volume| json!({"volumes": [volume]})).await;
    framework.operate("delete", "DESTROY_DISK", is_disk(&disk), |disk| json!({"source": disk})).await;
    assert!(cluster.bridges().volumes().is_empty());
    assert_eq!(summary(&framework.disks_offered().await), [format!("RAW fast {SPACE:?}")]);
    cluster.finish();
}

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
    let (_, space) = framework.disk_offer_of(&agent, |_| true).await;
    assert_eq!(summary(&[space]), [format!("RAW fast {SPACE:?}")]);
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

/// What one persistent volume has left on a disk, the next one does not see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_empty_when_its_next_volume_is_used() {
    let cluster = cluster().await;
    let mut framework = Framework::subscribe_as(cluster.mesos(), "storage").await;
    let disk = id(&framework.make_disk("make", "fast", 64.0).await);
    for (round, shell) in [
        ("first", "mkdir data/dir && echo secret > data/dir/letter && ln -s /etc data/link"),
        ("second", "test -z \"$(find data -mindepth 1)\" && echo new > data/new"),
    ] {
        let create = |disk: &Value| json!({"volumes": [persistent(disk, round, "data")]});
        framework.operate(&format!("create {round}"), "CREATE", is_disk(&disk), create).await;
        // Twice: what the second volume has of its own stays.
        for shell in [shell, "test -n \"$(find data -mindepth 1)\""] {
            let (offer, volume) = framework.offer_of(&disk).await;
            let agent = offer["agent_id"]["value"].as_str().unwrap().to_owned();
            let task = Container::new(&format!("{round} {}", shell.len()), shell).disk(&volume);
            framework.launch(&offer, &agent, &task).await;
            assert_eq!(framework.end(task.id()).await["state"], "TASK_FINISHED", "{round}: {shell}\n{}", cluster.mesos().tail());
        }
        until("the unmount of what no container uses", || (0..2).all(|agent| cluster.mounted(agent).is_empty()).then_some(()));
        let destroy = |volume: &Value| json!({"volumes": [volume]});
        framework.operate(&format!("destroy {round}"), "DESTROY", is_disk(&disk), destroy).await;
    }
    framework.operate("delete", "DESTROY_DISK", is_disk(&disk), |disk| json!({"source": disk})).await;
    cluster.finish();
}

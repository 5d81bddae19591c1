//! Disks in the offers of a real Mesos: a framework makes one, uses it, and gives it back, whatever fails meanwhile.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod adopt;
mod hazards;
mod kills;
mod load;
mod slrp;

use hawser_tests::cluster::{Cluster, Way};
use hawser_tests::mesos::{Container, Framework, disk_of, is_disk, persistent};
use hawser_tests::poll::{until, until_async};
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

/// The disks and the space that the master knows of an agent.
async fn offered(cluster: &Cluster, agent: &str) -> Vec<String> {
    let agents = cluster.mesos().agents().await;
    let of = agents.iter().find(|known| known["agent_info"]["id"]["value"] == agent).unwrap();
    let all = of["total_resources"].as_array().unwrap();
    summary(&all.iter().filter(|resource| disk_of(resource).is_some()).cloned().collect::<Vec<_>>())
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
    assert_eq!(offered(&cluster, &agent).await, [format!("RAW fast {SPACE:?}")]);
    until_async("the acknowledgement of every operation", async || cluster.mesos().operations().await.is_empty().then_some(()))
        .await;
    cluster.finish();
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

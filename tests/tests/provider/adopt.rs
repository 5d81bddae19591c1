//! A volume that outlives its agent is offered by another one, with its data, and never by two.

use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::cluster::Cluster;
use hawser_tests::mesos::{Container, Framework, disk_of, is_disk, persistent, sized};
use hawser_tests::output::Output;
use hawser_tests::poll::{until, until_async};
use serde_json::{Value, json};

use super::{SPACE, cluster, id, offered};

/// The command with which an operator has a volume offered by an agent.
fn command(cluster: &Cluster, agent: usize, volume: &str) -> Command {
    let mut command = Command::new(hawser());
    command.args(["mesos", "adopt", volume, "--config"]).arg(cluster.place(agent, "config.yaml"));
    command
}

/// Gives it; what the operator is told when it is refused.
async fn adopt(cluster: &Cluster, agent: usize, volume: &str) -> Result<(), String> {
    let output = Output::of(command(cluster, agent, volume)).await;
    if output.status.success() { Ok(()) } else { Err(output.stderr) }
}

/// What the second agent's bridge tells an operator of the volumes that nobody offers.
async fn unoffered(cluster: &Cluster) -> Value {
    let mut command = Command::new(hawser());
    command.args(["mesos", "unoffered", "--output", "json", "--config"]).arg(cluster.place(1, "config.yaml"));
    let output = Output::of(command).await;
    assert!(output.status.success(), "{}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_an_agent_that_is_gone_is_offered_by_another_one_with_its_data() {
    let mut cluster = cluster().await;
    let mut framework = Framework::subscribe_as(cluster.mesos(), "storage").await;
    let (first, second) = (cluster.mesos().agent(0).id().await, cluster.mesos().agent(1).id().await);

    // A task of the first agent writes, and holds the disk.
    let (offer, space) = framework.disk_offer_of(&first, |_| true).await;
    let make = json!({"source": sized(&space, 64.0), "target_type": "MOUNT"});
    framework.begin(&offer, "make", "CREATE_DISK", &make).await;
    let made = framework.outcome("make").await;
    let disk = id(&made["converted_resources"][0]);
    let create = |disk: &Value| json!({"volumes": [persistent(disk, "letters", "data")]});
    framework.operate("create", "CREATE", is_disk(&disk), create).await;
    let (offer, volume) = framework.offer_of(&disk).await;
    let write = Container::new("write", "echo hello > data/letter && sync && sleep 1000").disk(&volume);
    framework.launch(&offer, &first, &write).await;
    framework.until("write", "TASK_RUNNING").await;

    // As long as its agent is there, it is that one's.
    let refused = adopt(&cluster, 1, &disk).await.unwrap_err();
    assert!(refused.contains(&format!("agent {first} offers volume {disk}")), "{refused}");
    let refused = adopt(&cluster, 1, "local:none").await.unwrap_err();
    assert!(refused.contains("lists no volume local:none"), "{refused}");
    assert_eq!(unoffered(&cluster).await, json!([]));
    let letter = until("the letter", || cluster.mounted(0).iter().map(|point| point.join("letter")).find(|path| path.exists()));
    until("its words", || (std::fs::read_to_string(&letter).unwrap() == "hello\n").then_some(()));

    // Its machine burns, and nobody knows yet that it does not come back: its node may live.
    cluster.lose_machine(0);
    assert!(adopt(&cluster, 1, &disk).await.is_err());
    cluster.mesos().mark_agent_gone(&first).await;
    let left = unoffered(&cluster).await;
    assert_eq!((left[0]["volume"].as_str(), left[0]["bytes"].as_u64()), (Some(&*disk), Some(64 << 20)), "{left}");
    // Killed at whichever step, the command is given again.
    let mut lost = command(&cluster, 1, &disk).spawn().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    cluster.kill_bridge(1);
    lost.wait().unwrap();
    cluster.start_bridge(1).await;
    until_async("the adoption", async || adopt(&cluster, 1, &disk).await.ok()).await;
    adopt(&cluster, 1, &disk).await.expect("it is offered already");
    assert_eq!(unoffered(&cluster).await, json!([]));

    let (offer, found) = framework.disk_offer_of(&second, |resource| is_disk(&disk)(resource)).await;
    assert_eq!((&disk_of(&found).unwrap()["type"], &found["scalar"]["value"]), (&json!("RAW"), &json!(64.0)));
    framework.decline(&offer).await;
    let make = |found: &Value| json!({"source": found, "target_type": "MOUNT", "target_profile": "fast"});
    framework.operate("make of it", "CREATE_DISK", is_disk(&disk), make).await;
    framework.operate("create on it", "CREATE", is_disk(&disk), create).await;
    // An agent drops tasks that were launched before it said that there is less space now.
    for attempt in 0.. {
        let (offer, volume) = framework.offer_of(&disk).await;
        let read = Container::new(&format!("read-{attempt}"), "test \"$(cat data/letter)\" = hello").disk(&volume);
        framework.launch(&offer, &second, &read).await;
        let status = framework.end(read.id()).await;
        if status["state"] != "TASK_DROPPED" || attempt == 5 {
            assert_eq!(status["state"], "TASK_FINISHED", "{status}\n{}", cluster.mesos().tail());
            break;
        }
    }

    // The first comes back, under a new id and with everything on record that it had.
    cluster.mesos_mut().agent_mut(0).forget_id();
    cluster.start_machine(0).await;
    let first = cluster.mesos().agent(0).id().await;
    let all = until_async("the offers of the one that is back", async || {
        Some(offered(&cluster, &first).await).filter(|all| !all.is_empty())
    })
    .await;
    assert_eq!(all, [format!("RAW fast {SPACE:?}")]);
    assert_eq!(offered(&cluster, &second).await, [format!("MOUNT {disk} 64.0"), format!("RAW fast {:?}", SPACE - 64.0)]);

    let mine = |resource: &Value| is_disk(&disk)(resource);
    framework.operate("destroy", "DESTROY", mine, |volume| json!({"volumes": [volume]})).await;
    framework.operate("delete", "DESTROY_DISK", mine, |disk| json!({"source": disk})).await;
    assert!(cluster.bridges().volumes().is_empty());
    until_async("the space of what was deleted", async || {
        (offered(&cluster, &second).await == [format!("RAW fast {SPACE:?}")]).then_some(())
    })
    .await;
    cluster.finish();
}

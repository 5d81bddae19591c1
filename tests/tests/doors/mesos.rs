//! Tasks of Mesos, through `dvdcli` and through the isolator `volume/csi`.

use hawser_tests::cluster::{Cluster, Way};
use hawser_tests::mesos::Framework;

/// Writes, if the volume is as it was declared.
const WRITE: &str = "df -T data | grep -q ext4 && test $(df --output=size data | tail -n 1) -gt 40000 && \
                     test $(df --output=size data | tail -n 1) -le 65536 && echo hello > data/letter";

/// Plays the story that the bridge is made for: a task writes into a volume that nobody has made, ends, and is run again on another
/// agent, where it finds what it wrote. Mesos says that a task has ended before it unmounts, so the next one may come while the volume
/// is still on its way.
async fn follow(way: Way) {
    let cluster = Cluster::start(way, &[], &[]).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    framework.run(cluster.mesos().agent(0), &way.container("write", "letters", WRITE)).await;
    framework.until("write", "TASK_FINISHED").await;
    framework.run(cluster.mesos().agent(1), &way.container("read", "letters", "grep hello data/letter")).await;
    framework.until("read", "TASK_FINISHED").await;
    drop(framework);
    cluster.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_follows_its_task_through_dvdcli() {
    follow(Way::Dvdcli).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_follows_its_task_through_the_isolator() {
    follow(Way::Csi).await;
}

/// The names of mesos/elasticsearch: each task of a framework its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_framework_get_numbered_volumes() {
    let way = Way::Dvdcli;
    let cluster = Cluster::start(way, &[], &[]).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    let names = "{framework}{slot}data";
    for (agent, id) in ["first", "second"].into_iter().enumerate() {
        framework.run(cluster.mesos().agent(agent), &way.container(id, names, "hostname > data/letter && sleep 1000")).await;
        framework.until(id, "TASK_RUNNING").await;
    }
    let list = cluster.bridges().agent("agent-1").docker("VolumeDriver.Get", &serde_json::json!({ "Name": "tests1data" })).1;
    assert_eq!(list["Volume"]["Name"], "tests1data", "{list}");
    framework.kill("first").await;
    framework.end("first").await;
    drop(framework);
    cluster.finish();
}

/// Two containers of one agent have one volume: it is mounted once, and leaves with the last of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_containers_of_an_agent_share_a_volume() {
    for way in [Way::Dvdcli, Way::Csi] {
        let cluster = Cluster::start(way, &["wait-for-holder: 1s"], &[]).await;
        let mut framework = Framework::subscribe(cluster.mesos()).await;
        let first = way.container("first", "letters", "echo hello > data/letter; while [ ! -e data/answer ]; do sleep 0.1; done");
        framework.run(cluster.mesos().agent(0), &first).await;
        framework.until("first", "TASK_RUNNING").await;
        let mounted = cluster.mounted(0);
        let second = way.container("second", "letters", "grep hello data/letter && sleep 1000");
        framework.run(cluster.mesos().agent(0), &second).await;
        framework.until("second", "TASK_RUNNING").await;
        assert_eq!(cluster.mounted(0), mounted, "{way:?}");
        framework.run(cluster.mesos().agent(0), &way.container("third", "letters", "echo well > data/answer")).await;
        framework.until("third", "TASK_FINISHED").await;
        framework.until("first", "TASK_FINISHED").await;
        // One has it still.
        framework.run(cluster.mesos().agent(1), &way.container("thief", "letters", "true")).await;
        let end = framework.end("thief").await;
        let message = end["message"].as_str().unwrap();
        assert!(message.contains("held by node agent-1"), "{way:?}: {message}");
        framework.kill("second").await;
        framework.end("second").await;
        drop(framework);
        cluster.finish();
    }
}

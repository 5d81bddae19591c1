//! What becomes of a volume when bridges, agents, masters and machines fail under a real Mesos: it is never taken from anybody who may
//! live, it comes back with its data when its holder is dead, and nothing that was held before a failure is held for ever.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::time::{Duration, Instant};

use hawser_tests::bridges::AGENTS;
use hawser_tests::cluster::{Cluster, Way};
use hawser_tests::mesos::{Container, Framework};
use hawser_tests::poll::{PATIENCE, until, until_async};

/// An agent is unreachable after two seconds without an answer, and not after 75.
fn quick() -> [(&'static str, String); 2] {
    [("MESOS_AGENT_PING_TIMEOUT", "1secs".to_owned()), ("MESOS_MAX_AGENT_PING_TIMEOUTS", "2".to_owned())]
}

/// A task with the volume `letters` at `data`.
fn task(way: Way, id: &str, shell: &str) -> Container {
    way.container(id, "letters", shell)
}

/// Runs a task until it says what is expected.
async fn ends(framework: &mut Framework, cluster: &Cluster, agent: usize, task: &Container, state: &str) -> String {
    framework.run(cluster.mesos().agent(agent), task).await;
    let end = framework.end(task.id()).await;
    assert_eq!(end["state"], state, "{end}\n{}", cluster.mesos().tail());
    end["message"].as_str().unwrap_or_default().to_owned()
}

/// A container that writes a number each tenth of a second, for as long as it runs.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo $n > data/count; sync data/count; sleep 0.1; done";

/// Of a real agent and master: nothing, as long as nothing is wrong.
async fn the_doctor_tells_what_is_wrong(cluster: &Cluster, way: Way) {
    let found = cluster.examined(0).await;
    let wrong: Vec<_> = found.iter().filter(|check| check["result"] == "wrong").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The bridge of this cluster serves the isolator also where its agent has none.
    let doors = if matches!(way, Way::Csi) { "well" } else { "doubtful" };
    for (step, result) in
        [("the agent", "well"), ("the master", "well"), ("the agent at the master", "well"), ("the doors", doors)]
    {
        assert!(found.iter().any(|check| check["step"] == step && check["result"] == result), "{step}: {found:#?}");
    }
    // Another machine's agent is not this node's.
    let strange = cluster.examined_as(0, "agent-9").await;
    let told = strange.iter().find(|check| check["step"] == "the agent's node").unwrap_or_else(|| panic!("{strange:#?}"));
    assert!(told["mend"].as_str().unwrap().contains("--attributes=csi_node:agent-9"), "{told}");
}

async fn a_container_goes_on_while_everything_around_it_fails(way: Way) {
    let mut cluster = Cluster::start(way, &["grace: 1s", "reconcile-every: 1s", "wait-for-holder: 1s"], &[]).await;
    the_doctor_tells_what_is_wrong(&cluster, way).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    framework.run(cluster.mesos().agent(0), &task(way, "count", COUNT)).await;
    framework.until("count", "TASK_RUNNING").await;
    let count = |cluster: &Cluster| {
        let file = cluster.mounted(0).into_iter().map(|mount| mount.join("count")).find(|file| file.exists())?;
        std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    };
    let advances = |cluster: &Cluster, when: &str| {
        let before = until("a count", || count(cluster));
        until(when, || count(cluster).filter(|now| *now > before));
    };
    advances(&cluster, "writing");
    cluster.kill_bridge(0);
    advances(&cluster, "writing without a bridge");
    cluster.mesos_mut().agent_mut(0).kill_process();
    advances(&cluster, "writing without an agent");
    let found = cluster.examined(0).await;
    let told = |step: &str, result: &str| {
        found.iter().any(|check| check["step"].as_str().unwrap().starts_with(step) && check["result"] == result)
    };
    assert!(told("the agent", "wrong") && told("the bridge's socket", "doubtful") && told("the master", "well"), "{found:#?}");
    cluster.start_bridge(0).await;
    // Nobody is there who could be asked what runs. Nothing is taken down for that.
    std::thread::sleep(Duration::from_secs(4));
    advances(&cluster, "writing while nobody knows of it");
    cluster.mesos_mut().agent_mut(0).start_again().await;
    cluster.mesos().until_registered(cluster.mesos().agent(0)).await;
    std::thread::sleep(Duration::from_secs(3));
    advances(&cluster, "writing after all of it");
    let message = ends(&mut framework, &cluster, 1, &task(way, "thief", "true"), "TASK_FAILED").await;
    assert!(message.contains("held by node agent-1"), "{message}");
    framework.kill("count").await;
    framework.end("count").await;
    let read = task(way, "read", "test \"$(cat data/count)\" -gt 10");
    until_async("the volume on the other agent", async || {
        framework.run(cluster.mesos().agent(1), &read).await;
        (framework.end("read").await["state"] == "TASK_FINISHED").then_some(())
    })
    .await;
    cluster.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_dvdcli_a_container_goes_on_while_everything_around_it_fails() {
    a_container_goes_on_while_everything_around_it_fails(Way::Dvdcli).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_the_isolator_a_container_goes_on_while_everything_around_it_fails() {
    a_container_goes_on_while_everything_around_it_fails(Way::Csi).await;
}

/// Mesos calls Unmount once, and whoever is not there to hear it has the volume for ever, unless it asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_while_the_bridge_was_away_is_released() {
    let mut cluster = Cluster::start(Way::Dvdcli, &["grace: 1s", "reconcile-every: 1s", "wait-for-holder: 1s"], &[]).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    // One of its volumes is to go with it.
    let scratch = [("size", "64MiB"), ("retain", "delete-with-task")];
    let count = task(Way::Dvdcli, "count", COUNT).docker_volume("scratch", "hawser", "scratch", &scratch);
    framework.run(cluster.mesos().agent(0), &count).await;
    framework.until("count", "TASK_RUNNING").await;
    assert_eq!(cluster.bridges().volumes(), ["letters", "scratch"]);
    // Seen once, it is known to be a container's.
    std::thread::sleep(Duration::from_secs(3));
    cluster.kill_bridge(0);
    framework.kill("count").await;
    framework.end("count").await;
    assert!(!cluster.mounted(0).is_empty());
    cluster.start_bridge(0).await;
    until("the release of what nobody uses", || cluster.mounted(0).is_empty().then_some(()));
    until("the end of what was to go with its task", || (cluster.bridges().volumes() == ["letters"]).then_some(()));
    ends(&mut framework, &cluster, 1, &task(Way::Dvdcli, "read", "test -s data/count"), "TASK_FINISHED").await;
    cluster.finish();
}

/// What the agent does not tell, for whatever reason, is no leave to take a volume from a process that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_knows_of_no_container_takes_no_volume_from_one() {
    let mut cluster = Cluster::start(Way::Dvdcli, &["grace: 1s", "reconcile-every: 1s"], &[]).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    framework.run(cluster.mesos().agent(0), &task(Way::Dvdcli, "count", COUNT)).await;
    framework.until("count", "TASK_RUNNING").await;
    // Seen once, it is known to be a container's.
    std::thread::sleep(Duration::from_secs(3));
    let mounted = cluster.mounted(0);
    assert!(!mounted.is_empty());
    cluster.kill_bridge(0);
    cluster.misdirect_bridge(0, 1);
    cluster.start_bridge(0).await;
    until("the warning of what is used by a container that the agent does not know", || {
        cluster.bridges().said(AGENTS[0]).contains("it is used all the same").then_some(())
    });
    // It goes on being so, look after look.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.mounted(0), mounted);
    framework.kill("count").await;
    framework.end("count").await;
    cluster.finish();
}

/// Who has it, what is known of them, what was done, and why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_taken_from_the_dead_and_from_nobody_else() {
    let way = Way::Dvdcli;
    let mut cluster = Cluster::start(way, &["grace: 1s", "reconcile-every: 1s", "wait-for-holder: 1s"], &quick()).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    let write = format!("echo first > data/letter && sync && {COUNT}");
    framework.run(cluster.mesos().agent(0), &task(way, "holder", &write)).await;
    framework.until("holder", "TASK_RUNNING").await;
    let holder = cluster.mesos().agent(0).id().await;
    let other = cluster.bridges().agent(AGENTS[1]);
    let refused = async || other.mount("letters", &[]).await.unwrap_err();

    // Alive.
    let message = ends(&mut framework, &cluster, 1, &task(way, "alive", "true"), "TASK_FAILED").await;
    assert!(message.contains(&format!("agent {holder} is registered and active")), "{message}");
    assert!(message.contains(&format!("stop task holder on agent {holder}")), "{message}");

    // Its agent does not answer, and its container writes on.
    cluster.mesos().agent(0).stop();
    let unreachable = format!("agent {holder} is unreachable");
    until_async("the master's word that the agent is unreachable", async || refused().await.contains(&unreachable).then_some(()))
        .await;
    let message = refused().await;
    assert!(message.contains("MARK_AGENT_GONE") && message.contains("takeover is agent-gone"), "{message}");

    // Nobody can say anything about it.
    cluster.mesos().stop();
    let begun = Instant::now();
    let message = refused().await;
    assert!(message.contains("no leading master answers") && begun.elapsed() < PATIENCE, "{message}");
    cluster.mesos().go_on();
    assert!(cluster.takeovers(1).is_empty());

    // The administrator is wrong: the agent is said to be gone for ever, and the container still writes. Both nodes would have it.
    cluster.mesos().mark_agent_gone(&holder).await;
    let asked = async || Some(refused().await).filter(|said| !said.contains("no leading master"));
    let message = until_async("the attempt", asked).await;
    assert!(message.contains("still staged on node agent-1"), "{message}");
    assert!(!cluster.mounted(0).is_empty(), "the holder lost its mount");
    let outcomes = |cluster: &Cluster| -> Vec<String> {
        cluster.takeovers(1).iter().map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(outcomes(&cluster), ["intended", "failed"]);

    // Dead indeed.
    cluster.lose_machine(0);
    let path = until_async("the takeover", async || other.mount("letters", &[]).await.ok()).await;
    assert_eq!(std::fs::read_to_string(path.join("letter")).unwrap().trim(), "first");
    assert_eq!(outcomes(&cluster)[2..], ["intended", "done"]);
    let done = cluster.takeovers(1).pop().unwrap();
    let words = done["evidence"][0]["words"].as_str().unwrap();
    assert!(words.starts_with(&format!("agent {holder} was marked gone at ")), "{done:#}");
    assert_eq!((&done["from"]["node"], &done["to"]["node"]), (&AGENTS[0].into(), &AGENTS[1].into()));
    other.unmount("letters").await.unwrap();
    cluster.finish();
}

/// The agent stages what it had on record before it finds out that its containers are gone. The volume has moved meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_comes_back_takes_nothing_back_and_works() {
    let way = Way::Csi;
    let more = ["grace: 1s", "reconcile-every: 1s", "wait-for-holder: 1s", "takeover: unreachable-after-3s"];
    let mut cluster = Cluster::start(way, &more, &quick()).await;
    let mut framework = Framework::subscribe(cluster.mesos()).await;
    let write = "echo first > data/letter && sync && sleep 1000";
    framework.run(cluster.mesos().agent(0), &task(way, "before", write)).await;
    framework.until("before", "TASK_RUNNING").await;
    cluster.lose_machine(0);
    let read = format!("grep first data/letter && {COUNT}");
    for attempt in 0.. {
        let id = format!("after-{attempt}");
        framework.run(cluster.mesos().agent(1), &task(way, &id, &read)).await;
        let status = framework.starts_or_ends(&id).await;
        if status["state"] == "TASK_RUNNING" {
            break;
        }
        assert!(attempt < 500, "never taken: {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.takeovers(1).pop().unwrap()["outcome"], "done");
    cluster.start_machine(0).await;
    let said = "from a record of a time before";
    until("the question for what is no more", || cluster.bridges().said(AGENTS[0]).contains(said).then_some(()));
    // The plugin is there for others.
    let other = way.container("other", "notes", "echo well > data/note");
    ends(&mut framework, &cluster, 0, &other, "TASK_FINISHED").await;
    // And not for this one: it is somebody else's.
    let message = ends(&mut framework, &cluster, 0, &task(way, "late", "true"), "TASK_FAILED").await;
    assert!(message.contains("held by node agent-2 (task after-"), "{message}");
    until("the end of every mount on the machine that came back", || cluster.mounted(0).is_empty().then_some(()));
    let count = || {
        let mounts = cluster.mounted(1);
        let file = mounts.iter().map(|mount| mount.join("count")).find(|file| file.exists()).unwrap();
        std::fs::read_to_string(file).unwrap().trim().parse::<u64>().unwrap_or(0)
    };
    let before = count();
    until("writing on", || (count() > before).then_some(()));
    drop(framework);
    cluster.finish();
}

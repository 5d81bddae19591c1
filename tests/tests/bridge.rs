//! The bridge: a task declares a volume and gets it, on first run and on every later run, on whichever agent it lands.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hawser_tests::Workspace;
use hawser_tests::binary::tool;
use hawser_tests::bridge::{Agent, Agents, Isolator, named};
use hawser_tests::content::{assert_holds, pattern, size, write};
use hawser_tests::daemon::Daemon;
use hawser_tests::faults::Fault;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::{mount_at, mounts_below};
use hawser_tests::notice::notice;
use hawser_tests::poll::{until, until_async};
use serde_json::{Value, json};
use tonic::Code;

const MIB: u64 = 1 << 20;

/// Options of a small volume, as Marathon's user writes them.
const SMALL: &[&str] = &["size=64MiB", "newfstype=ext4"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_volume_is_made_and_comes_back_on_another_agent() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["wait-for-holder: 1s"]);
    agents.start("agent-1").await;
    agents.start("agent-2").await;
    let (one, two) = (agents.agent("agent-1"), agents.agent("agent-2"));

    let path = one.mount("pgdata", &["size=320MiB", "newFsType=xfs"]).await.unwrap();
    assert_eq!(mount_at(&path).unwrap().filesystem, "xfs");
    let found = size(&path);
    assert!((250 * MIB..=320 * MIB).contains(&found), "a filesystem of {found} bytes");
    write(&path, &pattern(1, 1 << 20)).unwrap();

    let refused = two.mount("pgdata", &["size=320MiB", "newFsType=xfs"]).await.unwrap_err();
    assert!(refused.contains("agent-1") && refused.contains("held"), "{refused}");
    assert_holds(&path, 1, 1 << 20);

    one.unmount("pgdata").await.unwrap();
    let path = two.mount("pgdata", &["size=320MiB", "newFsType=xfs"]).await.unwrap();
    assert_holds(&path, 1, 1 << 20);
    two.unmount("pgdata").await.unwrap();
    // By its name alone, as a task of a framework that says nothing else.
    let path = one.mount("pgdata", &[]).await.unwrap();
    assert_holds(&path, 1, 1 << 20);
    one.unmount("pgdata").await.unwrap();
    agents.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_is_killed_finds_everything_again() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &[]);
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    let path = agent.mount("data", SMALL).await.unwrap();
    write(&path, &pattern(2, 1 << 20)).unwrap();
    agents.kill("agent-1");
    // The task does not notice.
    assert_holds(&path, 2, 1 << 20);
    agents.start("agent-1").await;
    assert_holds(&path, 2, 1 << 20);
    // A second task of this agent, and Mesos' one Unmount when the last of them has ended.
    assert_eq!(agent.mount("data", SMALL).await.unwrap(), path);
    agents.kill("agent-1");
    agents.start("agent-1").await;
    agent.unmount("data").await.unwrap();
    assert!(mount_at(&path).is_none());
    agent.unmount("data").await.unwrap();
    let path = agent.mount("data", SMALL).await.unwrap();
    assert_holds(&path, 2, 1 << 20);
    agent.unmount("data").await.unwrap();
    agents.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_told_what_is_wrong_and_how_to_mend_it() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &[]);
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    for (options, words) in [
        (&[][..], &["does not exist", "size"][..]),
        (&["size=0"], &["size"]),
        (&["size=64MiB", "newfstype=ntfs"], &["ntfs", "ext4"]),
        (&["sise=1"], &["sise", "size"]),
        (&["size=64MiB", "newfstype=xfs"], &["300"]),
    ] {
        let said = agent.mount("wrong", options).await.unwrap_err();
        assert!(words.iter().all(|word| said.contains(word)), "{options:?}: {said}");
        assert!(said.lines().count() <= 3 && !said.contains("panicked"), "{said}");
    }
    // The original exits with 0 here, and Mesos mounts the empty path.
    let output = agent.dvdcli(&["mount", "--volumename=x", "--nosuchflag=1"]).await;
    assert!(output.stdout.is_empty(), "{}", output.stdout);
    output.badly();
    let output = agent.dvdcli(&["mount", "--volumedriver=other", "--volumename=x"]).await;
    assert!(output.badly().contains("other"));
    let output = agent.dvdcli(&["mount", "--volumename=x", "--explicitCreate=true", "--volumeopts=size=64MiB"]).await;
    assert!(output.badly().contains("no such volume: x"));
    agents.finish();
}

/// Every endpoint of the API, with the bodies that dockerd and dvdcli send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_docker_volume_plugin_answers_as_docker_expects() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &[]);
    agents.start("agent-1").await;
    agents.start("agent-2").await;
    let (one, two) = (agents.agent("agent-1"), agents.agent("agent-2"));
    assert_eq!(one.docker("Plugin.Activate", &Value::Null), (200, json!({ "Implements": ["VolumeDriver"], "Err": "" })));
    let (_, scope) = one.docker("VolumeDriver.Capabilities", &json!({}));
    assert_eq!(scope["Capabilities"]["Scope"], "global");
    let create = json!({ "Name": "web", "Opts": { "size": "64MiB" } });
    for _ in 0..2 {
        assert_eq!(one.docker("VolumeDriver.Create", &create), (200, json!({ "Err": "" })));
    }
    // Scope global: the other agent's plugin knows it, too.
    for agent in [&one, &two] {
        let (status, got) = agent.docker("VolumeDriver.Get", &json!({ "Name": "web" }));
        assert_eq!((status, &got["Volume"]["Name"], &got["Err"]), (200, &json!("web"), &json!("")), "{got}");
    }
    let (status, got) = one.docker("VolumeDriver.Get", &json!({ "Name": "nosuch" }));
    assert_eq!(status, 500);
    assert!(got["Err"].as_str().unwrap().contains("no such volume"), "{got}");

    let (_, first) = one.docker("VolumeDriver.Mount", &named("web", "container-1"));
    let (_, second) = one.docker("VolumeDriver.Mount", &named("web", "container-2"));
    assert_eq!(first["Mountpoint"], second["Mountpoint"]);
    let path = std::path::PathBuf::from(first["Mountpoint"].as_str().unwrap());
    let (_, asked) = one.docker("VolumeDriver.Path", &json!({ "Name": "web" }));
    assert_eq!(asked["Mountpoint"], first["Mountpoint"]);
    let (_, listed) = one.docker("VolumeDriver.List", &json!({}));
    assert_eq!(listed["Volumes"], json!([{ "Name": "web", "Mountpoint": first["Mountpoint"] }]));
    let (status, refused) = one.docker("VolumeDriver.Remove", &json!({ "Name": "web" }));
    assert!(status == 500 && refused["Err"].as_str().unwrap().contains("in use"), "{refused}");
    // The first container's end, told twice, takes nothing from the second one.
    for _ in 0..2 {
        assert_eq!(one.docker("VolumeDriver.Unmount", &named("web", "container-1")).0, 200);
    }
    assert!(mount_at(&path).is_some());
    assert_eq!(one.docker("VolumeDriver.Unmount", &named("web", "container-2")).0, 200);
    assert!(mount_at(&path).is_none());
    assert_eq!(two.docker("VolumeDriver.Remove", &json!({ "Name": "web" })).0, 200);
    assert_eq!(one.docker("VolumeDriver.Get", &json!({ "Name": "nosuch" })).0, 500);
    // What dockerd repeats after a cut connection has lost its body. A refusal would mean to it that the volume is not there.
    assert_eq!(one.docker_unless_silent("VolumeDriver.Get", &Value::Null), None);
    for (endpoint, body) in [
        ("VolumeDriver.Get", json!({ "Name": "" })),
        ("VolumeDriver.Create", json!({ "Name": "" })),
        ("VolumeDriver.Create", json!({ "Name": 5 })),
        ("VolumeDriver.Create", json!([1])),
        ("VolumeDriver.Mount", Value::Null),
        ("VolumeDriver.Nosuch", json!({})),
    ] {
        let (status, answer) = one.docker(endpoint, &body);
        assert!(status == 500 && !answer["Err"].as_str().unwrap().is_empty(), "{endpoint} {body}: {answer}");
    }
    agents.finish();
}

/// Mesos reports a task's end before it unmounts: the next one is here while the volume is still held there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_let_go_is_waited_for() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &[]);
    agents.start("agent-1").await;
    agents.start("agent-2").await;
    let (one, two) = (agents.agent("agent-1"), agents.agent("agent-2"));
    let waits = async |agent: &str| {
        let waits = async || agents.said(agent).contains("waiting whether it is let go").then_some(());
        until_async("the wait for the other node", waits).await;
    };
    one.mount("data", SMALL).await.unwrap();
    let (mounted, ()) = tokio::join!(two.mount("data", SMALL), async {
        waits("agent-2").await;
        one.unmount("data").await.unwrap();
    });
    mounted.unwrap();
    let (isolator, made) = (agents.agent("agent-1").isolator(), Isolator::made(64));
    let (staged, ()) = tokio::join!(isolator.stage("data", &made, 60), async {
        waits("agent-1").await;
        two.unmount("data").await.unwrap();
    });
    staged.unwrap();
    isolator.unstage("data").await.unwrap();
    agents.finish();
}

/// dockerd would make an empty volume of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_was_listed_is_there_while_the_driver_is_away() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::with_faults(ground.path(), &["reconcile-every: 1h"]);
    agents.start("agent-1").await;
    let path = agents.agent("agent-1").mount("data", SMALL).await.unwrap();
    agents.start("agent-2").await;
    let mut faults = agents.faults("agent-2");
    faults.arm_at("provisioner.list", Fault::Hold);
    let (status, got) = agents.agent("agent-2").docker("VolumeDriver.Get", &json!({ "Name": "data" }));
    assert_eq!((status, &got["Volume"]["Name"]), (200, &json!("data")), "{got}");
    assert_eq!(faults.disarm().as_deref(), Some("provisioner.list"));
    agents.agent("agent-1").unmount("data").await.unwrap();
    assert!(mount_at(&path).is_none());
    agents.finish();
}

/// Who had it may let go at the moment at which the driver has just refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_let_go_right_after_it_was_refused_is_taken() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::with_faults(ground.path(), &["grace: 1s", "reconcile-every: 1s"]);
    agents.start("agent-1").await;
    let path = agents.agent("agent-1").mount("data", SMALL).await.unwrap();
    agents.start("agent-2").await;
    let other = agents.agent("agent-2");
    // The second agent stands where it asks who has the volume.
    let mut faults = agents.faults("agent-2");
    faults.arm_at("provisioner.get", Fault::Hold);
    let wanted = tokio::spawn(async move { other.mount("data", SMALL).await });
    until("the second agent's question", || faults.struck());
    agents.agent("agent-1").unmount("data").await.unwrap();
    until_async("the release", async || mount_at(&path).is_none().then_some(())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    faults.disarm();
    wanted.await.unwrap().unwrap();
    agents.agent("agent-2").unmount("data").await.unwrap();
    until_async("the release", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    agents.finish();
}

/// What REX-Ray's users have below `/data` is where they expect it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_path_is_shown_in_place_of_the_volume() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["root-path: data"]);
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    let path = agent.mount("old", SMALL).await.unwrap();
    assert!(path.ends_with("data") && mount_at(path.parent().unwrap()).is_some());
    write(&path, &pattern(3, 4096)).unwrap();
    agent.unmount("old").await.unwrap();
    let path = agent.mount("old", SMALL).await.unwrap();
    assert_holds(&path, 3, 4096);
    agent.unmount("old").await.unwrap();
    agents.finish();
}

/// The calls that a real Mesos was seen to make, in its order: the table of case, answer and state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_isolator_survives_what_mesos_does() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["wait-for-holder: 1s"]);
    agents.start("agent-1").await;
    agents.start("agent-2").await;
    let (one, two) = (agents.agent("agent-1").isolator(), agents.agent("agent-2").isolator());
    let made = Isolator::made(64);

    // One task.
    one.stage("es0", &made, 60).await.unwrap();
    let target = one.publish("es0", &made).await.unwrap();
    write(&target, &pattern(4, 1 << 20)).unwrap();
    assert!(mounts_below(&one.staging("es0")).is_empty(), "something is mounted where Mesos deletes");

    // A second task of the agent: everything again, also at the same time.
    let again = join_all((0..4).map(|_| async {
        one.stage("es0", &made, 60).await?;
        one.publish("es0", &made).await
    }));
    for end in again.await {
        assert_eq!(end.unwrap(), target);
    }
    assert_holds(&target, 4, 1 << 20);

    // An overlapping deployment: the same volume on the other agent, while it is held here.
    let status = two.stage("es0", &made, 60).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("agent-1"), "{status}");
    // Mesos unstages what it failed to stage.
    two.unstage("es0").await.unwrap();
    assert_holds(&target, 4, 1 << 20);

    // The bridge is killed while a task uses the volume, and started again.
    agents.kill("agent-1");
    agents.start("agent-1").await;
    assert_holds(&target, 4, 1 << 20);

    // The last task ends; and once more, as after a restart of the agent.
    for _ in 0..2 {
        one.unpublish("es0").await.unwrap();
        one.unstage("es0").await.unwrap();
    }
    // Never staged, never heard of.
    one.unpublish("nosuch").await.unwrap();
    one.unstage("nosuch").await.unwrap();
    // Published without a stage.
    assert_eq!(one.publish("es0", &made).await.unwrap_err().code(), Code::FailedPrecondition);

    // The task runs again, elsewhere.
    two.stage("es0", &made, 60).await.unwrap();
    let target = two.publish("es0", &made).await.unwrap();
    assert_holds(&target, 4, 1 << 20);
    two.unpublish("es0").await.unwrap();
    two.unstage("es0").await.unwrap();
    // By an id that does not exist.
    let status = one.stage("local:0123456789abcdef0123456789abcdef-01234567", &BTreeMap::new(), 60).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
    agents.finish();
}

/// Mesos gives up on a Stage after 60 s and sends the Unstage at once, while the Stage still runs. The slow attachment is not thrown
/// away, and nothing is ever mounted behind Mesos' back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_outlives_mesos_patience_is_found_done() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::with_faults(ground.path(), &["grace: 2s", "reconcile-every: 1s"]);
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1").isolator();
    let made = Isolator::made(64);
    for comes_back in [true, false] {
        let mut faults = agents.faults("agent-1");
        faults.arm_at("provisioner.attach", Fault::Hold);
        let status = agent.stage("slow", &made, 1).await.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status}");
        agent.unstage("slow").await.unwrap();
        faults.wait_until_struck();
        faults.disarm();
        if comes_back {
            agent.stage("slow", &made, 60).await.unwrap();
            let target = agent.publish("slow", &made).await.unwrap();
            write(&target, &pattern(5, 4096)).unwrap();
            agent.unpublish("slow").await.unwrap();
            agent.unstage("slow").await.unwrap();
        }
    }
    // Nobody came back: it leaves this agent by itself.
    let log = async || agents.said("agent-1").contains("nobody uses this volume any more").then_some(());
    until_async("the release of what nobody uses", log).await;
    until_async("the mounts to go", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    agents.finish();
}

/// The fence is closed to a holder that is alive, and a volume that was detached by a person is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_this_node_lost_is_taken_down_here() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["reconcile-every: 1s"]);
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    let path = agent.mount("data", SMALL).await.unwrap();
    // Somebody has deleted the attachment at the storage system.
    let volumes = agents.root().join("volumes");
    let record = fs::read_dir(&volumes).unwrap().next().unwrap().unwrap().path().join("record.json");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    text["attachments"] = json!([]);
    fs::write(&record, text.to_string()).unwrap();
    until_async("the stale mounts to go", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    assert!(mount_at(&path).is_none());
    agents.finish();
}

/// Two backends may have volumes of one name; a task never gets the other one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_volumes_with_one_name_on_two_backends_the_one_that_is_meant_is_taken() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["grace: 1s", "reconcile-every: 1s"]);
    // They come before the default one in every list.
    let pools = [Workspace::within(ground.path()), Workspace::within(ground.path())];
    for (name, pool) in ["alpha", "beta"].into_iter().zip(&pools) {
        agents.add_backend(name, &["type: local", &format!("root: {}", pool.path().display()), "overcommit: 1000"]);
    }
    // Each was made by an agent of its own, on the backend whose name is in it.
    for (agent, backend, name) in [
        ("agent-1", "alpha", "letters"),
        ("agent-2", "local", "letters"),
        ("agent-1", "alpha", "notes"),
        ("agent-2", "beta", "notes"),
        ("agent-1", "alpha", "diary"),
    ] {
        agents.start(agent).await;
        let place =
            agents.agent(agent).mount(name, &["size=64MiB", "newfstype=ext4", &format!("backend={backend}")]).await.unwrap();
        fs::write(place.join("backend"), backend).unwrap();
        agents.agent(agent).unmount(name).await.unwrap();
        until_async("the release", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    }
    for (agent, name, options, backend) in [
        // It would be made on the default backend, and is there with another size.
        ("agent-3", "letters", &["size=128MiB"][..], "local"),
        // It is not to be made, and the default backend has it.
        ("agent-4", "letters", &[], "local"),
        ("agent-5", "letters", &["backend=alpha"], "alpha"),
        // One backend alone has it.
        ("agent-3", "diary", &[], "alpha"),
        ("agent-3", "notes", &["backend=beta"], "beta"),
    ] {
        agents.start(agent).await;
        let place = agents.agent(agent).mount(name, options).await.unwrap();
        assert_eq!(fs::read_to_string(place.join("backend")).unwrap(), backend, "{name} {options:?}");
        agents.agent(agent).unmount(name).await.unwrap();
        until_async("the release", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    }
    agents.start("agent-4").await;
    let message = agents.agent("agent-4").mount("notes", &[]).await.unwrap_err();
    assert!(
        ["2 volumes are called notes", "alpha:", "beta:", "`backend`"].iter().all(|word| message.contains(word)),
        "{message}"
    );
    agents.finish();
}

/// What one storage system does not answer says nothing of the volumes of another, nor of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_away_keeps_no_volume_of_another_from_its_release() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["grace: 1s", "reconcile-every: 1s"]);
    agents.add_backend_that_is_away("away");
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");
    agent.mount("data", SMALL).await.unwrap();
    agent.unmount("data").await.unwrap();
    until_async("the release", async || mounts_below(agents.workspace().path()).is_empty().then_some(())).await;
    let said = agents.said("agent-1");
    assert!(said.contains("nothing is concluded about its volumes"), "{said}");
    agents.finish();
}

/// As mesos/elasticsearch has it: each node of the cluster its number, and whoever replaces a node has its data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_gets_the_lowest_number_that_nobody_has() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["wait-for-holder: 1s"]);
    for name in ["agent-1", "agent-2", "agent-3"] {
        agents.start(name).await;
    }
    let [one, two, three] = ["agent-1", "agent-2", "agent-3"].map(|name| agents.agent(name));
    let (data, log) = ("es{slot}data", "es{slot}log");
    let has = |path: &Path, text: &str| assert_eq!(fs::read_to_string(path.join("node")).unwrap(), text);
    // At the same time.
    let (first, second) = tokio::join!(one.mount(data, SMALL), two.mount(data, SMALL));
    let (first, second) = (first.unwrap(), second.unwrap());
    fs::write(first.join("node"), "agent-1").unwrap();
    fs::write(second.join("node"), "agent-2").unwrap();
    assert_eq!(one.mount(data, SMALL).await.unwrap(), first);
    assert_eq!(agents.volumes(), ["es0data", "es1data"]);
    // All volumes of a task have one number, whichever is free.
    let owner = if one.mount("es0data", &[]).await.is_ok() { "agent-1" } else { "agent-2" };
    let (zero, other) = if owner == "agent-1" { (&one, &two) } else { (&two, &one) };
    let path = other.mount(log, SMALL).await.unwrap();
    let shown = other.docker("VolumeDriver.Get", &named(log, "")).1;
    assert_eq!(shown["Volume"]["Mountpoint"], path.to_str().unwrap());
    assert!(zero.mount("es1log", &[]).await.unwrap_err().contains("held by"), "the log has another number than the data");
    other.unmount(log).await.unwrap();
    // The task is over; its replacement is another agent's.
    if owner == "agent-1" {
        zero.unmount("es0data").await.unwrap();
    }
    zero.unmount(data).await.unwrap();
    let replaced = three.mount(data, &[]).await.unwrap();
    has(&replaced, owner);
    for agent in [&three, other] {
        agent.unmount(data).await.unwrap();
    }
    // Which framework's, nobody can tell here.
    let refused = one.mount("{framework}{slot}data", SMALL).await.unwrap_err();
    assert!(refused.contains("find the framework"), "{refused}");
    agents.finish();
}

/// Nothing of Hawser's own is needed behind the bridge: two of them over the mock driver of Kubernetes' tests, one for each node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_others_wrote_serves_claims_too() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &["grace: 1s", "reconcile-every: 1s"]);
    let socket = agents.workspace().path().join("mock.sock");
    let mut command = Command::new(tool("csi-mock"));
    command.arg(&socket).arg("mock.example");
    let log = agents.workspace().path().join("mock.log");
    let mut mock = Daemon::spawn(command, &log);
    until("the driver's socket", || {
        assert!(!mock.has_ended(), "{}", mock.tail());
        socket.exists().then_some(())
    });
    agents.configure("agent-1", &[&format!("driver: unix://{}", socket.display())]);
    agents.start("agent-1").await;
    let agent = agents.agent("agent-1");

    // By name, made on first use.
    let path = agent.mount("pgdata", &["size=1GiB"]).await.unwrap();
    assert!(path.is_dir());
    assert_eq!(agent.mount("pgdata", &["size=1GiB"]).await.unwrap(), path);
    agents.kill("agent-1");
    agents.start("agent-1").await;
    assert_eq!(agent.mount("pgdata", &[]).await.unwrap(), path);
    agent.unmount("pgdata").await.unwrap();
    // One that the driver has had all along, by the name and by the id that it gave it itself.
    agent.mount("Mock Volume 2", &[]).await.unwrap();
    agent.unmount("Mock Volume 2").await.unwrap();
    let isolator = agent.isolator();
    let context = BTreeMap::new();
    isolator.stage("3", &context, 60).await.unwrap();
    isolator.publish("3", &context).await.unwrap();
    isolator.unpublish("3").await.unwrap();
    isolator.unstage("3").await.unwrap();
    assert_eq!(agent.docker("VolumeDriver.Remove", &named("pgdata", "")).0, 200);
    let refused = agent.mount("nobody-made-this", &[]).await.unwrap_err();
    assert!(refused.contains("nobody-made-this does not exist, and no size is declared"), "{refused}");

    // Each step in the one order, and back.
    let said = mock.said();
    agents.finish();
    let failed: Vec<&str> = said.lines().filter(|line| line.contains("-> rpc error")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let calls = |volume: &str| -> Vec<String> {
        let of = |line: &&str| line.contains(&format!("volume_id:\"{volume}\"")) && !line.contains("ControllerGet");
        said.lines()
            .filter(of)
            .map(|line| line.split(['/', ' ']).find(|word| word.contains("Volume")).unwrap().to_owned())
            .collect()
    };
    let life = ["ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"];
    for volume in ["2", "3"] {
        let mut whole = life.to_vec();
        whole.push("ControllerUnpublishVolume");
        assert_eq!(calls(volume), whole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_claims_at_once() {
    let ground = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(ground.path(), &[]);
    agents.start("agent-1").await;
    let agent: Agent = agents.agent("agent-1");
    let begun = Instant::now();
    let claims = join_all((0..200).map(|number| {
        let agent = agent.clone();
        tokio::spawn(async move {
            let name = format!("claim-{number}");
            let create = json!({ "Name": name, "Opts": { "size": "16MiB" } });
            let begun = Instant::now();
            let worker = agent.clone();
            let mounted = tokio::task::spawn_blocking(move || {
                worker.docker("VolumeDriver.Create", &create);
                worker.docker("VolumeDriver.Mount", &named(&name, ""))
            });
            let (status, answer) = mounted.await.unwrap();
            assert_eq!(status, 200, "{answer}");
            begun.elapsed()
        })
    }));
    let mut times: Vec<Duration> = claims.await.into_iter().map(Result::unwrap).collect();
    times.sort();
    let all = begun.elapsed();
    assert_eq!(mounts_below(agents.workspace().path()).len(), 400, "one staging and one target each");
    notice(&format!(
        "200 claims at once, declared to mounted: {:.1} s in all, p50 {:.1} s, p99 {:.1} s",
        all.as_secs_f64(),
        times[100].as_secs_f64(),
        times[198].as_secs_f64()
    ));
    let ends = join_all((0..200).map(|number| {
        let agent = agent.clone();
        tokio::task::spawn_blocking(move || agent.docker("VolumeDriver.Unmount", &named(&format!("claim-{number}"), "")))
    }));
    let failed: Vec<Value> = ends.await.into_iter().map(Result::unwrap).filter(|end| end.0 != 200).map(|end| end.1).collect();
    assert!(failed.is_empty(), "{failed:#?}");

    // One after the other, so that nothing but the bridge and its driver takes time.
    let before = agents.said("agent-1").len();
    let mut alone: Vec<Duration> = Vec::new();
    for number in 0..40 {
        let name = format!("alone-{number}");
        let begun = Instant::now();
        agent.docker("VolumeDriver.Create", &json!({ "Name": name, "Opts": { "size": "16MiB" } }));
        assert_eq!(agent.docker("VolumeDriver.Mount", &named(&name, "")).0, 200);
        alone.push(begun.elapsed());
        assert_eq!(agent.docker("VolumeDriver.Unmount", &named(&name, "")).0, 200);
    }
    let said = agents.said("agent-1");
    let up = ["CreateVolume", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume"];
    let times = said[before..].lines().filter(|line| up.iter().any(|method| line.contains(&format!("rpc{{method=\"{method}\""))));
    let times = times.filter_map(|line| line.split(" ms=").nth(1)?.split(' ').next()?.parse::<f64>().ok());
    let of_driver: f64 = times.sum::<f64>() / 1000.0;
    let in_all: f64 = alone.iter().map(Duration::as_secs_f64).sum();
    assert!(of_driver > 0.0 && of_driver < in_all, "{of_driver} s of {in_all} s");
    alone.sort();
    notice(&format!(
        "one claim at a time, declared to mounted: p50 {:.0} ms, p99 {:.0} ms, of which {:.0} % is the bridge",
        alone[20].as_secs_f64() * 1000.0,
        alone[39].as_secs_f64() * 1000.0,
        (1.0 - of_driver / in_all) * 100.0
    ));
    agents.finish();
}

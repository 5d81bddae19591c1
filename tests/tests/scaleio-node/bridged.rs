//! The same through the bridge's door: a task is started again elsewhere, and its volume comes along when the array knows its node for dead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use hawser_tests::binary::hawser;
use hawser_tests::daemon::Daemon;
use hawser_tests::notice::notice;
use hawser_tests::output::Output;
use hawser_tests::poll::until;
use serde_json::Value;

use crate::cloud::{Cloud, Machine};

/// The bridge of a node, in front of its plugin. Killed when it is dropped.
struct Bridge {
    daemon: Daemon,
    state: PathBuf,
}

impl Bridge {
    /// Starts it. The only policy for which no word of Mesos is needed; no master is there to give one.
    fn start(machine: &Machine) -> Self {
        let base = machine.node.directory();
        let (config, state) = (base.join("bridge.yaml"), base.join("bridge"));
        let text = format!(
            "bridge:\n  driver: unix:///run/hawser-test.sock\n  takeover: backend-dead\n  mesos-master: [http://127.0.0.1:9]\n  state: {}\n  \
             wait-for-holder: 1s\n  reconcile-every: 1s\n",
            state.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = machine.node.command(hawser());
        command.args(["bridge", "--node-id", machine.node.name(), "--config"]).arg(&config);
        let daemon = Daemon::spawn(command, &base.join("bridge.log"));
        until("the bridge's door", || {
            let there = machine.node.run(["test", "-S", "/run/docker/plugins/hawser.sock"]).status.success();
            there.then_some(())
        });
        Self { daemon, state }
    }

    /// The takeovers on record: what came of each, and from whom.
    fn takeovers(&self) -> Vec<(String, String)> {
        // It is made with the first record.
        let text = fs::read_to_string(self.state.join("takeovers.jsonl")).unwrap_or_default();
        let read = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["grade"], "backend-dead", "{record}");
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            (word(&record["outcome"]), word(&record["from"]["node"]))
        };
        text.lines().map(read).collect()
    }
}

/// Runs `dvdcli` in a node, as Mesos does.
fn dvdcli(cloud: &Cloud, machine: &Machine, verb: &str) -> Output {
    let link = cloud.rig.shared().join("dvdcli");
    if !link.exists() {
        symlink(hawser(), &link).unwrap();
    }
    let volume = ["--volumedriver=hawser", "--volumename=letters", "--volumeopts=size=8GiB"];
    machine.node.run([link.to_str().unwrap(), verb].into_iter().chain(volume))
}

fn mount(cloud: &Cloud, machine: &Machine) -> String {
    dvdcli(cloud, machine, "mount").well()
}

fn refused(cloud: &Cloud, machine: &Machine, words: &[&str]) {
    let said = dvdcli(cloud, machine, "mount").badly();
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    notice(said.trim());
}

/// The SDCs that have the one volume.
fn mapped(cloud: &Cloud) -> Vec<String> {
    let world = cloud.array.world();
    world.volumes.values().flat_map(|volume| volume.mapped.iter().map(|mapped| mapped.sdc.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_takes_a_volume_from_a_dead_node_and_from_no_other() {
    let mut cloud = Cloud::new(["node-a", "node-b"]).await;
    let sdcs = [cloud.machines[0].sdc.clone(), cloud.machines[1].sdc.clone()];
    let [one, two] = [Bridge::start(&cloud.machines[0]), Bridge::start(&cloud.machines[1])];
    let path = mount(&cloud, &cloud.machines[0]);
    cloud.machines[0].node.shell(&format!("echo first > {path}/letter; sync {path}/letter"));

    // The node lives, and its task with it. No policy takes anything from it, and nothing is tried.
    refused(&cloud, &cloud.machines[1], &["node-a", "the SDC of node node-a is connected"]);
    assert_eq!((mapped(&cloud), cloud.array.asked().get("removeMappedSdc")), (vec![sdcs[0].clone()], None));
    assert!(two.takeovers().is_empty());

    // Cut off and alive: the array has lost its SDC. Exactly that one's mapping goes.
    cloud.array.world().connect(&sdcs[0], false);
    let taken = mount(&cloud, &cloud.machines[1]);
    assert_eq!(mapped(&cloud), [sdcs[1].clone()]);
    let from_a = |outcome: &str| (outcome.to_owned(), "node-a".to_owned());
    assert_eq!(two.takeovers(), [from_a("intended"), from_a("done")]);
    assert_eq!(cloud.machines[1].node.shell(&format!("cat {taken}/letter")), "first");
    cloud.machines[1].node.shell(&format!("echo other > {taken}/letter; sync {taken}/letter"));

    // It comes back, with a mount of a disk that is gone: that is found, said, and taken down; and it takes nothing from anybody.
    cloud.array.world().connect(&sdcs[0], true);
    let words = "another node has this volume";
    until("the end of the stale mount", || {
        cloud.machines[0].node.shell("grep scini /proc/self/mountinfo || true").is_empty().then_some(())
    });
    let said = one.daemon.said();
    assert!(said.contains(words), "{said}");
    refused(&cloud, &cloud.machines[0], &["node-b", "the SDC of node node-b is connected"]);
    assert_eq!(mapped(&cloud), [sdcs[1].clone()]);
    assert_eq!(cloud.machines[1].node.shell(&format!("cat {taken}/letter")), "other");

    // The other way round, by a failure of the power.
    drop(two);
    cloud.machines[1].dies();
    cloud.array.world().connect(&sdcs[1], false);
    let path = mount(&cloud, &cloud.machines[0]);
    assert_eq!(cloud.machines[0].node.shell(&format!("cat {path}/letter")), "other");
    assert_eq!(mapped(&cloud), [sdcs[0].clone()]);
    cloud.machines[1].node.boot();
    cloud.array.world().connect(&sdcs[1], true);
    cloud.begin(1).await;
    let two = Bridge::start(&cloud.machines[1]);
    refused(&cloud, &cloud.machines[1], &["node-a", "the SDC of node node-a is connected"]);
    assert_eq!(mapped(&cloud), [sdcs[0].clone()]);
    dvdcli(&cloud, &cloud.machines[0], "unmount").well();
    until("the release", || mapped(&cloud).is_empty().then_some(()));
    let path = mount(&cloud, &cloud.machines[1]);
    assert_eq!(cloud.machines[1].node.shell(&format!("cat {path}/letter")), "other");
    dvdcli(&cloud, &cloud.machines[1], "unmount").well();
    drop((one, two));
    let world = cloud.array.world();
    assert!(world.shared.is_empty());
    let had: Vec<&String> = world.granted.iter().map(|(_, sdc)| sdc).collect();
    assert_eq!(had, [&sdcs[0], &sdcs[1], &sdcs[0], &sdcs[1]]);
}

//! A volume is taken from an instance that is off for certain, by force where it does not let go, and from no other.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hawser_tests::binary::hawser;
use hawser_tests::daemon::Daemon;
use hawser_tests::notice::notice;
use hawser_tests::output::Output;
use hawser_tests::poll::until;
use hawser_tests::process::Process;
use hawser_tests::rig::Node;
use serde_json::Value;

use crate::cloud::{Cloud, Machine};

/// Where the bridge has its sockets and mounts, in the node.
const PLACE: &str = "/run/bridge";

/// The bridge of an instance.
struct Bridge {
    // Dropped in this order.
    _process: Process,
    _forward: Daemon,
    base: PathBuf,
}

impl Bridge {
    async fn start(machine: &Machine) -> Self {
        let (node, base) = (&machine.node, machine.node.directory());
        let config = base.join("bridge.yaml");
        let keys = format!(
            // No master answers: what EC2 says is all that is known.
            "bridge:\n  state: {}\n  mounts: {PLACE}/mounts\n  docker-socket: {PLACE}/plugins/hawser.sock\n  \
             isolator-socket: {PLACE}/isolator.sock\n  mesos-master: [\"http://127.0.0.1:9\"]\n  takeover: backend-dead\n  wait-for-holder: 1s\n  grace: 1s\n",
            base.join("state").display()
        );
        std::fs::write(&config, format!("{}{keys}", machine.config)).unwrap();
        node.shell(&format!("mkdir -p {PLACE}"));
        let socket = base.join("isolator.sock");
        let forward = node.forward(&Path::new(PLACE).join("isolator.sock"), &socket);
        let mut command = machine.command();
        command.args(["bridge", "--node-id", &machine.instance, "--config"]).arg(&config);
        let mut process = Process::spawn(command, &socket, &base.join("bridge.log"));
        process.wait_until_it_answers().await;
        symlink(hawser(), base.join("dvdcli")).unwrap();
        Self { _process: process, _forward: forward, base }
    }

    /// What `dvdcli` says in the node.
    async fn dvdcli(&self, node: &Node, verb: &str, more: &[&str]) -> Output {
        let mut command = node.command(self.base.join("dvdcli"));
        command.args([verb, "--volumedriver=hawser", "--volumename=letters"]).args(more);
        command.env("HAWSER_PLUGIN_DIR", format!("{PLACE}/plugins"));
        Output::of(command).await
    }

    /// The takeovers that it has written down.
    fn takeovers(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.base.join("state/takeovers.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The power of an instance fails under its task. EC2 says for a while that it runs, and then that it is stopped, and still does not let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_taken_by_force_from_an_instance_that_is_stopped_and_from_none_that_runs() {
    let mut cloud = Cloud::new(2).await;
    let (holder, taker) = (cloud.machines.remove(0), cloud.machines.remove(0));
    let (a, b) = (Bridge::start(&holder).await, Bridge::start(&taker).await);
    let path = a.dvdcli(&holder.node, "mount", &["--volumeopts=size=1GiB"]).await.well();
    holder.node.shell(&format!("echo first > {path}/letter && sync {path}/letter && sync -f {path}"));
    let volume = cloud.ec2.world().volumes.keys().next().unwrap().clone();
    let refused = async || b.dvdcli(&taker.node, "mount", &[]).await.badly();
    let instance = holder.instance.clone();
    let is_alive = |message: &str| {
        notice(message);
        message.contains(&format!("instance {instance} is running"))
    };
    assert!(is_alive(&refused().await));
    // Its power fails, which EC2 has not noticed.
    holder.node.kill();
    let Machine { devices, plugin, .. } = holder;
    drop((plugin, devices));
    assert!(is_alive(&refused().await));
    cloud.ec2.world().put(&instance, "stopping");
    let message = refused().await;
    assert!(message.contains("is stopping and may still write"), "{message}");
    notice(&message);
    assert_eq!(cloud.ec2.asked().get("DetachVolume"), None, "it was taken from an instance that may live");
    assert!(b.takeovers().is_empty());

    // Off for certain. What was asked for gently it does not do.
    {
        let mut world = cloud.ec2.world();
        world.put(&instance, "stopped");
        world.stubborn.insert(instance.clone());
    }
    let path = b.dvdcli(&taker.node, "mount", &[]).await.well();
    assert_eq!(taker.node.shell(&format!("cat {path}/letter")), "first");
    let outcomes: Vec<Value> = b.takeovers();
    assert_eq!(outcomes.iter().map(|record| &record["outcome"]).collect::<Vec<_>>(), ["intended", "done"]);
    let done = &outcomes[1];
    assert_eq!((&done["grade"], &done["from"]["node"]), (&"backend-dead".into(), &instance.as_str().into()), "{done:#}");
    assert_eq!(done["to"]["node"], taker.instance.as_str(), "{done:#}");
    assert!(done["evidence"].to_string().contains(&format!("instance {instance} is stopped")), "{done:#}");
    assert_eq!(cloud.ec2.asked()["DetachVolume"], 2, "first gently, and then by force");
    let of = |id: &str| (volume.clone(), id.to_owned());
    assert_eq!(cloud.ec2.world().granted, [of(&instance), of(&taker.instance)]);

    // Nobody takes it from who has it now, and it is given back in order.
    b.dvdcli(&taker.node, "unmount", &[]).await.well();
    let free = || cloud.ec2.world().volumes[&volume].attachments.is_empty();
    until("the end of the attachment", || free().then_some(()));
    assert_eq!(cloud.ec2.asked()["DetachVolume"], 3);
}

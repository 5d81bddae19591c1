//! Kills the driver at every named step of every mutating call, and goes on as a CO would: once with the same call, and once, on
//! a new root, with the opposite ones. Nothing may be lost, doubled or left over.
//!
//! The steps are the program's own list (`hawser_host::step`), so a new one is tried because it is there; a step that no call of
//! the story reaches fails.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use hawser_host::step::Step;
use hawser_proto::csi;
use hawser_tests::binary::hawser_with_kill_points;
use hawser_tests::client::{POD, at_least, create_request, exactly, map, restore_request, text};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::until;
use hawser_tests::process::Process;
use hawser_tests::settings::Kind;
use hawser_tests::{Client, Context, MIB, Plugin, Settings, Usage};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::Signal;
use tonic::Status;

/// What mkfs.xfs needs, and a grown one. xfs grows without CAP_SYS_RESOURCE.
const SIZE: i64 = 320 * MIB;
const GROWN: i64 = 640 * MIB;

/// What the task writes, and must find again after every crash.
const LETTER: &[u8] = b"written before the crash";

/// The calls of the story, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Create,
    Attach,
    Stage,
    Publish,
    Expand,
    ExpandNode,
    Modify,
    Snapshot,
    Restore,
    DeleteRestored,
    Group,
    DeleteGroup,
    DeleteSnapshot,
    Unpublish,
    Unstage,
    Detach,
    Delete,
}

const STORY: [Call; 17] = [
    Call::Create,
    Call::Attach,
    Call::Stage,
    Call::Publish,
    Call::Expand,
    Call::ExpandNode,
    Call::Modify,
    Call::Snapshot,
    Call::Restore,
    Call::DeleteRestored,
    Call::Group,
    Call::DeleteGroup,
    Call::DeleteSnapshot,
    Call::Unpublish,
    Call::Unstage,
    Call::Detach,
    Call::Delete,
];

/// What the CO does after the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// The call that was cut off, and the rest of the story.
    Same,
    /// Everything is taken down from where it is.
    Opposite,
}

/// What the CO remembers.
#[derive(Debug, Default)]
struct Memory {
    volume: Option<csi::Volume>,
    context: Context,
    target: Option<PathBuf>,
    snapshot: Option<String>,
    restored: Option<csi::Volume>,
    group: Option<csi::VolumeGroupSnapshot>,
}

impl Memory {
    fn id(&self) -> String {
        self.volume.as_ref().unwrap().volume_id.clone()
    }
}

fn usage() -> Usage {
    Usage::mount().filesystem("xfs")
}

async fn perform(call: Call, client: &Client, memory: &mut Memory) -> Result<(), Status> {
    match call {
        Call::Create => memory.volume = Some(client.try_create(create_request("story", SIZE, &usage())).await?),
        Call::Attach => memory.context = client.attach(memory.volume.as_ref().unwrap(), &usage()).await?,
        Call::Stage => drop(client.stage(memory.volume.as_ref().unwrap(), &memory.context, &usage()).await?),
        Call::Publish => {
            let target = client.publish(memory.volume.as_ref().unwrap(), &memory.context, &usage(), POD).await?;
            let letter = target.join("letter");
            if !letter.exists() {
                fs::write(&letter, LETTER).unwrap();
                fs::File::open(&letter).unwrap().sync_all().unwrap();
            }
            memory.target = Some(target);
        }
        Call::Expand => drop(client.expand(&memory.id(), exactly(GROWN)).await?),
        Call::ExpandNode => {
            let target = memory.target.clone().unwrap();
            client.expand_here(&memory.id(), &target, &usage(), GROWN).await?;
        }
        Call::Modify => {
            let request = csi::ControllerModifyVolumeRequest {
                volume_id: memory.id(),
                mutable_parameters: map([("provisioning", "thick")]),
                ..Default::default()
            };
            client.controller().controller_modify_volume(request).await?;
        }
        Call::Snapshot => memory.snapshot = Some(client.snapshot("story-snapshot", &memory.id()).await?.snapshot_id),
        Call::Restore => {
            let request = restore_request("story-restored", GROWN, &usage(), memory.snapshot.as_ref().unwrap());
            memory.restored = Some(client.try_create(request).await?);
        }
        Call::DeleteRestored => client.delete(&memory.restored.as_ref().unwrap().volume_id).await?,
        Call::Group => {
            let request = csi::CreateVolumeGroupSnapshotRequest {
                name: "story-group".to_owned(),
                source_volume_ids: vec![memory.id()],
                ..Default::default()
            };
            let answer = client.groups().create_volume_group_snapshot(request).await?;
            memory.group = answer.into_inner().group_snapshot;
        }
        Call::DeleteGroup => {
            let group = memory.group.as_ref().unwrap();
            let request = csi::DeleteVolumeGroupSnapshotRequest {
                group_snapshot_id: group.group_snapshot_id.clone(),
                snapshot_ids: group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect(),
                ..Default::default()
            };
            client.groups().delete_volume_group_snapshot(request).await?;
        }
        Call::DeleteSnapshot => client.delete_snapshot(memory.snapshot.as_ref().unwrap()).await?,
        Call::Unpublish => client.unpublish(&memory.id(), POD).await?,
        Call::Unstage => client.unstage(&memory.id()).await?,
        Call::Detach => client.detach(&memory.id()).await?,
        Call::Delete => client.delete(&memory.id()).await?,
    }
    Ok(())
}

/// Takes down whatever there may be, in the order of a CO. What has no id yet is named by making it again.
async fn take_down(interrupted: Call, client: &Client, memory: &mut Memory) {
    if matches!(interrupted, Call::Create | Call::Snapshot | Call::Restore | Call::Group) {
        perform(interrupted, client, memory).await.unwrap();
    }
    for call in [Call::Unpublish, Call::Unstage, Call::Detach] {
        perform(call, client, memory).await.unwrap();
    }
    if memory.group.is_some() {
        perform(Call::DeleteGroup, client, memory).await.unwrap();
    }
    if memory.restored.is_some() {
        perform(Call::DeleteRestored, client, memory).await.unwrap();
    }
    if memory.snapshot.is_some() {
        perform(Call::DeleteSnapshot, client, memory).await.unwrap();
    }
    perform(Call::Delete, client, memory).await.unwrap();
}

/// The program that kills itself at `step`, in place of the plugin's first node.
async fn mined(plugin: &Plugin, step: Step) -> Process {
    plugin.kill(NODE_A).await;
    let socket = plugin.socket(NODE_A);
    let mut command = Command::new(hawser_with_kill_points());
    command.args(["serve", "all", "--node-id", NODE_A, "--config"]).arg(plugin.config());
    command.arg("--endpoint").arg(text(&socket)).env("HAWSER_KILL_AT", step.name());
    let mut process = Process::spawn(command, &socket, &plugin.workspace().join("mined.log"));
    process.wait_until_it_answers().await;
    process
}

async fn play(ground: &Path, step: Step, after: After) {
    let plugin = Plugin::start(ground, Settings::new(Kind::Image), usage()).await;
    let mut process = mined(&plugin, step).await;
    let client = plugin.a();
    let mut memory = Memory::default();
    let mut interrupted = None;
    for (number, call) in STORY.into_iter().enumerate() {
        if let Err(status) = perform(call, &client, &mut memory).await {
            let end = process.wait();
            assert_eq!(
                end.signal(),
                Some(Signal::KILL.as_raw()),
                "{call:?} failed without a crash: {status}\n{}",
                process.tail()
            );
            interrupted = Some(number);
            break;
        }
    }
    let interrupted = interrupted.unwrap_or_else(|| panic!("no call of the story reaches the step {}", step.name()));
    drop(process);
    let client = plugin.restart().await;
    match after {
        After::Same => {
            for call in &STORY[interrupted..] {
                if *call == Call::Unpublish {
                    // Whatever was in its way, the letter is there, and another can be written.
                    let target = client.target(POD, &memory.id());
                    if target.exists() && interrupted < STORY.len() - 4 {
                        assert_eq!(fs::read(target.join("letter")).unwrap(), LETTER);
                        fs::write(target.join("second"), LETTER).unwrap();
                    }
                }
                perform(*call, &client, &mut memory).await.unwrap_or_else(|status| panic!("{call:?} again: {status}"));
            }
        }
        After::Opposite => take_down(STORY[interrupted], &client, &mut memory).await,
    }
    assert!(client.volumes().await.is_empty());
    assert_eq!(client.expand("local:0", at_least(1)).await.unwrap_err().code(), tonic::Code::NotFound);
    // What was in the making is swept beside the server.
    until("the sweep", || plugin.leftovers().is_empty().then_some(()));
    plugin.finish().await;
}

fn run(ground: &Path, step: Step, after: After) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(ground, step, after))));
    result.map_err(|panic| {
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Failed::from(text.unwrap_or_else(|| "panicked".to_owned()))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let footing = (!arguments.list).then(|| Footing::of(Ground::Xfs));
    let ground = footing.as_ref().map(|footing| footing.path().to_owned()).unwrap_or_default();
    let mut trials = Vec::new();
    for step in Step::ALL {
        for (after, name) in [(After::Same, "same"), (After::Opposite, "opposite")] {
            let ground = ground.clone();
            trials.push(Trial::test(format!("{}::{name}", step.name()), move || run(&ground, *step, after)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(footing);
    conclusion.exit_code()
}

//! Kills the driver at every named step of every mutating call, and goes on as a CO would: once with the same call, and once, on
//! a new root, with the opposite ones. Nothing may be lost, doubled or left over.
//!
//! The steps are the program's own list (`hawser_host::step`), so a new one is tried because it is there; a step that no call of
//! the story reaches fails. Where a storage system does what is asked of it by requests, there are two more moments of each: it has
//! come, and it is done and nobody has heard of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use hawser_host::step::Step;
use hawser_tests::binary::hawser_with_faults;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::until;
use hawser_tests::process::Process;
use hawser_tests::rig::inside;
use hawser_tests::settings::Kind;
use hawser_tests::storage::Moment;
use hawser_tests::story::{After, Memory, Story};
use hawser_tests::{Plugin, Settings, remote, trial};
use libtest_mimic::{Arguments, Trial};
use rustix::process::Signal;

/// How long one story may take before it counts as a hang.
const STORY_MAX: Duration = Duration::from_secs(300);

/// When the driver is killed.
#[derive(Debug, Clone, Copy)]
enum Mine {
    /// At a step of its own.
    Step(Step),
    /// At a request to its storage system.
    Request(&'static str, Moment),
}

impl Mine {
    fn name(self) -> String {
        match self {
            Mine::Step(step) => step.name().to_owned(),
            Mine::Request(action, Moment::Asked) => format!("{action}-asked"),
            Mine::Request(action, Moment::Done) => format!("{action}-done"),
        }
    }
}

/// The program that is killed at `mine`, in place of the plugin's first node.
async fn mined(plugin: &Plugin, mine: Mine) -> Process {
    plugin.kill(NODE_A).await;
    let mut command = Command::new(hawser_with_faults());
    if let Mine::Step(step) = mine {
        command.env("HAWSER_KILL_AT", step.name());
    }
    let process = plugin.process(command, NODE_A, &plugin.workspace().join("mined.log")).await;
    if let Mine::Request(action, moment) = mine {
        plugin.storage().kill_at(action, moment, process.id());
    }
    process
}

async fn play(plugin: &Plugin, story: &Story, mine: Mine, after: After) {
    let mut process = mined(plugin, mine).await;
    let client = plugin.a();
    let mut memory = Memory::new(story);
    let mut interrupted = None;
    for (number, call) in story.calls.iter().enumerate() {
        if let Err(status) = memory.perform(*call, &client).await {
            until(&format!("the crash by which {call:?} failed ({status})"), || process.has_ended().then_some(()));
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
    let interrupted = interrupted.unwrap_or_else(|| panic!("no call of the story comes to {}", mine.name()));
    drop(process);
    let client = plugin.restart().await;
    match after {
        After::Same => memory.go_on(interrupted, &client).await,
        After::Opposite => memory.take_down(story.calls[interrupted], &client).await,
    }
    assert!(client.volumes().await.is_empty());
    // What was in the making is swept beside the server; what may be another controller's only when it is old.
    if plugin.age() {
        plugin.restart().await;
    }
    until("the sweep", || plugin.leftovers().is_empty().then_some(()));
    plugin.finish().await;
}

/// The steps of volumes below an export.
const OF_EXPORTS: &[Step] = &[Step::PathClaimed, Step::ContentMoved, Step::LeavingRecorded, Step::ClaimReleased];

/// The steps of pools and exports, which record what there is themselves.
const OF_RECORDS: &[Step] = &[
    Step::DraftMade,
    Step::VolumeFilled,
    Step::VolumeRecorded,
    Step::ObjectPlaced,
    Step::ObjectTrashed,
    Step::AttachmentRecorded,
    Step::DetachmentRecorded,
    Step::VolumeTaken,
    Step::VolumeGivenBack,
    Step::SnapshotCut,
];

/// The steps of pools of images.
const OF_IMAGES: &[Step] =
    &[Step::DeviceFreed, Step::ImageGrown, Step::PropertyChanged, Step::GroupStill, Step::MembersPlaced, Step::MembersRemoved];

/// The steps of volumes that are devices.
const OF_DEVICES: &[Step] = &[
    Step::FilesystemMade,
    Step::DeviceMarked,
    Step::DevicePartlyFilled,
    Step::DeviceFilled,
    Step::FilesystemFinished,
    Step::DeviceGrown,
];

/// What EC2 is asked to change.
const OF_EC2: &[&str] =
    &["CreateVolume", "AttachVolume", "ModifyVolume", "CreateSnapshot", "DeleteSnapshot", "DetachVolume", "DeleteVolume"];

/// What an array of ScaleIO is asked to change.
const OF_SCALEIO: &[&str] = &[
    "createVolume",
    "addMappedSdc",
    "setVolumeSize",
    "snapshotVolumes",
    "removeConsistencyGroupSnapshots",
    "removeMappedSdc",
    "removeVolume",
];

/// What is tried.
struct Tried {
    /// What the names of its trials begin with.
    prefix: &'static str,
    kind: Kind,
    ground: Ground,
    /// The steps that it never comes to.
    lacks: &'static [&'static [Step]],
    /// What its storage system is asked to change.
    requests: &'static [&'static str],
}

const TRIED: [Tried; 4] = [
    Tried { prefix: "", kind: Kind::Image, ground: Ground::Xfs, lacks: &[OF_EXPORTS], requests: &[] },
    Tried { prefix: "nfs::", kind: Kind::Nfs, ground: Ground::Nfs, lacks: &[OF_IMAGES, OF_DEVICES], requests: &[] },
    Tried {
        prefix: "ebs::",
        kind: Kind::Ebs,
        ground: Ground::Devices,
        lacks: &[OF_EXPORTS, OF_RECORDS, OF_IMAGES],
        requests: OF_EC2,
    },
    Tried {
        prefix: "scaleio::",
        kind: Kind::ScaleIo,
        ground: Ground::Devices,
        lacks: &[OF_EXPORTS, OF_RECORDS, OF_IMAGES],
        requests: OF_SCALEIO,
    },
];

impl Tried {
    fn mines(&self) -> Vec<Mine> {
        let steps = Step::ALL.iter().filter(|step| !self.lacks.iter().any(|lacks| lacks.contains(step)));
        let moments = [Moment::Asked, Moment::Done];
        let requests = self.requests.iter().flat_map(|action| moments.map(|moment| Mine::Request(action, moment)));
        steps.map(|step| Mine::Step(*step)).chain(requests).collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    trial::keep_panics();
    let mut footings = Vec::new();
    let mut trials = Vec::new();
    for tried in TRIED {
        let (prefix, kind, ground) = (tried.prefix, tried.kind, tried.ground);
        if !arguments.list && !remote::is_of_this_side(ground) {
            continue;
        }
        let footing = (!arguments.list).then(|| Footing::of(ground));
        let place = footing.as_ref().map(|footing| footing.path().to_owned()).unwrap_or_default();
        footings.push(footing);
        for (number, mine) in tried.mines().into_iter().enumerate() {
            // What takes a moment here takes seconds in a node: there each moment is gone on from in one of the ways, unless it is named.
            let is_every = !inside::is_inside() || arguments.filter.is_some();
            for (_, (after, name)) in After::ALL.into_iter().enumerate().filter(|(way, _)| is_every || number % 2 == *way) {
                let place = place.clone();
                trials.push(Trial::test(format!("{prefix}{}::{name}", mine.name()), move || {
                    let story = Story::of(kind);
                    let start = Plugin::start(&place, Settings::new(kind), story.usage());
                    trial::run(STORY_MAX, start, async |plugin| play(plugin, &story, mine, after).await)
                }));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, remote::share(trials));
    drop(footings);
    if conclusion.has_failed() || arguments.list {
        return conclusion.exit_code();
    }
    remote::too(&arguments, &[("nfs", Ground::Nfs), ("ebs", Ground::Devices), ("scaleio", Ground::Devices)])
}

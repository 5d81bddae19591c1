//! Kills the driver at every named step of every mutating call, and goes on as a CO would: once with the same call, and once, on
//! a new root, with the opposite ones. Nothing may be lost, doubled or left over.
//!
//! The steps are the program's own list (`hawser_host::step`), so a new one is tried because it is there; a step that no call of
//! the story reaches fails.

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
use hawser_tests::settings::Kind;
use hawser_tests::story::{After, Memory, Story};
use hawser_tests::{Plugin, Settings, remote, trial};
use libtest_mimic::{Arguments, Trial};
use rustix::process::Signal;

/// How long one story may take before it counts as a hang.
const STORY_MAX: Duration = Duration::from_secs(120);

/// The program that kills itself at `step`, in place of the plugin's first node.
async fn mined(plugin: &Plugin, step: Step) -> Process {
    plugin.kill(NODE_A).await;
    let mut command = Command::new(hawser_with_faults());
    command.env("HAWSER_KILL_AT", step.name());
    let log = plugin.workspace().join("mined.log");
    Process::serve(command, &plugin.config(), NODE_A, &plugin.socket(NODE_A), &log, "info").await
}

async fn play(plugin: &Plugin, story: &Story, step: Step, after: After) {
    let mut process = mined(plugin, step).await;
    let client = plugin.a();
    let mut memory = Memory::new(story);
    let mut interrupted = None;
    for (number, call) in story.calls.iter().enumerate() {
        if let Err(status) = memory.perform(*call, &client).await {
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
        After::Same => memory.go_on(interrupted, &client).await,
        After::Opposite => memory.take_down(story.calls[interrupted], &client).await,
    }
    assert!(client.volumes().await.is_empty());
    // What was in the making is swept beside the server.
    until("the sweep", || plugin.leftovers().is_empty().then_some(()));
    plugin.finish().await;
}

/// The steps of volumes below an export, which no image ever comes to.
const OF_EXPORTS: &[Step] = &[Step::PathClaimed, Step::ContentMoved, Step::LeavingRecorded, Step::ClaimReleased];

/// The steps of volumes that are devices, and of what only they can.
const OF_IMAGES: &[Step] = &[
    Step::DeviceFreed,
    Step::ImageGrown,
    Step::PropertyChanged,
    Step::GroupStill,
    Step::MembersPlaced,
    Step::MembersRemoved,
    Step::FilesystemMade,
    Step::DeviceMarked,
    Step::DevicePartlyFilled,
    Step::DeviceFilled,
    Step::FilesystemFinished,
    Step::DeviceGrown,
];

/// What is tried: a name that its trials begin with, what the volumes are, where, and the steps that it never comes to.
const TRIED: [(&str, Kind, Ground, &[Step]); 2] =
    [("", Kind::Image, Ground::Xfs, OF_EXPORTS), ("nfs::", Kind::Nfs, Ground::Nfs, OF_IMAGES)];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    trial::keep_panics();
    let mut footings = Vec::new();
    let mut trials = Vec::new();
    for (prefix, kind, ground, others) in TRIED {
        if !arguments.list && !remote::is_of_this_side(ground) {
            continue;
        }
        let footing = (!arguments.list).then(|| Footing::of(ground));
        let place = footing.as_ref().map(|footing| footing.path().to_owned()).unwrap_or_default();
        footings.push(footing);
        for step in Step::ALL.iter().filter(|step| !others.contains(step)) {
            for (after, name) in After::ALL {
                let place = place.clone();
                trials.push(Trial::test(format!("{prefix}{}::{name}", step.name()), move || {
                    let story = Story::of(kind);
                    let start = Plugin::start(&place, Settings::new(kind), story.usage());
                    trial::run(STORY_MAX, start, async |plugin| play(plugin, &story, *step, after).await)
                }));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, remote::share(trials));
    drop(footings);
    if conclusion.has_failed() || arguments.list {
        return conclusion.exit_code();
    }
    remote::too(&arguments, "nfs")
}

//! A plugin that is killed between any two steps, and a machine whose power fails: the same call finishes what was begun.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use hawser_host::step::Step;
use hawser_tests::Usage;
use hawser_tests::client::POD;
use rustix::process::Signal;

use crate::world::{GIB, World};

/// The steps of the node's side that bring a volume up, in their order.
const UP: [Step; 9] = [
    Step::DeviceAttached,
    Step::FilesystemMade,
    Step::DeviceMarked,
    Step::DevicePartlyFilled,
    Step::DeviceFilled,
    Step::FilesystemFinished,
    Step::StagingMounted,
    Step::TargetMade,
    Step::TargetMounted,
];

/// And those that take it down.
const DOWN: [Step; 2] = [Step::TargetUnmounted, Step::StagingUnmounted];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished_by_the_next_process() {
    let mut world = World::idle().await;
    let usage = Usage::mount();
    for (number, step) in (1..).zip(UP.into_iter().chain(DOWN)) {
        let volume = world.volume(number, GIB);
        world.attach(&volume);
        let is_up = UP.contains(&step);
        if !is_up {
            world.serve(None).await;
            world.up(&volume, &usage).await.unwrap();
        }
        world.serve(Some(step)).await;
        if is_up {
            world.up(&volume, &usage).await.unwrap_err();
        } else {
            world.down(&volume).await.unwrap_err();
        }
        let ended = world.plugin().wait();
        assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "{}: {}", step.name(), world.plugin().tail());
        world.serve(None).await;
        // Down from there, as a CO that gives up does; and up again.
        if number % 2 == 0 {
            world.down(&volume).await.unwrap_or_else(|status| panic!("{}: {status}", step.name()));
            assert_eq!(world.mounts(), "", "{}", step.name());
        }
        world.up(&volume, &usage).await.unwrap_or_else(|status| panic!("{}: {status}", step.name()));
        let target = world.client().target(POD, &volume.handle);
        world.node.shell(&format!("echo {number} > {0}/letter; sync {0}/letter", target.display()));
        world.down(&volume).await.unwrap();
        assert_eq!(world.mounts(), "", "{}", step.name());
        world.detach(&volume);
    }
}

/// Everything in memory is gone: mounts, notes, the device itself, until EC2 shows it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_failure_costs_nothing_that_was_synced() {
    let mut world = World::idle().await;
    let usage = Usage::mount();
    for (number, step) in [(1, Step::DevicePartlyFilled), (2, Step::FilesystemFinished), (3, Step::TargetMounted)] {
        let volume = world.volume(number, GIB);
        world.attach(&volume);
        world.serve(Some(step)).await;
        world.up(&volume, &usage).await.unwrap_err();
        world.power_fails();
        world.attach(&volume);
        world.serve(None).await;
        world.up(&volume, &usage).await.unwrap_or_else(|status| panic!("{}: {status}", step.name()));
        let target = world.client().target(POD, &volume.handle);
        world.node.shell(&format!("echo {number} > {0}/letter; sync {0}/letter", target.display()));
        world.power_fails();
        world.attach(&volume);
        world.serve(None).await;
        let path = world.stage(&volume, &usage, Duration::from_secs(50)).await.unwrap();
        assert_eq!(world.node.shell(&format!("cat {}/letter", path.display())), number.to_string());
        world.down(&volume).await.unwrap();
        world.detach(&volume);
    }
}

//! A machine whose power fails between two steps: the same call finishes what was begun. A plugin that is killed there is tried by the suite
//! `crash`.

use std::time::Duration;

use hawser_host::step::Step;
use hawser_tests::Usage;
use hawser_tests::client::POD;

use crate::world::{GIB, World};

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

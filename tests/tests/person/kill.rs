//! A command that is killed between any two steps leaves what the same command finishes, and its opposite undoes.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use hawser_tests::binary::hawser_with_faults;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::{loops_below, mount_at, mounts_below};
use rustix::process::Signal;

use crate::hand::Hand;
use crate::verbs::plugin;

/// Where `mount` and `unmount` are killed.
const MOUNT: [&str; 4] = ["recorded", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume"];
const UNMOUNT: [&str; 4] = ["NodeUnpublishVolume", "put-back", "NodeUnstageVolume", "ControllerUnpublishVolume"];

fn kill_at(hand: &Hand, step: &str, arguments: &[&str]) {
    let output = hand.command(arguments).env("HAWSER_KILL_COMMAND_AT", step).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{step}: it was not killed: {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_any_two_steps_leaves_what_can_be_finished_and_undone() {
    let footing = Footing::of(Ground::Xfs);
    let (plugin, hand) = plugin(&footing).await;
    let hand = hand.with(hawser_with_faults());
    let id = hand.does(&["volume", "create", "pgdata", "--size", "16MiB"]);
    let place = plugin.workspace().join("data");
    // It was there before, so it has to be there afterwards.
    fs::create_dir(&place).unwrap();
    let path = place.to_str().unwrap();
    let (mount, unmount) = (["volume", "mount", "pgdata", path], ["volume", "unmount", "pgdata"]);
    let a = plugin.a();
    let assert_gone = async |when: &str| {
        assert!(mounts_below(plugin.workspace()).is_empty() && loops_below(plugin.root()).is_empty(), "{when}");
        assert!(a.holders(&id).await.is_empty(), "{when}: still attached");
        assert!(place.is_dir() && fs::read_dir(&place).unwrap().next().is_none(), "{when}: {path} is not as it was");
        let left: Vec<_> = fs::read_dir(hand.state()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"], "{when}");
    };
    let assert_mounted = |when: &str| {
        assert!(mount_at(&place).is_some(), "{when}: nothing is mounted");
        fs::write(place.join("letter"), when).unwrap();
    };
    for step in MOUNT {
        kill_at(&hand, step, &mount);
        hand.does(&mount);
        assert_mounted(step);
        hand.does(&unmount);
        assert_gone(&format!("mount killed at {step}, finished, unmounted")).await;
        kill_at(&hand, step, &mount);
        hand.does(&unmount);
        assert_gone(&format!("mount killed at {step}, unmounted")).await;
    }
    for step in UNMOUNT {
        hand.does(&mount);
        kill_at(&hand, step, &unmount);
        hand.does(&unmount);
        assert_gone(&format!("unmount killed at {step}, finished")).await;
        hand.does(&mount);
        kill_at(&hand, step, &unmount);
        hand.does(&mount);
        assert_mounted(step);
        hand.does(&["volume", "unmount", path]);
        assert_gone(&format!("unmount killed at {step}, mounted again, unmounted")).await;
    }
    hand.does(&["volume", "rm", "pgdata"]);
    plugin.finish().await;
}

//! Wrong devices: never mounted, never formatted, and the user is told why.

use std::time::{Duration, Instant};

use hawser_tests::Usage;
use hawser_tests::faults::Fault;
use hawser_tests::notice::notice;
use hawser_tests::rig::{Given, Sdc};
use tonic::Code;

use crate::world::{GIB, GUID, SYSTEM, World, context};

/// How long a refusal is waited for where the device does not come.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(50);

/// A volume that is nowhere.
const OTHER: &str = "14dbbf5617523654-afffffffffffffff";
const IS_ANOTHER: [&str; 2] =
    ["is disk 14dbbf5617523654-afffffffffffffff, and 14dbbf5617523654-a000000000000001 was looked for", "it is left as it is"];

/// Links of udev may be those of a mapping that was, and may lead to each other's disks.
#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_stale_or_swapped_lead_nowhere() {
    let world = World::new().await;
    let (wanted, other) = (world.volume(1, GIB), world.volume(2, GIB));
    let wrong = world.map(&other);
    let link = |native: &str, disk: &str| {
        let link = format!("/dev/disk/by-id/emc-vol-{native}");
        world.node.shell(&format!("mkdir -p /dev/disk/by-id; ln -sfn {disk} {link}; ln -sfn {disk} {link}-part1"));
    };
    link(&wanted.native, wrong.to_str().unwrap());
    let began = Instant::now();
    for usage in [Usage::mount(), Usage::block()] {
        let result = world.stage(&wanted, &usage, SHORT).await;
        world.refused(
            result,
            Code::Unavailable,
            &[&wanted.native, "the SDC has made no disk of it within", "drv_cfg --query_vols"],
        );
    }
    assert!(began.elapsed() < 2 * SHORT + Duration::from_secs(10));
    assert!(other.is_untouched());
    // With the right disk beside it, that is taken and the links are not, wherever they lead.
    let right = world.map(&wanted);
    link(&other.native, right.to_str().unwrap());
    let path = world.staged(&wanted, &Usage::mount()).await;
    world.node.shell(&format!("echo letter > {}/letter; sync {}/letter", path.display(), path.display()));
    assert!(world.mounts().contains(right.to_str().unwrap()), "{}", world.mounts());
    assert!(other.is_untouched() && !wanted.is_untouched());
    world.client().unstage(&wanted.handle).await.unwrap();
    for nowhere in ["/dev/null", "/dev/scinix", "../../scinib", "/etc"] {
        link(&wanted.native, nowhere);
        world.staged(&wanted, &Usage::mount()).await;
        world.client().unstage(&wanted.handle).await.unwrap();
    }
    assert!(other.is_untouched());
    assert_eq!(world.mounts(), "");
}

/// Somebody, or a container's own `/dev`, has the nodes of two disks the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_swapped_are_not_used() {
    let world = World::new().await;
    let (one, two) = (world.volume(1, GIB), world.volume(2, GIB));
    let (a, b) = (world.map(&one), world.map(&two));
    let (a, b) = (a.display(), b.display());
    world.node.shell(&format!("mv {a} /dev/x; mv {b} {a}; mv /dev/x {b}"));
    for volume in [&one, &two] {
        for usage in [Usage::mount(), Usage::block()] {
            let result = world.stage(volume, &usage, LONG).await;
            world.refused(result, Code::FailedPrecondition, &["the node is wrong; remove it"]);
        }
    }
    assert!(one.is_untouched() && two.is_untouched());
    // One that is missing is made.
    world.node.shell(&format!("rm {a} {b}"));
    world.staged(&one, &Usage::mount()).await;
    assert!(!one.is_untouched() && two.is_untouched());
    world.client().unstage(&one.handle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_late_is_waited_for() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    let (usage, late) = (Usage::mount(), Duration::from_secs(2));
    let map = async {
        tokio::time::sleep(late).await;
        tokio::task::block_in_place(|| world.map(&volume));
        Instant::now()
    };
    let stage = async {
        let path = world.staged(&volume, &usage).await;
        (path, Instant::now())
    };
    let (mapped, (path, staged)) = tokio::join!(map, stage);
    notice(&format!("staged (with mkfs) {} ms after it was mapped", staged.saturating_duration_since(mapped).as_millis()));
    world.node.shell(&format!("mountpoint -q {}", path.display()));
    world.client().unstage(&volume.handle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_smaller_than_its_volume_is_left_as_it_is() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    world.map(&volume);
    let larger = Given { context: context("a000000000000001", GUID, 2 * GIB), ..volume.given.clone() };
    for usage in [Usage::mount(), Usage::block()] {
        let result = world.stage(&larger, &usage, LONG).await;
        world.refused(result, Code::Unavailable, &["has 2GiB on the array and 1GiB on this node", "left as it is"]);
    }
    assert!(volume.is_untouched());
    // The array had grown it, and the SDC has not looked yet. One that is larger than the controller said has grown since.
    world.node.grow_unseen(&volume.file, 3 * GIB);
    world.staged(&larger, &Usage::mount()).await;
    world.client().unstage(&volume.handle).await.unwrap();
}

/// What the CO passes on is of another volume, or of another node's SDC.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_to_another_is_refused() {
    let world = World::new().await;
    let (one, two) = (world.volume(1, GIB), world.volume(2, GIB));
    world.map(&one);
    world.map(&two);
    let wrong = Given { context: two.context.clone(), ..one.given.clone() };
    let result = world.stage(&wrong, &Usage::mount(), LONG).await;
    world.refused(result, Code::InvalidArgument, &[&one.native, &two.native]);
    let elsewhere = "0C05CA60-7A4F-4F9B-8A2B-000000000001";
    let wrong = Given { context: context("a000000000000001", elsewhere, GIB), ..one.given.clone() };
    let result = world.stage(&wrong, &Usage::mount(), LONG).await;
    world.refused(result, Code::FailedPrecondition, &[elsewhere, GUID, "correct its name"]);
    assert!(one.is_untouched() && two.is_untouched());
    // One that was lost costs nothing.
    let lost = Given { context: Default::default(), ..one.given.clone() };
    world.staged(&lost, &Usage::mount()).await;
    world.client().unstage(&one.handle).await.unwrap();
    let never = Given { handle: format!("sio:{SYSTEM}-../../sda"), ..lost };
    let code = world.stage(&never, &Usage::mount(), LONG).await.unwrap_err().code();
    assert!(matches!(code, Code::NotFound | Code::InvalidArgument), "{code:?}");
}

/// Between the moment in which the device was opened and that in which it would be formatted or mounted, it goes and another comes, with
/// its name and its number.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_goes_under_the_hands_is_neither_formatted_nor_mounted() {
    let world = World::with_faults().await;
    let mut faults = world.faults();
    for (number, call, usage) in
        [(1, "host.format", Usage::mount()), (2, "host.mount", Usage::mount()), (3, "host.bind_device", Usage::block())]
    {
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        let disk = world.map(&volume);
        faults.arm_at(call, Fault::Hold);
        let stage = world.stage(&volume, &usage, LONG);
        let meanwhile = async {
            tokio::task::block_in_place(|| {
                faults.wait_until_struck();
                world.unmap(&volume);
                let came = world.map(&other);
                faults.disarm();
                came
            })
        };
        let (result, came) = tokio::join!(stage, meanwhile);
        assert_eq!(came, disk, "the worst case is that it has the same name");
        let before = volume.beginning();
        world.refused(result, Code::Unavailable, &["the device is gone, it has been detached"]);
        assert!(other.is_untouched(), "{call}");
        assert_eq!(volume.beginning(), before, "{call}");
        // Nothing is left, and when it is mapped again it is staged.
        world.unmap(&other);
        world.client().unstage(&volume.handle).await.unwrap();
        world.map(&volume);
        world.staged(&volume, &usage).await;
        world.client().unstage(&volume.handle).await.unwrap();
        world.unmap(&volume);
    }
}

/// It was the right one when it was opened, and the driver says another one when it is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_becomes_another_one_is_left_as_it_is() {
    let world = World::with_faults().await;
    let mut faults = world.faults();
    let volume = world.volume(1, GIB);
    world.map(&volume);
    for (call, usage) in [("host.format", Usage::mount()), ("host.mount", Usage::mount()), ("host.bind_device", Usage::block())] {
        faults.arm_at(call, Fault::Hold);
        let stage = world.stage(&volume, &usage, LONG);
        let meanwhile = async {
            tokio::task::block_in_place(|| {
                faults.wait_until_struck();
                world.node.call_volume(&volume.native, OTHER);
                let before = volume.beginning();
                faults.disarm();
                before
            })
        };
        let (result, before) = tokio::join!(stage, meanwhile);
        world.refused(result, Code::FailedPrecondition, &IS_ANOTHER);
        assert_eq!(volume.beginning(), before, "{call}");
        world.node.call_volume(OTHER, &volume.native);
    }
    world.staged(&volume, &Usage::mount()).await;
    world.client().unstage(&volume.handle).await.unwrap();
}

/// Whether a disk is the volume cannot be known when the driver does not say: that is no "no", and no "yes".
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_does_not_say_is_not_guessed_at() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    world.map(&volume);
    let drv_cfg = "/opt/emc/scaleio/sdc/bin/drv_cfg";
    world.node.shell(&format!("mv {drv_cfg} /run/drv_cfg"));
    for (script, words) in [
        ("echo 'Failed to query the device'; exit 1", "does not tell which volume /dev/scinia is (exit code 1)"),
        ("echo 'Failed to query the device'", "which is no volume"),
        ("sleep 100", "did not end in time"),
    ] {
        world.node.shell(&format!("printf '#!/bin/sh\\n{}\\n' > {drv_cfg}; chmod +x {drv_cfg}", script.replace('\'', "\"")));
        let result = world.stage(&volume, &Usage::mount(), LONG).await;
        world.refused(result, Code::Unavailable, &[words]);
    }
    assert!(volume.is_untouched());
    world.node.shell(&format!("mv /run/drv_cfg {drv_cfg}"));
    world.staged(&volume, &Usage::mount()).await;
    world.client().unstage(&volume.handle).await.unwrap();
}

/// multipathd takes what it is not told to leave alone, and writes by two ways follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_multipathd_has_taken_is_refused() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    let disk = world.map(&volume);
    // What multipathd does: a table of its target over the disk, under a uuid of its own.
    world.node.shell(&format!(
        "modprobe --all dm-mod dm-multipath dm-service-time; dmsetup create mpatha --uuid mpath-{} \
         --table '0 2097152 multipath 2 queue_mode bio 0 1 1 service-time 0 1 1 {} 1'",
        volume.native,
        disk.display()
    ));
    for usage in [Usage::mount(), Usage::block()] {
        let result = world.stage(&volume, &usage, LONG).await;
        world.refused(
            result,
            Code::FailedPrecondition,
            &["multipathd has taken /dev/scinia (mpatha)", "devnode \"^scini\"", "multipath -f mpatha"],
        );
    }
    assert!(volume.is_untouched());
    world.node.shell("dmsetup remove mpatha");
    world.staged(&volume, &Usage::mount()).await;
    world.client().unstage(&volume.handle).await.unwrap();
}

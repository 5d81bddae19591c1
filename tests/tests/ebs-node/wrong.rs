//! Wrong devices: never mounted, never formatted, and the user is told why.

use std::time::{Duration, Instant};

use hawser_tests::Usage;
use hawser_tests::faults::Fault;
use hawser_tests::notice::notice;
use hawser_tests::rig::Nvme;
use tonic::Code;

use crate::world::{GIB, NAME, World};

/// How long a refusal is waited for where the device does not come.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(50);

/// What a device says that is not the one that was looked for, and how that is put.
const OTHER: &str = "vol0fedcba9876543210";
const IS_ANOTHER: [&str; 2] = ["is disk vol0fedcba9876543210, and vol00000000000000001 was looked for", "it is left as it is"];

/// Links of udev may be those of an attachment that was, and so may be links under the name that EC2 was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_stale_lead_nowhere() {
    let world = World::new().await;
    let (wanted, other) = (world.volume(1, GIB), world.volume(2, GIB));
    let wrong = world.attach(&other);
    let wrong = wrong.display();
    let link = format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{}", wanted.serial);
    world.node.shell(&format!("mkdir -p /dev/disk/by-id; ln -s {wrong} {link}; ln -s {wrong} {NAME}"));
    let began = Instant::now();
    let result = world.stage(&wanted, &Usage::mount(), SHORT).await;
    world.refused(result, Code::Unavailable, &[&wanted.id, NAME, &wanted.serial]);
    assert!(began.elapsed() < SHORT + Duration::from_secs(10));
    let result = world.stage(&wanted, &Usage::block(), SHORT).await;
    world.refused(result, Code::Unavailable, &[&wanted.serial]);
    assert!(other.is_untouched());
    // With the right device beside it, that is taken and the links are not.
    let right = world.attach(&wanted);
    let path = world.staged(&wanted, &Usage::mount()).await;
    world.node.shell(&format!("echo letter > {}/letter; sync {}/letter", path.display(), path.display()));
    assert!(world.mounts().contains(right.to_str().unwrap()), "{}", world.mounts());
    assert!(other.is_untouched() && !wanted.is_untouched());
    world.client().unstage(&wanted.handle).await.unwrap();
    assert_eq!(world.mounts(), "");
}

/// Somebody, or a container's own `/dev`, has the nodes of two devices the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_swapped_are_not_used() {
    let world = World::new().await;
    let (one, two) = (world.volume(1, GIB), world.volume(2, GIB));
    let (a, b) = (world.attach(&one), world.attach(&two));
    let (a, b) = (a.display(), b.display());
    world.node.shell(&format!("mv {a} /dev/x; mv {b} {a}; mv /dev/x {b}"));
    for volume in [&one, &two] {
        let result = world.stage(volume, &Usage::mount(), LONG).await;
        world.refused(result, Code::FailedPrecondition, &["the node is wrong; remove it", &volume.serial]);
        let result = world.stage(volume, &Usage::block(), LONG).await;
        world.refused(result, Code::FailedPrecondition, &["the node is wrong; remove it"]);
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
    let attach = async {
        tokio::time::sleep(late).await;
        tokio::task::block_in_place(|| world.attach(&volume));
        Instant::now()
    };
    let stage = async {
        let path = world.staged(&volume, &usage).await;
        (path, Instant::now())
    };
    let (attached, (path, staged)) = tokio::join!(attach, stage);
    notice(&format!("staged (with mkfs) {} ms after it was attached", staged.saturating_duration_since(attached).as_millis()));
    world.node.shell(&format!("mountpoint -q {}", path.display()));
    world.client().unstage(&volume.handle).await.unwrap();
}

/// Ephemeral storage, another vendor's device, another namespace: only EC2's own say what this number means.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_number_on_another_kind_of_device_is_wrong() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    world.node.plug_as(&volume.file, &volume.serial, "Amazon EC2 NVMe Instance Storage", "ephemeral");
    let result = world.stage(&volume, &Usage::mount(), SHORT).await;
    world.refused(result, Code::Unavailable, &[&volume.serial]);
    assert!(volume.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_say_the_same_none_is_used() {
    let world = World::new().await;
    let (one, two) = (world.volume(1, GIB), world.volume(2, GIB));
    world.attach(&one);
    world.node.plug_as(&two.file, &one.serial, "Amazon Elastic Block Store", "twin");
    let result = world.stage(&one, &Usage::mount(), LONG).await;
    world.refused(result, Code::FailedPrecondition, &["both say that they are disk", &one.serial]);
    assert!(one.is_untouched() && two.is_untouched());
}

/// What the CO passes on is of another volume.
#[tokio::test(flavor = "multi_thread")]
async fn the_context_of_another_volume_is_refused() {
    let world = World::new().await;
    let (one, two) = (world.volume(1, GIB), world.volume(2, GIB));
    world.attach(&one);
    world.attach(&two);
    let client = world.client();
    let status = client.stage(&one.csi(), &two.context, &Usage::mount()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains(&two.id) && status.message().contains(&one.id), "{status}");
    assert!(one.is_untouched() && two.is_untouched());
    // One that was lost costs nothing here.
    client.stage(&one.csi(), &Default::default(), &Usage::mount()).await.unwrap();
    client.unstage(&one.handle).await.unwrap();
}

/// Between the moment in which the device was opened and that in which it would be formatted or mounted, it goes and another comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_goes_under_the_hands_is_neither_formatted_nor_mounted() {
    let world = World::with_faults().await;
    let mut faults = world.faults();
    for (number, call, usage) in
        [(1, "host.format", Usage::mount()), (2, "host.mount", Usage::mount()), (3, "host.bind_device", Usage::block())]
    {
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        world.attach(&volume);
        faults.arm_at(call, Fault::Hold);
        let stage = world.stage(&volume, &usage, LONG);
        let meanwhile = async {
            tokio::task::block_in_place(|| {
                faults.wait_until_struck();
                world.detach(&volume);
                let came = world.attach(&other);
                faults.disarm();
                came
            })
        };
        let (result, _) = tokio::join!(stage, meanwhile);
        let before = volume.beginning();
        world.refused(result, Code::Unavailable, &["the device is gone, it has been detached"]);
        assert!(other.is_untouched(), "{call}");
        assert_eq!(volume.beginning(), before, "{call}");
        // Nothing is left, and when it is attached again it is staged.
        world.detach(&other);
        world.client().unstage(&volume.handle).await.unwrap();
        world.attach(&volume);
        world.staged(&volume, &usage).await;
        world.client().unstage(&volume.handle).await.unwrap();
        world.detach(&volume);
    }
}

/// What the kernel was told when the device came is not what the device says when it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_that_it_is_another_one_is_left_as_it_is() {
    let world = World::new().await;
    let volume = world.volume(1, GIB);
    let device = world.node.plug_inconstant(&volume.file, &volume.serial);
    device.answer_as(OTHER);
    for usage in [Usage::mount(), Usage::block()] {
        world.refused(world.stage(&volume, &usage, LONG).await, Code::FailedPrecondition, &IS_ANOTHER);
    }
    assert!(volume.is_untouched());
}

/// It was the right one when it was opened.
async fn becomes_another(call: &str, usage: Usage) {
    let world = World::with_faults().await;
    let mut faults = world.faults();
    let volume = world.volume(1, GIB);
    let device = world.node.plug_inconstant(&volume.file, &volume.serial);
    faults.arm_at(call, Fault::Hold);
    let stage = world.stage(&volume, &usage, LONG);
    let meanwhile = async {
        tokio::task::block_in_place(|| {
            faults.wait_until_struck();
            device.answer_as(OTHER);
            let before = volume.beginning();
            faults.disarm();
            before
        })
    };
    let (result, before) = tokio::join!(stage, meanwhile);
    world.refused(result, Code::FailedPrecondition, &IS_ANOTHER);
    assert_eq!(volume.beginning(), before);
    // Nothing is left of it.
    device.answer_as(&volume.serial);
    world.staged(&volume, &usage).await;
    world.client().unstage(&volume.handle).await.unwrap();
    device.unplug();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_becomes_another_one_is_not_formatted() {
    becomes_another("host.format", Usage::mount()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_becomes_another_one_is_not_mounted() {
    becomes_another("host.mount", Usage::mount()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_becomes_another_one_is_not_shown() {
    becomes_another("host.bind_device", Usage::block()).await;
}

/// A name under which another volume appears while the first one's device is still held: the kernel gives it another name, and what was
/// looked up by name is compared by number.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_replaced_under_the_hands_is_not_mounted() {
    let world = World::with_faults().await;
    let mut faults = world.faults();
    for (number, call, usage) in [(1, "host.mount", Usage::mount()), (2, "host.bind_device", Usage::block())] {
        let (volume, other) = (world.volume(number, GIB), world.volume(number + 100, GIB));
        let (node, wrong) = (world.attach(&volume), world.attach(&other));
        faults.arm_at(call, Fault::Hold);
        let stage = world.stage(&volume, &usage, LONG);
        let meanwhile = async {
            tokio::task::block_in_place(|| {
                faults.wait_until_struck();
                let (node, wrong) = (node.display(), wrong.display());
                world.node.shell(&format!("mkfs.ext4 -q {wrong}; mv {node} /dev/kept; cp -a {wrong} {node}"));
                faults.disarm();
            })
        };
        let (result, ()) = tokio::join!(stage, meanwhile);
        let status = result.unwrap_err();
        notice(&format!("{call}: {:?}: {}", status.code(), status.message()));
        assert_eq!(world.mounts(), "", "{call}");
        world.node.shell(&format!("mv /dev/kept {}", node.display()));
        world.staged(&volume, &usage).await;
        world.client().unstage(&volume.handle).await.unwrap();
        world.detach(&volume);
        world.detach(&other);
    }
}

//! Every verb against Hawser's own driver, with real mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::{mount_at, mounts_below};
use hawser_tests::plugin::NODE_A;
use hawser_tests::settings::Kind;
use hawser_tests::{MIB, Plugin, Settings, Usage};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::hand::Hand;

pub async fn plugin(footing: &Footing) -> (Plugin, Hand) {
    let plugin = Plugin::start(footing.path(), Settings::new(Kind::Image), Usage::mount()).await;
    let hand = Hand::at(&plugin.socket(NODE_A), plugin.workspace());
    (plugin, hand)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_lives_by_hand() {
    let footing = Footing::of(Ground::Xfs);
    let (plugin, hand) = plugin(&footing).await;
    let id = hand.does(&["volume", "create", "pgdata", "--size", "16MiB"]);
    hand.is_refused(&["volume", "create", "pgdata", "--size", "16MiB"], 73, &["there is a volume pgdata", "--idempotent"]);
    assert_eq!(hand.does(&["volume", "create", "pgdata", "--size", "16MiB", "-i"]), id);
    hand.is_refused(&["volume", "create", "pgdata", "--size", "32MiB", "-i"], 73, &["CreateVolume pgdata"]);
    hand.is_refused(&["volume", "create", "other", "--size", "10"], 64, &["10 has no unit; write 10GiB"]);
    hand.is_refused(&["volume", "create", "other", "--size", "5000B"], 64, &["CreateVolume other"]);

    // Mounted, used, and mounted again by the same words.
    let place = plugin.workspace().join("data");
    let path = place.to_str().unwrap();
    hand.does(&["volume", "mount", "pgd", path]);
    fs::write(place.join("letter"), "kept").unwrap();
    hand.does(&["volume", "mount", "pgdata", path]);
    let volume = &hand.json(&["volume", "inspect", "pgdata"]);
    assert_eq!(
        (&volume["status"], &volume["nodes"][0], &volume["bytes"]),
        (&"attached".into(), &NODE_A.into(), &(16 * MIB).into())
    );
    hand.is_refused(&["volume", "rm", "pgdata"], 3, &["nothing is deleted", "is attached to node-a"]);
    hand.is_refused(&["volume", "detach", "pgdata"], 3, &["not detached", path, "hawser volume unmount"]);
    hand.is_refused(&["volume", "mount", "pgdata", &format!("{path}-2")], 3, &["SINGLE_NODE_WRITER allows one path"]);

    // A copy, and a copy of a snapshot, made while it is in use.
    let snapshot = hand.does(&["volume", "snapshot", "pgdata", "before"]);
    assert_eq!(hand.does(&["volume", "snapshot", "pgdata", "before"]), snapshot);
    assert_eq!(hand.does(&["snapshot", "ls", "-q", "--volume", "pgdata"]), snapshot);
    let restored = hand.does(&["volume", "create", "restored", "--from-snapshot", "before"]);
    assert_eq!(hand.json(&["volume", "inspect", "restored"])["source"]["snapshot"], snapshot.as_str());
    assert_eq!(hand.json(&["volume", "inspect", &restored])["bytes"], 16 * MIB);
    let unmounted = hand.does(&["volume", "unmount", "pgdata"]);
    assert!(unmounted.contains("detached"), "{unmounted}");
    assert!(!place.exists() && mounts_below(plugin.workspace()).is_empty());
    hand.does(&["volume", "clone", "pgdata", "copy"]);
    hand.does(&["volume", "mount", "copy", path]);
    assert_eq!(fs::read_to_string(place.join("letter")).unwrap(), "kept");
    hand.does(&["volume", "unmount", path]);

    // Larger, while nobody has it.
    hand.does(&["volume", "expand", "copy", "32MiB"]);
    assert_eq!(hand.json(&["volume", "inspect", "copy"])["bytes"], 32 * MIB);
    hand.is_refused(&["volume", "expand", "copy", "16MiB"], 64, &["do not become smaller"]);

    // Away with it; nothing by a part of a name.
    hand.is_refused(&["volume", "rm", "pgdat", "copy"], 64, &["nothing is deleted", "only a part of pgdata"]);
    hand.is_refused(&["volume", "rm", &id[..id.len() - 1]], 64, &["only a part of pgdata"]);
    hand.is_refused(&["snapshot", "rm", &snapshot[..20]], 64, &["nothing is deleted", "only a part"]);
    hand.is_refused(&["volume", "rm", "copy", "nobody"], 66, &["nothing is deleted", "nobody"]);
    assert_eq!(hand.does(&["volume", "ls", "-q"]).lines().count(), 3);
    hand.does(&["snapshot", "rm", "before"]);
    hand.does(&["volume", "rm", "pgdata", "copy", &restored, "nobody", "-i"]);
    assert_eq!(hand.does(&["volume", "ls", "-q"]), "");
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_is_left_alone() {
    let footing = Footing::of(Ground::Xfs);
    let (plugin, hand) = plugin(&footing).await;
    let (a, b, usage) = (plugin.a(), plugin.b().await, plugin.usage());
    let volume = a.create("pgdata", 16 * MIB, &usage).await;
    let id = volume.volume_id.as_str();
    let path = plugin.workspace().join("data");
    let path = path.to_str().unwrap();

    // Another node.
    let context = b.attach(&volume, &usage).await.unwrap();
    for verb in [&["volume", "attach", id][..], &["volume", "mount", id, path]] {
        hand.is_refused(verb, 3, &["is attached to node-b", "docs/takeover.md"]);
    }
    hand.is_refused(&["volume", "attach", id, "--force"], 64, &["--force is not taken", "node-b has it"]);
    hand.is_refused(&["volume", "detach", id, "--node", "node-b"], 3, &["cannot be seen from here", "--unused"]);
    assert!(hand.does(&["volume", "detach", id]).contains("and was not before"));
    drop(context);
    assert_eq!(b.holders(id).await, ["node-b"]);
    hand.does(&["volume", "detach", id, "--node", "node-b", "--unused"]);
    assert!(b.holders(id).await.is_empty());

    // A CO on this node. Nothing of it is touched by any verb.
    let context = a.attach(&volume, &usage).await.unwrap();
    a.stage(&volume, &context, &usage).await.unwrap();
    let target = a.publish(&volume, &context, &usage, "pod").await.unwrap();
    let before = mounts_below(plugin.workspace());
    hand.is_refused(&["volume", "detach", id], 3, &["not detached", target.to_str().unwrap(), "somebody else"]);
    hand.is_refused(&["volume", "mount", id, path], 3, &["not mounted a second time", target.to_str().unwrap()]);
    hand.is_refused(&["volume", "unmount", id], 66, &["nothing else is taken down"]);
    hand.is_refused(&["volume", "unmount", target.to_str().unwrap()], 3, &["is not what `hawser volume mount` mounted"]);
    hand.is_refused(&["volume", "rm", id], 3, &["nothing is deleted"]);
    assert_eq!(mounts_below(plugin.workspace()), before);
    a.unpublish(id, "pod").await.unwrap();
    a.unstage(id).await.unwrap();

    // Attached before somebody mounted it by hand: it stays so.
    hand.does(&["volume", "mount", id, path]);
    let unmounted = hand.json(&["volume", "unmount", id]);
    assert_eq!(unmounted[0]["attachment"], "before");
    assert_eq!(a.holders(id).await, [NODE_A]);
    hand.does(&["volume", "detach", id]);

    // A CO that comes while it is mounted by hand keeps what it staged.
    hand.does(&["volume", "mount", id, path]);
    let staging = fs::read_dir(hand.state()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let other = plugin.workspace().join("other");
    fs::create_dir(&other).unwrap();
    rustix::mount::mount_bind(staging.join("staging"), &other).unwrap();
    hand.is_refused(&["volume", "unmount", id], 3, &["is mounted at", other.to_str().unwrap(), "stays staged"]);
    assert!(mount_at(&other).is_some() && a.holders(id).await == [NODE_A]);
    rustix::mount::unmount(&other, UnmountFlags::NOFOLLOW).unwrap();
    hand.does(&["volume", "unmount", id]);
    hand.does(&["volume", "rm", id]);
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_what_it_was_before_and_files_are_not_hidden() {
    let footing = Footing::of(Ground::Xfs);
    let (plugin, hand) = plugin(&footing).await;
    hand.does(&["volume", "create", "pgdata", "--size", "16MiB"]);
    let base = plugin.workspace().join("base");
    fs::create_dir(&base).unwrap();
    let at = |name: &str| base.join(name).to_str().unwrap().to_owned();
    fs::create_dir(base.join("full")).unwrap();
    fs::write(base.join("full/file"), "x").unwrap();
    fs::write(base.join("file"), "x").unwrap();
    fs::create_dir(base.join("empty")).unwrap();
    std::os::unix::fs::symlink(base.join("empty"), base.join("link")).unwrap();
    fs::create_dir(base.join("tmpfs")).unwrap();
    rustix::mount::mount("none", base.join("tmpfs"), "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
    for (name, code, words) in [
        ("full", 3, "holds files"),
        ("file", 3, "is not a directory"),
        ("link", 3, "is a symbolic link"),
        ("tmpfs", 3, "has a mount already (tmpfs none)"),
        ("none/at/all", 66, "does not exist; make it first"),
    ] {
        hand.is_refused(&["volume", "mount", "pgdata", &at(name)], code, &[words]);
    }
    rustix::mount::unmount(base.join("tmpfs"), UnmountFlags::NOFOLLOW).unwrap();
    // CSI has the driver remove the directory; whose it was gets it back.
    let empty = base.join("empty");
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(&empty, Some(12), Some(34)).unwrap();
    hand.does(&["volume", "mount", "pgdata", &at("empty")]);
    hand.does(&["volume", "unmount", &at("empty")]);
    let metadata = fs::metadata(&empty).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o1770, 12, 34));
    hand.is_refused(&["volume", "unmount", &at("empty")], 66, &["nothing is mounted at"]);
    hand.does(&["volume", "unmount", &at("empty"), "-i"]);
    hand.does(&["volume", "rm", "pgdata"]);
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_makes_no_call() {
    let footing = Footing::of(Ground::Xfs);
    let (plugin, hand) = plugin(&footing).await;
    let id = hand.does(&["volume", "create", "pgdata", "--size", "16MiB"]);
    let snapshot = hand.does(&["volume", "snapshot", "pgdata", "kept"]);
    let path = plugin.workspace().join("data");
    let path = path.to_str().unwrap();
    let changes = [
        "CreateVolume",
        "DeleteVolume",
        "ControllerPublishVolume",
        "ControllerUnpublishVolume",
        "NodeStageVolume",
        "NodePublishVolume",
        "NodeUnpublishVolume",
        "NodeUnstageVolume",
        "ControllerExpandVolume",
        "NodeExpandVolume",
        "CreateSnapshot",
        "DeleteSnapshot",
    ];
    let made = || async {
        let said = plugin.said().await;
        changes.map(|change| said.lines().filter(|line| line.contains(&format!("method=\"{change}\""))).count())
    };
    let before = made().await;
    assert_eq!((before[0], before[10]), (1, 1), "the log does not name the calls: {}", plugin.said().await);
    let plan = |arguments: &[&str]| -> Vec<String> {
        let plan = hand.json(&[arguments, &["--dry-run"]].concat());
        plan.as_array().unwrap().iter().map(|call| call["method"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(plan(&["volume", "create", "more", "--size", "16MiB"]), ["CreateVolume"]);
    assert_eq!(plan(&["volume", "clone", "pgdata", "more"]), ["CreateVolume"]);
    assert_eq!(plan(&["volume", "attach", "pgdata"]), ["ControllerPublishVolume"]);
    assert_eq!(plan(&["volume", "mount", "pgdata", path]), ["ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume"]);
    assert_eq!(plan(&["volume", "expand", "pgdata", "32MiB"]), ["ControllerExpandVolume"]);
    assert_eq!(plan(&["volume", "snapshot", "pgdata", "s"]), ["CreateSnapshot"]);
    assert_eq!(plan(&["snapshot", "rm", &snapshot]), ["DeleteSnapshot"]);
    assert_eq!(plan(&["volume", "rm", "pgdata"]), ["DeleteVolume"]);
    assert!(plan(&["volume", "detach", "pgdata"]).is_empty());
    assert!(fs::read_dir(hand.state()).unwrap().all(|entry| entry.unwrap().file_name() == "lock"));
    assert_eq!(made().await, before);

    hand.does(&["volume", "mount", "pgdata", path]);
    let before = made().await;
    assert_eq!(plan(&["volume", "unmount", "pgdata"]), ["NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume"]);
    assert_eq!(plan(&["volume", "unmount", "--all"]).len(), 3);
    assert_eq!(plan(&["volume", "expand", "pgdata", "32MiB"]), ["ControllerExpandVolume", "NodeExpandVolume"]);
    assert_eq!(made().await, before);
    // What is shown is what is done.
    hand.does(&["volume", "unmount", "--all"]);
    let after = made().await;
    let done: Vec<&str> = (0..changes.len()).filter(|i| after[*i] > before[*i]).map(|i| changes[i]).collect();
    assert_eq!(done, ["ControllerUnpublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"]);
    hand.does(&["snapshot", "rm", "kept"]);
    hand.does(&["volume", "rm", &id]);
    plugin.finish().await;
}

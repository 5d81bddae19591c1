//! Mounting filesystems of devices.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use hawser_host::{Device, Host, Linux, MountOptions, Shape};
use hawser_volume::{Filesystem, Kind};

use crate::place::{Place, fill, info, options, soon, unmount};

#[test]
fn every_filesystem_is_mounted_written_unmounted_and_found_again() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &["noatime", "nodev"]);
        std::fs::write(mount.join("data"), "kept").unwrap();
        let table = Linux.mounts().unwrap();
        let entry = table.top(&mount).unwrap();
        assert_eq!(entry.filesystem, filesystem.as_str());
        assert_eq!(entry.source, device.path);
        assert!(!entry.read_only() && entry.options.contains(&"noatime".into()) && entry.options.contains(&"nodev".into()));
        assert_eq!(entry.device == device.number, filesystem != Filesystem::Btrfs);
        assert!(!entry.super_options.contains(&"nouuid".into()));
        unmount(&mount);
        assert!(Linux.mounts().unwrap().top(&mount).is_none());
        assert_eq!(Linux.unmount(&mount).unwrap_err().kind(), Kind::NotFound);

        place.mounted(&device, filesystem, "mount", &["ro"]);
        assert_eq!(std::fs::read(mount.join("data")).unwrap(), b"kept");
        assert!(std::fs::write(mount.join("data"), "lost").is_err());
        assert!(Linux.mounts().unwrap().top(&mount).unwrap().super_read_only());
        unmount(&mount);
    }
}

#[test]
fn a_path_that_leads_elsewhere_since_the_device_was_opened_mounts_nothing() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let right = place.formatted("right", filesystem);
        let wrong = place.formatted("wrong", filesystem);
        symlink(&right.path, place.path("by-id")).unwrap();
        let device = Device::open(&place.path("by-id"), false).unwrap();
        std::fs::remove_file(place.path("by-id")).unwrap();
        symlink(&wrong.path, place.path("by-id")).unwrap();
        let target = place.directory("mount");
        let error = Linux.mount(&device, filesystem, &MountOptions::default(), &target).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert!(Linux.mounts().unwrap().top(target.path()).is_none());
        assert!(Linux.mounts().unwrap().with_device(wrong.number).is_empty());
    }
}

#[test]
fn what_is_opened_read_only_is_mounted_read_only() {
    let place = Place::new();
    drop(place.formatted("image", Filesystem::Ext4));
    let device = Linux.attach_loop(&place.path("image"), true).unwrap();
    assert!(device.read_only);
    let mount = place.mounted(&device, Filesystem::Ext4, "mount", &[]);
    let table = Linux.mounts().unwrap();
    assert!(table.top(&mount).unwrap().super_read_only());
}

/// Two nodes of one machine that read the same volume.
#[test]
fn what_is_mounted_already_is_mounted_again_at_once() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let first = place.mounted(&device, filesystem, "first", &[]);
        std::fs::write(first.join("name"), "one").unwrap();
        let begun = Instant::now();
        let second = place.mounted(&device, filesystem, "second", &[]);
        assert_eq!(std::fs::read(second.join("name")).unwrap(), b"one");
        let third = place.directory("third");
        let refused = Linux.mount(&device, filesystem, &options(&["ro"]), &third);
        if filesystem != Filesystem::Btrfs {
            assert_eq!(refused.unwrap_err().kind(), Kind::Precondition);
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{filesystem}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_clone_is_mounted_beside_its_origin_and_never_in_place_of_it() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let origin = place.formatted("origin", filesystem);
        let first = place.mounted(&origin, filesystem, "first", &[]);
        std::fs::write(first.join("name"), "origin").unwrap();
        unmount(&first);
        std::fs::copy(place.path("origin"), place.path("clone")).unwrap();
        let clone = Linux.attach_loop(&place.path("clone"), false).unwrap();
        assert_eq!(info(&origin).uuid, info(&clone).uuid);

        place.mounted(&origin, filesystem, "first", &[]);
        let second = place.directory("second");
        Linux.mount(&clone, filesystem, &MountOptions::default(), &second).unwrap();
        std::fs::write(second.path().join("name"), "clone").unwrap();
        assert_eq!(std::fs::read(first.join("name")).unwrap(), b"origin");
        let table = Linux.mounts().unwrap();
        let has_nouuid = table.top(second.path()).unwrap().super_options.contains(&"nouuid".into());
        assert_eq!(has_nouuid, filesystem == Filesystem::Xfs);
    }
}

#[test]
fn a_read_only_copy_with_a_full_journal_is_not_shown_without_it() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        std::fs::write(mount.join("old"), "old").unwrap();
        Linux.sync(&mount).unwrap();
        let mut file = File::create(mount.join("new")).unwrap();
        file.write_all(b"new").unwrap();
        file.sync_all().unwrap();
        // A copy of a mounted filesystem is what a snapshot of it is: its journal has not been replayed.
        device.file.sync_all().unwrap();
        std::fs::copy(place.path("image"), place.path("copy")).unwrap();
        let copy = Linux.attach_loop(&place.path("copy"), true).unwrap();
        drop(file);
        if filesystem != Filesystem::Xfs {
            assert!(info(&copy).needs_recovery, "{filesystem}");
        }
        unmount(&mount);
        let target = place.directory("seen");
        let error = Linux.mount(&copy, filesystem, &options(&["ro"]), &target).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
        assert!(error.to_string().contains("journal has to be replayed"), "{error:?}");
        let without = match filesystem {
            Filesystem::Ext4 => "noload",
            Filesystem::Xfs => "norecovery",
            Filesystem::Btrfs => "rescue=nologreplay",
        };
        let seen = place.mounted(&copy, filesystem, "seen", &["ro", without]);
        assert!(Linux.mounts().unwrap().top(&seen).unwrap().super_read_only());
        assert_eq!(info(&copy).needs_recovery, filesystem != Filesystem::Xfs, "nothing was written to it");
        unmount(&seen);
        // Attached for writing it is whole again.
        let path = copy.path.clone();
        drop(copy);
        Linux.detach_loop(&path, &place.path("copy"), soon()).unwrap();
        let copy = Linux.attach_loop(&place.path("copy"), false).unwrap();
        let seen = place.mounted(&copy, filesystem, "seen", &[]);
        assert_eq!(std::fs::read(seen.join("old")).unwrap(), b"old");
        assert_eq!(std::fs::read(seen.join("new")).unwrap(), b"new");
    }
}

#[test]
fn what_is_not_a_filesystem_is_refused_in_the_kernels_words() {
    let place = Place::new();
    let device = place.device("image", crate::place::SIZE);
    for filesystem in Filesystem::ALL {
        let target = place.directory("mount");
        let error = Linux.mount(&device, filesystem, &MountOptions::default(), &target).unwrap_err();
        assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
        assert!(error.chain().contains("os error 22"), "{error:?}");
        assert!(Linux.mounts().unwrap().top(target.path()).is_none());
    }
}

#[test]
fn an_option_that_the_filesystem_does_not_know_is_named_without_its_value() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let target = place.directory("mount");
    let error = Linux.mount(&device, Filesystem::Ext4, &options(&["password=hunter2"]), &target).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
    assert!(error.chain().contains("password") && !error.chain().contains("hunter2"), "{error:?}");
    assert!(error.chain().contains("the kernel says"), "{error:?}");
    let mount = place.mounted(&device, Filesystem::Ext4, "mount", &["errors=remount-ro", "commit=9", "_netdev"]);
    assert!(Linux.mounts().unwrap().top(&mount).unwrap().super_options.contains(&"commit=9".into()));
}

#[test]
fn a_mount_in_use_stays_and_only_the_topmost_is_taken() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let mount = place.mounted(&device, Filesystem::Ext4, "mount", &[]);
    let open = File::create(mount.join("open")).unwrap();
    let error = Linux.unmount(&mount).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.chain().contains("os error 16"), "{error:?}");
    drop(open);
    place.mounted(&device, Filesystem::Ext4, "mount", &["noexec"]);
    assert_eq!(Linux.mounts().unwrap().at(&mount).len(), 2);
    unmount(&mount);
    assert!(!Linux.mounts().unwrap().top(&mount).unwrap().options.contains(&"noexec".into()));
    assert_eq!(Linux.remove_target(&mount).unwrap_err().kind(), Kind::Precondition);
    unmount(&mount);
    Linux.remove_target(&mount).unwrap();
    Linux.remove_target(&mount).unwrap();
}

#[test]
fn a_link_is_neither_unmounted_through_nor_mounted_on() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let mount = place.mounted(&device, Filesystem::Ext4, "real/mount", &[]);
    symlink(&mount, place.path("link")).unwrap();
    symlink("real", place.path("above")).unwrap();
    assert_eq!(Linux.unmount(&place.path("link")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(Linux.create_target(&place.path("link"), Shape::Directory).unwrap_err().kind(), Kind::Precondition);
    assert!(Linux.mounts().unwrap().top(&mount).is_some());
    assert_eq!(Linux.resolve(&place.path("above/mount")).unwrap(), mount);
    unmount(&place.path("above/mount"));
    assert!(Linux.mounts().unwrap().top(&mount).is_none());
}

#[test]
fn names_with_blanks_and_odd_bytes_are_found_again() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let name = std::ffi::OsStr::from_bytes(b"a b\tc\\d#e\xff\n");
    let target = Linux.create_target(&place.path("x").with_file_name(name), Shape::Directory).unwrap();
    Linux.mount(&device, Filesystem::Ext4, &MountOptions::default(), &target).unwrap();
    assert_eq!(Linux.mounts().unwrap().top(target.path()).unwrap().device, device.number);
    unmount(target.path());
}

#[test]
fn a_target_that_was_removed_meanwhile_is_not_mounted_on() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let target = place.directory("mount");
    std::fs::remove_dir(target.path()).unwrap();
    std::fs::create_dir(target.path()).unwrap();
    let error = Linux.mount(&device, Filesystem::Ext4, &MountOptions::default(), &target).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error:?}");
    assert!(Linux.mounts().unwrap().top(target.path()).is_none());
    assert!(Linux.mounts().unwrap().with_device(device.number).is_empty());
}

#[test]
fn usage_freeze_and_sync_speak_of_the_mounted_filesystem() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        let mount = place.mounted(&device, filesystem, "mount", &[]);
        let empty = Linux.usage(&mount).unwrap();
        assert!(empty.bytes.total <= device.size.get() && empty.bytes.total > device.size.get() / 2);
        assert_eq!(empty.inodes.total == 0, filesystem == Filesystem::Btrfs);
        fill(&mount.join("data"), 20);
        Linux.sync(&mount).unwrap();
        let full = Linux.usage(&mount).unwrap();
        assert!(full.bytes.used >= empty.bytes.used + (20 << 20) && full.bytes.available < empty.bytes.available);

        Linux.thaw(&mount).unwrap();
        Linux.freeze(&mount).unwrap();
        assert_eq!(Linux.freeze(&mount).unwrap_err().kind(), Kind::Precondition);
        let path = mount.join("late");
        let writer = std::thread::spawn(move || std::fs::write(path, "late"));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!writer.is_finished(), "a frozen {filesystem} was written to");
        Linux.thaw(&mount).unwrap();
        writer.join().unwrap().unwrap();
        Linux.thaw(&mount).unwrap();

        // What is on a frozen device can be asked; nobody waits for the thaw.
        Linux.freeze(&mount).unwrap();
        let frozen = Linux.open_device(&device.path, true).unwrap();
        let asking = std::thread::spawn(move || info(&frozen));
        std::thread::sleep(Duration::from_secs(2));
        let answered = asking.is_finished();
        Linux.thaw(&mount).unwrap();
        assert_eq!(asking.join().unwrap().filesystem, filesystem);
        assert!(answered, "probing a frozen {filesystem} waits");
    }
}

#[test]
fn a_group_is_given_the_volume_but_not_what_is_mounted_in_it() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let mount = place.mounted(&device, Filesystem::Ext4, "mount", &[]);
    std::fs::create_dir_all(mount.join("a/inner")).unwrap();
    let other = place.formatted("other", Filesystem::Ext4);
    let inner = place.mounted(&other, Filesystem::Ext4, "mount/a/inner", &[]);
    std::fs::write(inner.join("file"), "x").unwrap();
    Linux.give_to_group(&mount, 4711, soon()).unwrap();
    assert_eq!(mount.join("a").metadata().unwrap().gid(), 4711);
    assert_eq!(inner.metadata().unwrap().gid(), 0);
    assert_eq!(inner.join("file").metadata().unwrap().gid(), 0);
    let error = hawser_host::durable::remove_tree(&place.path("mount")).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(inner.join("file").exists() && mount.join("a").exists());
}

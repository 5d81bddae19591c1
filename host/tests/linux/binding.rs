//! Showing a directory or a device node at a second place.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::Command;

use hawser_host::{Host, Linux, MountOptions, Shape};
use hawser_volume::{Filesystem, Kind};

use crate::place::{Place, SIZE, options, unmount};

#[test]
fn a_directory_is_shown_with_options_of_its_own() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let staged = place.mounted(&device, Filesystem::Ext4, "staged", &["noatime"]);
    std::fs::create_dir(staged.join("sub")).unwrap();

    let plain = place.directory("plain");
    Linux.bind(&staged, &plain, &MountOptions::default()).unwrap();
    std::fs::write(plain.path().join("data"), "x").unwrap();
    assert_eq!(std::fs::read(staged.join("data")).unwrap(), b"x");

    let protected = place.directory("protected");
    Linux.bind(&staged.join("sub"), &protected, &options(&["ro", "noexec", "strictatime"])).unwrap();
    assert!(std::fs::write(protected.path().join("data"), "x").is_err());

    let table = Linux.mounts().unwrap();
    let plain = table.top(plain.path()).unwrap();
    assert!(plain.device == device.number && !plain.read_only() && plain.options.contains(&"noatime".into()));
    let protected = table.top(protected.path()).unwrap();
    assert!(protected.read_only() && !protected.super_read_only());
    assert!(protected.options.contains(&"noexec".into()) && !protected.options.contains(&"noatime".into()));
    assert_eq!(protected.root, std::path::Path::new("/sub"));
    assert!(!table.top(&staged).unwrap().read_only());
}

#[test]
fn what_is_mounted_below_the_source_is_not_taken_along() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    let staged = place.mounted(&device, Filesystem::Ext4, "staged", &[]);
    place.mounted(&device, Filesystem::Ext4, "staged/inner", &[]);
    let target = place.directory("target");
    Linux.bind(&staged, &target, &MountOptions::default()).unwrap();
    assert!(Linux.mounts().unwrap().below(target.path()).is_empty());
}

/// Where systemd is, every mount is shared with its copies unless somebody says otherwise.
#[test]
fn what_is_mounted_on_the_copy_of_a_shared_mount_does_not_appear_on_the_mount() {
    let place = Place::new();
    let run = |arguments: &[&str]| assert!(Command::new("mount").args(arguments).status().unwrap().success());
    let shared = place.directory("shared").path().to_str().unwrap().to_owned();
    run(&["-t", "tmpfs", "shared", &shared]);
    run(&["--make-shared", &shared]);
    let device = place.formatted("image", Filesystem::Ext4);
    let staged = place.mounted(&device, Filesystem::Ext4, "shared/staged", &[]);
    let target = place.directory("shared/target");
    Linux.bind(&staged, &target, &MountOptions::default()).unwrap();
    let table = Linux.mounts().unwrap();
    let group = |path| table.top(path).unwrap().peer_group;
    assert!(group(&staged).is_some() && group(&staged) != group(target.path()), "{:?}", group(&staged));
    run(&["-t", "tmpfs", "somebody", target.path().to_str().unwrap()]);
    assert_eq!(Linux.mounts().unwrap().top(&staged).unwrap().filesystem, "ext4");
}

#[test]
fn a_place_that_nobody_should_use_takes_no_data() {
    let place = Place::new();
    let target = place.directory("target");
    hawser_host::mount::empty(&target).unwrap();
    let error = std::fs::write(target.path().join("data"), "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{error}");
    assert!(std::fs::read_dir(target.path()).unwrap().next().is_none());
    unmount(target.path());
    std::fs::write(target.path().join("data"), "x").unwrap();
}

#[test]
fn a_device_node_is_shown_at_a_file() {
    let place = Place::new();
    let device = place.device("image", SIZE);
    let target = Linux.create_target(&place.path("block"), Shape::File).unwrap();
    Linux.bind(&device.path, &target, &MountOptions::default()).unwrap();
    assert!(target.path().metadata().unwrap().file_type().is_block_device());
    let shown = Linux.open_device(target.path(), false).unwrap();
    assert_eq!(shown.number, device.number);
    (&shown.file).write_all(b"through the node").unwrap();
    shown.flush().unwrap();
    let mut found = [0; 16];
    File::open(place.path("image")).unwrap().read_exact(&mut found).unwrap();
    assert_eq!(&found, b"through the node");
    let error = Linux.create_target(&place.path("block"), Shape::File).unwrap_err();
    assert!(error.to_string().contains("a block device"), "{error:?}");
    drop(shown);
    unmount(&place.path("block"));
    Linux.remove_target(&place.path("block")).unwrap();
}

#[test]
fn a_link_and_a_target_of_another_kind_are_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("source")).unwrap();
    symlink(place.path("source"), place.path("link")).unwrap();
    let directory = place.directory("directory");
    let file = Linux.create_target(&place.path("file"), Shape::File).unwrap();
    let none = MountOptions::default();
    assert_eq!(Linux.bind(&place.path("link"), &directory, &none).unwrap_err().kind(), Kind::Precondition);
    assert_eq!(Linux.bind(&place.path("source"), &file, &none).unwrap_err().kind(), Kind::Precondition);
    assert_eq!(Linux.bind(&place.path("absent"), &directory, &none).unwrap_err().kind(), Kind::NotFound);
    assert!(Linux.mounts().unwrap().below(&place.path("")).is_empty());
}

//! Mount flags and the group of a volume.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tonic::Code;

use crate::client::POD;
use crate::content::{assert_read_only, write};
use crate::kernel::{loops_below, mount_at, mounts_below};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::usage::Usage;

super::table! {
    a_program_on_a_noexec_volume_cannot_be_run: [Mount],
    flags_of_the_mount_are_on_the_mount: [Mount],
    flags_of_the_filesystem_reach_it: [Format],
    a_read_only_flag_makes_it_read_only: [Mount],
    flags_that_make_another_mount_are_refused: [Mount],
    a_flag_that_the_filesystem_does_not_know_is_refused: [Format],
    the_group_of_a_volume_can_write_to_all_of_it: [Mount],
}

fn can_run_a_program(directory: &Path) -> bool {
    let program = directory.join("program");
    fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Command::new(program).status().is_ok_and(|status| status.success())
}

async fn a_program_on_a_noexec_volume_cannot_be_run(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    assert!(can_run_a_program(&a.up(&volume, &usage).await), "without the flag it can");
    a.down(&volume).await;
    let usage = usage.flag("noexec");
    assert!(!can_run_a_program(&a.up(&volume, &usage).await));
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn flags_of_the_mount_are_on_the_mount(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    // As fstab has them, and as lists; what concerns other programs is not an error.
    let usage = usage.flag("nosuid,nodev").flag("noatime").flag("defaults").flag("_netdev").flag("x-systemd.automount");
    let target = a.up(&volume, &usage).await;
    let options = mount_at(&target).unwrap().options;
    for option in ["nosuid", "nodev", "noatime", "rw"] {
        assert!(options.iter().any(|found| found == option), "{option} is not among {options:?}");
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn flags_of_the_filesystem_reach_it(plugin: &Plugin) {
    let a = plugin.a();
    let usage = Usage::mount().filesystem("ext4").flag("commit=42").flag("errors=remount-ro");
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    let options = mount_at(&target).unwrap().super_options;
    for option in ["commit=42", "errors=remount-ro"] {
        assert!(options.iter().any(|found| found == option), "{option} is not among {options:?}");
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_read_only_flag_makes_it_read_only(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    write(&a.up(&volume, &usage).await, b"something to read").unwrap();
    a.down(&volume).await;
    assert_read_only(&a.up(&volume, &usage.flag("ro")).await);
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn flags_that_make_another_mount_are_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    let flags = ["bind", "remount", "loop", "move", "rshared", "source=/dev/null", "rw\nremount"];
    for flag in flags {
        let wrong = usage.clone().flag(flag);
        refused(a.stage(&volume, &context, &wrong).await, Code::InvalidArgument, &[]);
    }
    assert!(mounts_below(plugin.workspace()).is_empty() && loops_below(plugin.root()).is_empty());
    a.stage(&volume, &context, &usage).await.unwrap();
    for flag in flags {
        let wrong = usage.clone().flag(flag);
        refused(a.publish(&volume, &context, &wrong, POD).await, Code::InvalidArgument, &[]);
        assert!(!a.target(POD, &volume.volume_id).exists());
    }
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_flag_that_the_filesystem_does_not_know_is_refused(plugin: &Plugin) {
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    refused(a.stage(&volume, &context, &usage.clone().flag("flavour=vanilla")).await, Code::InvalidArgument, &["flavour"]);
    assert!(mounts_below(plugin.workspace()).is_empty() && loops_below(plugin.root()).is_empty());
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
}

async fn the_group_of_a_volume_can_write_to_all_of_it(plugin: &Plugin) {
    const GROUP: u32 = 12345;
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("one", plugin.small(), &usage).await;
    let target = a.up(&volume, &usage).await;
    fs::create_dir_all(target.join("deep/er")).unwrap();
    for (name, mode) in [("secret", 0o600), ("deep/er/program", 0o700)] {
        fs::write(target.join(name), "from before").unwrap();
        fs::set_permissions(target.join(name), fs::Permissions::from_mode(mode)).unwrap();
        chown(target.join(name), Some(4321), Some(4321)).unwrap();
    }
    let outside = plugin.workspace().join("outside");
    fs::write(&outside, "not in the volume").unwrap();
    std::os::unix::fs::symlink(&outside, target.join("link")).unwrap();
    a.down(&volume).await;
    let target = a.up(&volume, &usage.group(GROUP)).await;
    for (name, wanted) in [("", 0o2070), ("deep", 0o2070), ("deep/er", 0o2070), ("secret", 0o060), ("deep/er/program", 0o070)] {
        let metadata = fs::metadata(target.join(name)).unwrap();
        assert_eq!(metadata.gid(), GROUP, "{name}");
        assert_eq!(metadata.mode() & wanted, wanted, "{name} has mode {:o}", metadata.mode());
    }
    assert_eq!(fs::metadata(target.join("secret")).unwrap().uid(), 4321, "the owner stays");
    assert_eq!(fs::metadata(target.join("secret")).unwrap().mode() & 0o007, 0, "others get nothing");
    assert_eq!(fs::metadata(&outside).unwrap().gid(), 0, "a link was followed out of the volume");
    fs::write(target.join("deep/new"), "").unwrap();
    assert_eq!(fs::metadata(target.join("deep/new")).unwrap().gid(), GROUP, "new files belong to the group, too");
    a.down(&volume).await;
    let usage = Usage { group: "staff".to_owned(), ..plugin.usage() };
    let request = crate::client::create_request("two", plugin.small(), &usage);
    refused(a.try_create(request).await, Code::InvalidArgument, &["volume_mount_group"]);
    a.delete(&volume.volume_id).await.unwrap();
}

//! Only what is blank is formatted.
//!
//! A raw device is the way by which content comes into a volume that no filesystem of ours wrote: somebody's encryption, volume
//! manager or database. Asking for such a volume mounted must be refused, and must not change a byte of it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tonic::Code;

use super::filesystems;
use crate::MIB;
use crate::client::text;
use crate::content::{assert_holds, pattern, size, write};
use crate::kernel::{loops_below, mount_at, run};
use crate::plugin::Plugin;
use crate::refusal::refused;
use crate::rig::inside;
use crate::usage::Usage;

super::table! {
    a_blank_volume_gets_the_filesystem_that_was_asked_for: [Format],
    the_signature_of_another_owner_is_refused_and_kept: [Format],
    content_without_a_signature_is_refused_and_kept: [Format],
    a_byte_that_nobody_looks_at_is_refused_and_kept: [Format, Traced],
    a_damaged_filesystem_is_refused_and_kept: [Format],
    zeros_that_were_written_are_somebodys: [Format, Traced],
    a_discarded_volume_is_blank_again: [Format],
}

async fn a_blank_volume_gets_the_filesystem_that_was_asked_for(plugin: &Plugin) {
    let a = plugin.a();
    for (filesystem, bytes) in filesystems(plugin) {
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, bytes, &usage).await;
        let target = a.up(&volume, &usage).await;
        assert_eq!(mount_at(&target).unwrap().filesystem, filesystem);
        write(&target, &pattern(1, 1 << 20)).unwrap();
        a.down(&volume).await;
        // What a volume has, it keeps, whatever the default is.
        let target = a.up(&volume, &Usage::mount()).await;
        assert_eq!(mount_at(&target).unwrap().filesystem, filesystem);
        assert_holds(&target, 1, 1 << 20);
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

/// What others put on devices: a name, where it stands (from the end if negative), and a word of the message if it is known to
/// everybody.
const SIGNATURES: &[(&str, i64, &[u8], &str)] = &[
    ("LUKS", 0, b"LUKS\xba\xbe\x00\x02", "LUKS"),
    ("LUKS, second header", 16384, b"SKUL\xba\xbe\x00\x02", "LUKS"),
    ("LVM", 512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001", "LVM"),
    ("swap", 4086, b"SWAPSPACE2", "swap"),
    ("partition table", 510, b"\x55\xaa", ""),
    ("GUID partition table", 512, b"EFI PART\0\0\x01\0", ""),
    ("backup of a GUID partition table", -512, b"EFI PART\0\0\x01\0", ""),
    ("RAID member", 4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0", ""),
    ("RAID member, old", -65536, b"\xfc\x4e\x2b\xa9\0\0\0\0", ""),
    ("ZFS label", 128 * 1024, b"\x0c\xb1\xba\x00\0\0\0\0", ""),
    ("bcache", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", ""),
    ("NTFS", 3, b"NTFS    ", ""),
    ("Ceph OSD", 0, b"bluestore block device\n", ""),
];

/// Content that no table of signatures has, each where it is looked for on every device.
const CONTENT: &[(&str, i64, &[u8], &str)] = &[
    ("the first byte", 0, b"\x01", ""),
    ("the last byte", -1, b"\x01", ""),
    ("a database's page", 8192, b"\x10\x00\x00\x00\x98\x11\xd9\x01\x00\x00\x00\x00", ""),
];

async fn the_signature_of_another_owner_is_refused_and_kept(plugin: &Plugin) {
    refuse_and_keep(plugin, SIGNATURES).await;
}

async fn content_without_a_signature_is_refused_and_kept(plugin: &Plugin) {
    refuse_and_keep(plugin, CONTENT).await;
}

/// It is enough that it was written: nobody reads all of a volume.
async fn a_byte_that_nobody_looks_at_is_refused_and_kept(plugin: &Plugin) {
    refuse_and_keep(plugin, &[("a byte that nobody looks at", 7 * MIB + 123, b"\x01", "")]).await;
}

async fn refuse_and_keep(plugin: &Plugin, table: &[(&str, i64, &[u8], &str)]) {
    let a = plugin.a();
    for (number, (name, place, bytes, word)) in inside::some(table).enumerate() {
        let volume = a.create(&format!("volume-{number}"), plugin.small(), &Usage::block()).await;
        let device = a.up(&volume, &Usage::block()).await;
        let at = u64::try_from(if *place < 0 { plugin.small() + place } else { *place }).unwrap();
        OpenOptions::new().write(true).open(&device).unwrap().write_all_at(bytes, at).unwrap();
        let before = ends(&device);
        a.down(&volume).await;
        for filesystem in ["", "ext4"] {
            let usage = Usage::mount().filesystem(filesystem);
            let context = a.attach(&volume, &usage).await.unwrap();
            let staged = a.stage(&volume, &context, &usage).await;
            assert!(staged.is_err(), "{name} was taken for blank and mounted as {filesystem:?}");
            refused(staged, Code::FailedPrecondition, &[&volume.volume_id, word]);
            assert!(loops_below(plugin.root()).is_empty(), "{name}: a refused stage left a device");
            a.detach(&volume.volume_id).await.unwrap();
        }
        // As a raw device it is its owner's as before.
        assert!(ends(&a.up(&volume, &Usage::block()).await) == before, "{name} was changed");
        a.down(&volume).await;
        a.delete(&volume.volume_id).await.unwrap();
    }
}

/// The beginning and the end of a device, with everything that is written here.
fn ends(device: &Path) -> Vec<u8> {
    let (length, size) = (8 << 20, size(device));
    let mut bytes = vec![0; 2 * length];
    let device = File::open(device).unwrap();
    let (beginning, end) = bytes.split_at_mut(length);
    device.read_exact_at(beginning, 0).unwrap();
    device.read_exact_at(end, size - u64::try_from(length).unwrap()).unwrap();
    bytes
}

async fn a_damaged_filesystem_is_refused_and_kept(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &Usage::mount()).await;
    write(&a.up(&volume, &Usage::mount()).await, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    let device = a.up(&volume, &Usage::block()).await;
    OpenOptions::new().write(true).open(&device).unwrap().write_all_at(&[0; 4096], 0).unwrap();
    let before = ends(&device);
    a.down(&volume).await;
    let context = a.attach(&volume, &Usage::mount()).await.unwrap();
    let staged = a.stage(&volume, &context, &Usage::mount()).await;
    assert!(staged.is_err(), "a filesystem without its first block was taken for blank");
    a.detach(&volume.volume_id).await.unwrap();
    assert!(ends(&a.up(&volume, &Usage::block()).await) == before, "it was changed");
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

/// A write of zeros is a write: only the storage that knows that nothing was ever written there can call it blank.
async fn zeros_that_were_written_are_somebodys(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &Usage::block()).await;
    let device = a.up(&volume, &Usage::block()).await;
    let file = OpenOptions::new().write(true).open(&device).unwrap();
    file.write_all_at(&vec![0; 1 << 20], 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    a.down(&volume).await;
    let context = a.attach(&volume, &Usage::mount()).await.unwrap();
    refused(a.stage(&volume, &context, &Usage::mount()).await, Code::FailedPrecondition, &[&volume.volume_id]);
    a.detach(&volume.volume_id).await.unwrap();
    a.up(&volume, &Usage::block()).await;
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_discarded_volume_is_blank_again(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &Usage::block()).await;
    let device = a.up(&volume, &Usage::block()).await;
    write(&device, &pattern(1, 1 << 20)).unwrap();
    File::open(&device).unwrap().sync_all().unwrap();
    run("blkdiscard", &[&text(&device)]);
    a.down(&volume).await;
    let target = a.up(&volume, &Usage::mount()).await;
    write(&target, &pattern(2, 1 << 20)).unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
}

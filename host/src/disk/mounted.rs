//! What lies beneath a mount.

use std::path::Path;

use hawser_volume::Result;

use super::tree::{self, Tree};
use super::{DiskName, Trace, scini};
use crate::device::DeviceNumber;
use crate::mountinfo::MountEntry;

/// The major number of loop devices.
const LOOP: u32 = 7;

/// What lies beneath a mount, as far as the kernel's tables tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beneath {
    /// A disk that is there.
    Disk(DiskName),
    /// A disk of ScaleIO. Which one the kernel does not know; whoever opened it has noted that.
    ScaleIo(Trace),
    /// A disk that is gone from the machine, while its filesystem is still mounted or its node still shown.
    Gone(Trace),
    /// Something else.
    Other,
}

/// What lies beneath a mount: [`Host::disk_of`](crate::Host::disk_of).
pub fn of_mount(mount: &MountEntry) -> Result<Beneath> {
    beneath(&Tree::real(), mount)
}

pub(super) fn beneath(tree: &Tree, mount: &MountEntry) -> Result<Beneath> {
    match mount.filesystem.as_str() {
        // A raw device is shown by a bind mount of its node, whose root is the node's name in the filesystem of /dev.
        "devtmpfs" | "tmpfs" => {
            let Some((node, is_removed)) = node_of_root(&mount.root) else { return Ok(Beneath::Other) };
            let Ok(stat) = rustix::fs::lstat(&mount.mount_point) else { return Ok(Beneath::Other) };
            let number = DeviceNumber::from_dev(stat.st_rdev);
            // A node that was removed, or that is of another device by now, shows what was there before.
            let trace = Trace::Node(stat.st_dev, stat.st_ino);
            if !is_removed && tree.number_of(&node)? == Some(number) {
                return there(tree, number, trace);
            }
            Ok(Beneath::Gone(trace))
        }
        // It numbers its mounts itself; its source is the device all the same, and the device keeps its name while it is mounted.
        "btrfs" => {
            let name = mount.source.file_name().and_then(|name| name.to_str()).filter(|name| tree::is_disk(name));
            let Some(name) = name else { return Ok(Beneath::Other) };
            let trace = Trace::Name(name.to_owned());
            match tree.number_of(name)? {
                Some(number) => there(tree, number, trace),
                None => Ok(Beneath::Gone(trace)),
            }
        }
        _ if mount.device.major == 0 => Ok(Beneath::Other),
        _ if !tree.is_there(mount.device)? => Ok(Beneath::Gone(Trace::Number(mount.device))),
        _ => there(tree, mount.device, Trace::Number(mount.device)),
    }
}

/// What the disk with this number is.
fn there(tree: &Tree, number: DeviceNumber, trace: Trace) -> Result<Beneath> {
    match tree.node_of(number)? {
        Some(node) if tree::is_scini(&node) => Ok(Beneath::ScaleIo(trace)),
        Some(_) => Ok(tree.name_of(number)?.map_or(Beneath::Other, Beneath::Disk)),
        None => Ok(Beneath::Other),
    }
}

/// Whether the disk beneath a mount is gone: [`Host::is_severed`](crate::Host::is_severed).
pub fn is_severed(mount: &MountEntry) -> Result<bool> {
    // A loop device does not go while it is mounted.
    if mount.device.major == LOOP {
        return Ok(false);
    }
    let tree = Tree::real();
    let number = match beneath(&tree, mount)? {
        Beneath::Gone(_) => return Ok(true),
        // Whether ScaleIO's driver gives a number again while its old disk is still mounted is not known.
        Beneath::ScaleIo(Trace::Number(number)) => number,
        Beneath::ScaleIo(Trace::Name(name)) => match tree.number_of(&name)? {
            Some(number) => number,
            None => return Ok(true),
        },
        Beneath::ScaleIo(Trace::Node(..)) | Beneath::Disk(_) | Beneath::Other => return Ok(false),
    };
    // A filesystem has its disk for itself: if nobody has this one, the mount is of another.
    match tree.node_of(number)? {
        Some(node) => scini::is_free(&tree, number, &node),
        None => Ok(true),
    }
}

/// The name of the disk's node that is the root of a mount, and whether it has been removed (`//deleted`, as mountinfo writes it).
pub(super) fn node_of_root(root: &Path) -> Option<(String, bool)> {
    let text = root.to_str()?;
    let (text, is_removed) = match text.strip_suffix("//deleted") {
        Some(cut) => (cut, true),
        None => (text, false),
    };
    let name = Path::new(text).file_name()?.to_str()?;
    tree::is_disk(name).then(|| (name.to_owned(), is_removed))
}

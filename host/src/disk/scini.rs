//! Disks of ScaleIO's SDC, `/dev/scinia` and so on. The kernel does not know whose they are: the driver is asked, through `drv_cfg`.
//!
//! It is asked for a node, and the answer counts for the disk that had the node's number before the question and after it. udev's links
//! are made of the same answer, at some time; so the link says which disk is asked first, and nothing else.

use std::collections::HashMap;

use hawser_volume::{Bytes, Error, Kind, Result};
use nix::errno::Errno;
use rustix::fs::OFlags;

use super::tree::{Listed, Tree, is_scini};
use crate::device::{self, Device, DeviceNumber};
use crate::errno::{self, Attempt};
use crate::ioctl;
use crate::sdc::Sdc;

/// What was said of disks while one was looked for, so that each is asked once.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<(DeviceNumber, Option<u64>), String>);

/// The disk that is `volume`, if it is there. When it is not found, and one of the others could not be asked, that is the error.
pub(super) fn find(tree: &Tree, volume: &str, sdc: &Sdc, told: &mut Told) -> Result<Option<Listed>> {
    let linked = linked(tree, volume);
    let mut disks = tree.disks(is_scini)?;
    disks.sort_by_key(|listed| linked.as_ref() != Some(&listed.node));
    let mut unasked = None;
    for listed in disks {
        match said_of(tree, &listed, sdc, told) {
            Ok(Some(said)) if said == volume => return Ok(Some(listed)),
            Ok(Some(said)) if linked.as_ref() == Some(&listed.node) => {
                tracing::warn!(%volume, disk = %listed.node, is = %said, "the link in /dev/disk/by-id leads to another volume; it is not used");
            }
            Ok(_) => {}
            Err(error) => unasked = Some(error),
        }
    }
    unasked.map_or(Ok(None), Err)
}

/// The disk that udev's link leads to. The name is whole: the links of partitions begin with it.
fn linked(tree: &Tree, volume: &str) -> Option<String> {
    let target = std::fs::read_link(tree.dev.join("disk/by-id").join(format!("emc-vol-{volume}"))).ok()?;
    target.file_name()?.to_str().map(str::to_owned)
}

/// What the driver says of a disk; nothing when it has gone meanwhile.
fn said_of(tree: &Tree, listed: &Listed, sdc: &Sdc, told: &mut Told) -> Result<Option<String>> {
    let key = (listed.number, listed.sequence);
    if let Some(said) = told.0.get(&key) {
        return Ok(Some(said.clone()));
    }
    let path = tree.dev.join(&listed.node);
    let said =
        tree.make_node(listed).and_then(|()| check_node(tree, &listed.node, listed.number)).and_then(|()| sdc.volume_of(&path));
    if !tree.is_same(listed)? {
        return Ok(None);
    }
    let said = said?;
    // Without a number of its own, what comes later under this one would be taken for it.
    if key.1.is_some() {
        told.0.insert(key, said.clone());
    }
    Ok(Some(said))
}

/// Whoever opens the node by its path opens what it is now.
fn check_node(tree: &Tree, node: &str, number: DeviceNumber) -> Result<()> {
    let path = tree.dev.join(node);
    let stat = rustix::fs::lstat(&path).attempt(|| format!("stat {}", path.display()))?;
    let found = DeviceNumber::from_dev(stat.st_rdev);
    if found == number {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "{} is device {found}, and the disk of this name is device {number}: the node is wrong; remove it",
        path.display()
    )))
}

/// Which volume the open device is. `Unavailable` when it is gone, or the driver does not say; `Precondition` when its node is that of
/// another device, or multipathd has taken it.
pub(super) fn volume_of(tree: &Tree, device: &Device, sdc: &Sdc) -> Result<String> {
    let Some(node) = tree.node_of(device.number)?.filter(|node| is_scini(node)) else { return Err(gone(device)) };
    is_here(tree, device)?;
    if let Some(holder) = tree.multipath_of(device.number)? {
        return Err(Error::precondition(format!(
            "multipathd has taken {} ({holder}), and writes by two ways would follow; add devnode \"^scini\" to the blacklist of \
             /etc/multipath.conf, and run `multipath -f {holder}` and `multipathd reconfigure`",
            device.path.display()
        )));
    }
    check_node(tree, &node, device.number)?;
    let said = sdc.volume_of(&tree.dev.join(&node));
    // The answer was about this device only if it has been there all the time.
    is_here(tree, device)?;
    said
}

/// Success if the open device is the disk that has its number now: numbers may be given again, to disks that come later.
fn is_here(tree: &Tree, device: &Device) -> Result<()> {
    let mut own = 0;
    match ioctl::block_sequence(&device.file, &mut own) {
        Ok(_) => {
            let listed = tree.sequence_of(device.number)?;
            if listed == Some(own) { Ok(()) } else { Err(gone(device)) }
        }
        // An older kernel. What is left of a disk that is gone has no size.
        Err(Errno::ENOTTY | Errno::EINVAL) if device.current_size()? > Bytes::new(0) => Ok(()),
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::ENXIO | Errno::ENODEV) => Err(gone(device)),
        Err(errno) => {
            Err(errno::error(format!("ask {} which disk it is", device.path.display()), errno).with_kind(Kind::Unavailable))
        }
    }
}

fn gone(device: &Device) -> Error {
    Error::unavailable(format!("{} (device {}): the device is gone, it has been detached", device.path.display(), device.number))
}

/// Whether nobody has the disk with this number for itself, so that no mount can be of it.
pub(super) fn is_free(tree: &Tree, number: DeviceNumber, node: &str) -> Result<bool> {
    let path = tree.dev.join(node);
    let what = || format!("open device {} exclusively", path.display());
    check_node(tree, node, number)?;
    let held = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty()).attempt(what)?;
    match device::reopen(&held, OFlags::RDONLY | OFlags::EXCL) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::BUSY) => Ok(false),
        Err(errno) => Err(errno::error(what(), errno)),
    }
}

//! Disks that a storage system attaches to this machine, found by what they say of themselves.
//!
//! The kernel gives names in the order in which disks appear, and udev's links follow later, or do not: so no name and no link is
//! taken for anything but a place to look. sysfs says which disk may be the one; that is opened; and the *open* device is asked who
//! it is. What is open keeps its number, so whatever is done by number from then on is done to this disk or to none.
//!
//! ```text
//! /sys/block/*: serial, model ──▶ /dev/NAME, number compared ──▶ open ──▶ asked: identify ──▶ Device, with its identity
//!                                                                            ▲
//!                       asked again before a format, before a mount, and of the mount's device before it is seen
//! ```
//!
//! A disk of ScaleIO is asked through its driver's program ([`crate::sdc`]), by its node; that the open device is the disk that the
//! answer is about follows from the kernel's number of the disk (`diskseq`), which no other one ever has.

use std::fmt;
use std::time::{Duration, Instant};

use hawser_volume::{Bytes, Deadline, Error, Kind, Result};

use self::tree::{Listed, Tree};
use crate::device::{Device, DeviceNumber};
use crate::errno::Attempt;
use crate::nvme;
use crate::sdc::{self, Sdc};
use crate::uevent::Uevents;

mod mounted;
mod scini;
mod tree;

pub use mounted::{Beneath, is_severed, of_mount};

/// How often it is looked for a disk while the kernel says nothing.
const LOOK: Duration = Duration::from_millis(500);

/// The same where the kernel cannot be listened to, and for what it does not tell (a size).
const LOOK_OFTEN: Duration = Duration::from_millis(100);

/// How often a driver that has to be told so looks for its disks anew while one is waited for.
const RESCAN: Duration = Duration::from_secs(5);

/// The same while a disk is to become larger.
const RESCAN_GROWN: Duration = Duration::from_secs(2);

/// How long a disk of ScaleIO may be in the way that is going, or is not yet what it will be: a mapping is gone a moment before its disk.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// By what a disk is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DiskName {
    /// A namespace of an NVMe controller.
    Nvme {
        /// The controller's model.
        model: String,
        /// The controller's serial number.
        serial: String,
        /// The number of the namespace.
        namespace: u32,
    },
    /// A disk of a virtual machine of Xen. It has no serial number: the machine's owner gave it a name, and that is all it has.
    Xen {
        /// The name, `xvdba`.
        name: String,
    },
    /// A volume of ScaleIO, a disk of the driver of its SDC.
    ScaleIo {
        /// The ids of its system and its own, `SYSTEM-VOLUME`, in small letters.
        volume: String,
        /// Who tells whose a disk is.
        sdc: Sdc,
    },
}

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskName::Nvme { serial, namespace: 1, .. } => f.write_str(serial),
            DiskName::Nvme { serial, namespace, .. } => write!(f, "{serial} (namespace {namespace})"),
            DiskName::Xen { name } => f.write_str(name),
            DiskName::ScaleIo { volume, .. } => f.write_str(volume),
        }
    }
}

impl DiskName {
    /// Asks the open device whether it is this disk. `Precondition` when it is another one, `Unavailable` when it does not answer.
    pub(crate) fn prove(&self, device: &Device) -> Result<()> {
        let found = match self {
            DiskName::Nvme { .. } => {
                let controller = nvme::Controller::of(&device.file).map_err(|error| error.while_doing(device.path.display()))?;
                let namespace = nvme::namespace(&device.file).map_err(|error| error.while_doing(device.path.display()))?;
                DiskName::Nvme { model: controller.model, serial: controller.serial, namespace }
            }
            DiskName::Xen { .. } => Tree::real().name_of(device.number)?.ok_or_else(|| {
                Error::unavailable(format!("{} (device {}) is not there any more", device.path.display(), device.number))
            })?,
            DiskName::ScaleIo { sdc, .. } => {
                DiskName::ScaleIo { volume: scini::volume_of(&Tree::real(), device, sdc)?, sdc: sdc.clone() }
            }
        };
        if found == *self {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "{} (device {}) is disk {found}, and {self} was looked for; it is left as it is",
            device.path.display(),
            device.number
        )))
    }
}

/// What is left of a disk that is gone: by this, whoever opened it knows it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trace {
    /// Its number. As long as its filesystem is mounted, no other disk gets it.
    Number(DeviceNumber),
    /// Its name; the same holds for it.
    Name(String),
    /// Its node in the filesystem of `/dev`: `st_dev` and `st_ino`.
    Node(u64, u64),
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trace::Number(number) => write!(f, "number {number}"),
            Trace::Name(name) => write!(f, "name {name}"),
            Trace::Node(device, inode) => write!(f, "node {device}:{inode}"),
        }
    }
}

impl Device {
    /// What will be left of this device when it is gone.
    pub fn traces(&self) -> Result<Vec<Trace>> {
        let node = rustix::fs::stat(&self.path).attempt(|| format!("stat {}", self.path.display()))?;
        let name = self.path.file_name().map(|name| Trace::Name(name.to_string_lossy().into_owned()));
        Ok([Trace::Number(self.number), Trace::Node(node.st_dev, node.st_ino)].into_iter().chain(name).collect())
    }

    /// Asks the open device whether it is still the disk that it was opened as; success for one that was not opened as a certain disk.
    /// Errors as when it was opened.
    pub fn prove(&self) -> Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.prove(self))
    }
}

/// Opens the disk that one of `names` names: [`Host::open_disk`](crate::Host::open_disk).
pub fn open(names: &[DiskName], read_only: bool, deadline: Deadline) -> Result<Option<Device>> {
    let tree = Tree::real();
    // Before the first look, so that nothing falls between the two.
    let events = Uevents::listen().inspect_err(|error| tracing::debug!(error = error.chain(), "looking for a disk often")).ok();
    let mut told = scini::Told::default();
    let mut rescanned: Option<Instant> = None;
    loop {
        if let Some(device) = open_now(&tree, names, read_only, &mut told, deadline)? {
            return Ok(Some(device));
        }
        if deadline.passed() {
            return Ok(None);
        }
        if names.iter().any(|name| matches!(name, DiskName::ScaleIo { .. })) && rescanned.is_none_or(|at| at.elapsed() >= RESCAN)
        {
            rescan_sdc();
            rescanned = Some(Instant::now());
        }
        if events.as_ref().is_none_or(|events| events.wait(LOOK.min(deadline.remaining())).is_err()) {
            std::thread::sleep(LOOK_OFTEN.min(deadline.remaining()));
        }
    }
}

/// The driver looks from time to time by itself too, so it is waited for whether or not it could be told.
fn rescan_sdc() {
    if let Err(error) = sdc::rescan() {
        tracing::debug!(error = error.chain(), "could not ask for a rescan");
    }
}

/// What is seen of a disk.
enum Look {
    /// It is there, and it is the one.
    There(Device),
    /// It is not there.
    Absent,
    /// What is there cannot be used, which may be because it is on its way: so it is with disks of ScaleIO alone.
    Unsettled(Error),
}

/// Opens it if it is there now. What is on its way gets a moment, until `deadline`.
fn open_now(
    tree: &Tree,
    names: &[DiskName],
    read_only: bool,
    told: &mut scini::Told,
    deadline: Deadline,
) -> Result<Option<Device>> {
    let patience = Deadline::after(SETTLES_WITHIN).earlier(deadline);
    loop {
        match look(tree, names, read_only, told)? {
            Look::There(device) => return Ok(Some(device)),
            Look::Absent => return Ok(None),
            Look::Unsettled(error) if patience.passed() => return Err(error),
            Look::Unsettled(error) => tracing::debug!(error = error.chain(), "looking once more"),
        }
        std::thread::sleep(LOOK_OFTEN);
    }
}

fn look(tree: &Tree, names: &[DiskName], read_only: bool, told: &mut scini::Told) -> Result<Look> {
    let is_scini = names.iter().any(|name| matches!(name, DiskName::ScaleIo { .. }));
    let (name, listed) = match find(tree, names, told) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Look::Absent),
        // One that is going is still listed, and its driver does not know it any more.
        Err(error) if is_scini && error.kind() == Kind::Unavailable => return Ok(Look::Unsettled(error)),
        Err(error) => return Err(error),
    };
    let path = tree.dev.join(&listed.node);
    let opened = tree.make_node(&listed).and_then(|()| Device::open(&path, read_only));
    // What was attached anew under the same name meanwhile is another device, and is looked for anew.
    let device = match opened {
        Err(_) if !tree.is_same(&listed)? => return Ok(Look::Absent),
        // The disk of a mapping for reading that has ended goes, before that of one for writing comes.
        Err(error) if is_scini && !read_only && tree.is_read_only(listed.number)? => return Ok(Look::Unsettled(error)),
        other => other?,
    };
    if device.number != listed.number {
        if !tree.is_same(&listed)? {
            return Ok(Look::Absent);
        }
        return Err(Error::precondition(format!(
            "{} is device {}, and disk {name} is device {}: the node is wrong; remove it",
            path.display(),
            device.number,
            listed.number
        )));
    }
    let device = Device { disk: Some(name), ..device };
    match device.prove() {
        Ok(()) => Ok(Look::There(device)),
        Err(_) if !tree.is_same(&listed)? => Ok(Look::Absent),
        Err(error) if is_scini && error.kind() == Kind::Unavailable => Ok(Look::Unsettled(error)),
        Err(error) => Err(error),
    }
}

/// The disk that sysfs lists under the first of `names` that there is; `Precondition` when two say that they are it.
fn find(tree: &Tree, names: &[DiskName], told: &mut scini::Told) -> Result<Option<(DiskName, Listed)>> {
    let listed = tree.list()?;
    for name in names {
        if let DiskName::ScaleIo { volume, sdc } = name {
            if let Some(listed) = scini::find(tree, volume, sdc, told)? {
                return Ok(Some((name.clone(), listed)));
            }
            continue;
        }
        let mut found = listed.iter().filter(|(known, _)| known == name).map(|(_, listed)| listed);
        let Some(first) = found.next() else { continue };
        if let Some(second) = found.next() {
            return Err(Error::precondition(format!(
                "{} and {} both say that they are disk {name}; which of them is cannot be told",
                first.node, second.node
            )));
        }
        return Ok(Some((name.clone(), first.clone())));
    }
    Ok(None)
}

/// Has the disk's size read anew: [`Host::rescan_disk`](crate::Host::rescan_disk).
pub fn rescan(names: &[DiskName], at_least: Bytes, deadline: Deadline) -> Result<Option<Bytes>> {
    let tree = Tree::real();
    let Some(device) = open_now(&tree, names, true, &mut scini::Told::default(), deadline)? else { return Ok(None) };
    let is_scini = matches!(device.disk, Some(DiskName::ScaleIo { .. }));
    let mut rescanned = Instant::now();
    if device.current_size()? < at_least {
        if is_scini {
            rescan_sdc();
        } else if let Some(ask) = tree.rescan_file(device.number)?
            // The controller tells its host of a change by itself, too; where it may not be asked, that has to do.
            && let Err(error) = std::fs::write(&ask, "1")
        {
            tracing::debug!(path = %ask.display(), %error, "could not ask for a rescan");
        }
    }
    loop {
        let size = device.current_size()?;
        if size >= at_least || deadline.passed() {
            device.prove()?;
            return Ok(Some(size));
        }
        // The array may have told its SDCs later than whoever asked it to grow the volume.
        if is_scini && rescanned.elapsed() >= RESCAN_GROWN {
            rescan_sdc();
            rescanned = Instant::now();
        }
        std::thread::sleep(LOOK_OFTEN.min(deadline.remaining()));
    }
}

/// Brings a disk to rest, so that it can be taken away: [`Host::rest_disk`](crate::Host::rest_disk).
pub fn rest(names: &[DiskName]) -> Result<()> {
    let Some(device) = open_now(&Tree::real(), names, true, &mut scini::Told::default(), Deadline::after(SETTLES_WITHIN))? else {
        return Ok(());
    };
    if device.is_held()? {
        return Err(Error::precondition(format!(
            "{} is still mounted (perhaps in another mount namespace) or used by LVM, md or swap; unmount it there",
            device.path.display()
        )));
    }
    match device.flush() {
        // It went meanwhile: there is nothing to take away.
        Err(error) if error.kind() == Kind::Unavailable && !Tree::real().is_there(device.number)? => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;

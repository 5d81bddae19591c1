//! What sysfs lists: the machine's disks, and what their drivers say of them.

use std::io;
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Kind, Result};
use rustix::fs::{CWD, FileType, Mode};

use super::DiskName;
use crate::device::DeviceNumber;
use crate::errno::{self, Attempt};

/// The two trees that a machine's disks are seen in.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) sys: PathBuf,
    pub(super) dev: PathBuf,
}

/// A disk as sysfs lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// The name of its node.
    pub(super) node: String,
    pub(super) number: DeviceNumber,
    /// The number that it shares with no other, of Linux 5.15.
    pub(super) sequence: Option<u64>,
}

/// Whether the name can be that of a whole disk of a kind that is known here: `nvme1n1`, `xvdba`, `scinia`.
pub(super) fn is_disk(name: &str) -> bool {
    is_nvme(name) || is_xen(name) || is_scini(name)
}

fn is_nvme(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix("nvme")
        .and_then(|rest| rest.split_once('n'))
        .is_some_and(|(controller, disk)| digits(controller) && digits(disk))
}

fn is_xen(name: &str) -> bool {
    is_lettered(name, "xvd")
}

/// Whether the name can be that of a disk of the driver of ScaleIO's SDC.
pub(super) fn is_scini(name: &str) -> bool {
    is_lettered(name, "scini")
}

fn is_lettered(name: &str, driver: &str) -> bool {
    name.strip_prefix(driver).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase()))
}

impl Tree {
    pub(super) fn real() -> Self {
        Self { sys: PathBuf::from("/sys"), dev: PathBuf::from("/dev") }
    }

    /// Every disk that says who it is. One that goes while it is looked at is not there.
    pub(super) fn list(&self) -> Result<Vec<(DiskName, Listed)>> {
        let mut found = Vec::new();
        for listed in self.disks(is_disk)? {
            if let Some(name) = self.name_in(&self.sys.join("block").join(&listed.node), &listed.node)? {
                found.push((name, listed));
            }
        }
        Ok(found)
    }

    /// Every disk whose node has a name that `is` one, in the order of their names.
    pub(super) fn disks(&self, is: impl Fn(&str) -> bool) -> Result<Vec<Listed>> {
        let directory = self.sys.join("block");
        let listing = || format!("list {}", directory.display());
        let mut found = Vec::new();
        // Without sysfs nothing can be known of the disks there are, which is not the same as that there are none.
        for entry in std::fs::read_dir(&directory).attempt(listing).map_err(|error| error.with_kind(Kind::Precondition))? {
            let name = entry.attempt(listing)?.file_name();
            let Some(node) = name.to_str().filter(|name| is(name)) else { continue };
            if let Some(number) = self.number_of(node)? {
                found.push(Listed { node: node.to_owned(), number, sequence: self.sequence_of(number)? });
            }
        }
        found.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(found)
    }

    /// The number that the disk with this node has now.
    pub(super) fn number_of(&self, node: &str) -> Result<Option<DeviceNumber>> {
        attribute(&self.sys.join("block").join(node).join("dev"))?.map(|text| text.parse()).transpose()
    }

    /// Whether there is a device with this number. `Precondition` without sysfs, where nothing can be known.
    pub(super) fn is_there(&self, number: DeviceNumber) -> Result<bool> {
        let exists = |path: PathBuf| path.try_exists().attempt(|| format!("look for {}", path.display()));
        if exists(self.of(number))? {
            return Ok(true);
        }
        let listed = self.sys.join("dev/block");
        if exists(listed.clone())? {
            return Ok(false);
        }
        Err(Error::precondition(format!("there is no {}; mount sysfs at {}", listed.display(), self.sys.display())))
    }

    fn of(&self, number: DeviceNumber) -> PathBuf {
        self.sys.join("dev/block").join(number.to_string())
    }

    /// The node of the disk with this number; nothing when it is gone, a partition, or no disk that is known here.
    pub(super) fn node_of(&self, number: DeviceNumber) -> Result<Option<String>> {
        let path = match std::fs::read_link(self.of(number)) {
            Err(error) if is_absence(&error) => return Ok(None),
            other => other.attempt(|| format!("read {}", self.of(number).display()))?,
        };
        Ok(path.file_name().and_then(|name| name.to_str()).filter(|name| is_disk(name)).map(str::to_owned))
    }

    /// What the disk with this number says of itself to the kernel; nothing when there is no such disk that is known here, or it says
    /// nothing to the kernel.
    pub(super) fn name_of(&self, number: DeviceNumber) -> Result<Option<DiskName>> {
        match self.node_of(number)? {
            Some(node) => self.name_in(&self.of(number), &node),
            None => Ok(None),
        }
    }

    /// The number that the disk with this device number shares with no other, of Linux 5.15.
    pub(super) fn sequence_of(&self, number: DeviceNumber) -> Result<Option<u64>> {
        Ok(attribute(&self.of(number).join("diskseq"))?.and_then(|text| text.parse().ok()))
    }

    /// Whether this is the disk that has its node now, and not one that came later.
    pub(super) fn is_same(&self, listed: &Listed) -> Result<bool> {
        Ok(self.number_of(&listed.node)? == Some(listed.number) && self.sequence_of(listed.number)? == listed.sequence)
    }

    /// Whether the disk with this number can only be read.
    pub(super) fn is_read_only(&self, number: DeviceNumber) -> Result<bool> {
        Ok(attribute(&self.of(number).join("ro"))?.is_some_and(|text| text == "1"))
    }

    /// The multipath device that has the disk with this number for itself, by its name.
    pub(super) fn multipath_of(&self, number: DeviceNumber) -> Result<Option<String>> {
        let directory = self.of(number).join("holders");
        let listing = || format!("list {}", directory.display());
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if is_absence(&error) => return Ok(None),
            other => other.attempt(listing)?,
        };
        for entry in entries {
            let holder = entry.attempt(listing)?.path();
            if attribute(&holder.join("dm/uuid"))?.is_some_and(|uuid| uuid.starts_with("mpath-")) {
                return attribute(&holder.join("dm/name"));
            }
        }
        Ok(None)
    }

    fn name_in(&self, directory: &Path, node: &str) -> Result<Option<DiskName>> {
        // The kernel knows nothing of them but the name.
        if is_scini(node) {
            return Ok(None);
        }
        if is_xen(node) {
            // Other drivers can be told to use such names; only the one of Xen means by them what the machine's owner said.
            let driver = std::fs::read_link(directory.join("device/subsystem"));
            let is_xen = driver.is_ok_and(|path| path.file_name().is_some_and(|name| name == "xen"));
            return Ok(is_xen.then(|| DiskName::Xen { name: node.to_owned() }));
        }
        let read = |name: &str| attribute(&directory.join(name));
        let (Some(serial), Some(model), Some(namespace)) = (read("device/serial")?, read("device/model")?, read("nsid")?) else {
            return Ok(None);
        };
        let namespace =
            namespace.parse().map_err(|_| Error::internal(format!("{}/nsid has {namespace:?}", directory.display())))?;
        Ok(Some(DiskName::Nvme { model, serial, namespace }))
    }

    /// The file by which the controller of a disk is asked what it has.
    pub(super) fn rescan_file(&self, number: DeviceNumber) -> Result<Option<PathBuf>> {
        let path = self.of(number).join("device/rescan_controller");
        Ok(path.try_exists().attempt(|| format!("look for {}", path.display()))?.then_some(path))
    }

    /// Makes the disk's node where the machine did not (a container with a `/dev` of its own).
    pub(super) fn make_node(&self, listed: &Listed) -> Result<()> {
        let path = self.dev.join(&listed.node);
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        let made = rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::from_raw_mode(0o660), listed.number.to_dev());
        match made {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno::error(format!("create device node {}", path.display()), errno)),
        }
    }
}

/// The text of an attribute, without the space around it; nothing when it is not there, or its device is going.
fn attribute(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            Ok(Some(String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0').to_owned()))
        }
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(errno::error(format!("read {}", path.display()), error)),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ENXIO | libc::ENODEV))
}

//! Is this mount really of that device? Asked of the kernel, never of a path.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use std::ffi::{CStr, OsStr};
use std::fs::File;

use hawser_volume::{Error, Filesystem, Result};
use rustix::fs::{Mode, OFlags};
use uuid::Uuid;

use crate::device::{Device, DeviceNumber};
use crate::errno::{self, Attempt};
use crate::ioctl::{self, BtrfsDevice, BtrfsInfo};

/// Proves that the filesystem behind `root` (a descriptor of its root directory, a detached mount as well) lies on `device` and
/// on no other; `Internal` when it does not.
pub(crate) fn verify(root: impl AsFd, filesystem: Filesystem, device: &Device) -> Result<()> {
    let devices = devices(root, filesystem)?;
    if devices == [device.number] {
        return Ok(());
    }
    let found: Vec<String> = devices.iter().map(DeviceNumber::to_string).collect();
    Err(Error::internal(format!(
        "the {filesystem} filesystem found for {} (device {}) lies on device {}; nothing was made visible",
        device.path.display(),
        device.number,
        found.join(" and ")
    )))
}

/// The block devices that a mounted filesystem lies on.
pub(crate) fn devices(root: impl AsFd, filesystem: Filesystem) -> Result<Vec<DeviceNumber>> {
    match filesystem {
        Filesystem::Ext4 | Filesystem::Xfs => {
            let stat = rustix::fs::fstat(root).attempt(|| "stat the root of a mount".into())?;
            Ok(vec![DeviceNumber::from_dev(stat.st_dev)])
        }
        // The number that stat shows is made up: a btrfs may span devices.
        Filesystem::Btrfs => {
            let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(root, c".", open, Mode::empty()).attempt(|| "open the root of a btrfs".into())?;
            btrfs_devices(&File::from(root))
        }
    }
}

/// What a btrfs says of itself and its devices.
pub(crate) fn btrfs_info(root: &File) -> Result<BtrfsInfo> {
    let mut info = BtrfsInfo { max_id: 0, num_devices: 0, fsid: [0; 16], rest: [0; 124] };
    ioctl::btrfs_info(root, &mut info).attempt(|| "ask a btrfs for its devices".into())?;
    Ok(info)
}

/// The one device of a btrfs; `Precondition` when it has several.
pub(crate) fn btrfs_device(root: &File) -> Result<BtrfsDevice> {
    let info = btrfs_info(root)?;
    if info.num_devices != 1 {
        return Err(Error::precondition(format!("a btrfs of {} devices is not supported; remove all but one", info.num_devices)));
    }
    for devid in 1..=info.max_id {
        let mut device =
            BtrfsDevice { devid, uuid: [0; 16], bytes_used: 0, total_bytes: 0, fsid: [0; 16], unused: [0; 377], path: [0; 1024] };
        match ioctl::btrfs_device(root, &mut device) {
            Ok(_) => return Ok(device),
            // Numbers are not used again, so a device that was replaced leaves a gap.
            Err(nix::errno::Errno::ENODEV) => {}
            Err(errno) => return Err(errno::error("ask a btrfs for its device", errno)),
        }
    }
    Err(Error::internal("a btrfs names none of its devices"))
}

fn btrfs_devices(root: &File) -> Result<Vec<DeviceNumber>> {
    let info = btrfs_info(root)?;
    let listed = Path::new("/sys/fs/btrfs").join(Uuid::from_bytes(info.fsid).to_string()).join("devices");
    let Ok(entries) = std::fs::read_dir(&listed) else {
        // No sysfs: the kernel's path of the device has to do, and a wrong one is found out by its number.
        let device = btrfs_device(root)?;
        let path = CStr::from_bytes_until_nul(&device.path).map(CStr::to_bytes).unwrap_or_default();
        let stat = rustix::fs::stat(Path::new(OsStr::from_bytes(path))).attempt(|| "stat the device of a btrfs".into())?;
        return Ok(vec![DeviceNumber::from_dev(stat.st_rdev)]);
    };
    let mut devices = Vec::new();
    for entry in entries {
        let number = entry.attempt(|| format!("list {}", listed.display()))?.path().join("dev");
        devices.push(std::fs::read_to_string(&number).attempt(|| format!("read {}", number.display()))?.parse()?);
    }
    Ok(devices)
}

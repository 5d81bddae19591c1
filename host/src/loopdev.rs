//! Loop devices: a file as a block device.
//!
//! A binding is recognised by the device and inode number of its file, as the kernel tells them; paths are only hints. Two
//! bindings of one file would be two caches of the same bytes, so attaching holds a lock on the file (an open-file-description
//! lock on a byte beyond any end, which no `flock` of others collides with) from the search for an existing binding until there
//! is one.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::{Bytes, Deadline, Error, Kind, Result};
use nix::errno::Errno;
use rustix::fs::OFlags;

use self::image::{Identity, lock, open_image};
use self::node::{Node, backing_file, status};
use crate::device::{Device, DeviceNumber, reopen};
use crate::errno::{self, Attempt};
use crate::ioctl::{self, LoopConfig, LoopInfo};
use crate::mountinfo::MountEntry;

mod image;
mod node;

/// The major number of loop devices (Documentation/admin-guide/devices.txt).
const LOOP_MAJOR: u32 = 7;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// The sector size of every loop device. Fixed, because a filesystem made on one node must mount on every other, whatever disk
/// the image lies on there.
const SECTOR: u32 = 512;

/// How often a free device is asked for when others take them first.
const ATTEMPTS: u32 = 256;

/// How long something that may be passing (a mount that is being torn down, udev) is waited for.
const PASSING: Duration = Duration::from_secs(5);

/// Binds `image` to a loop device, or finds it bound: [`Host::attach_loop`](crate::Host::attach_loop).
pub fn attach(image: &Path, read_only: bool) -> Result<Device> {
    let file = open_image(image, read_only)?;
    let _lock = lock(image)?;
    let identity = Identity::of(&rustix::fs::fstat(&file).attempt(|| format!("stat {}", image.display()))?);
    // A binding that is found may go away before it is opened, when its last user ends just now; then it is looked for again.
    for _ in 0..ATTEMPTS {
        let found = match bindings(&identity)?.as_slice() {
            [] => Some(bind(&file, &identity, image, read_only)?),
            [one] => reuse(one, &identity, image, &file, read_only)?,
            several => {
                let names: Vec<String> = several.iter().map(|node| node.path.display().to_string()).collect();
                return Err(Error::precondition(format!(
                    "{} is bound to {}; detach all but one (losetup -d)",
                    image.display(),
                    names.join(" and ")
                )));
            }
        };
        if let Some(device) = found {
            return Ok(device);
        }
    }
    Err(Error::unavailable(format!("{} is attached and detached all the time by others", image.display())))
}

/// The loop devices that `image` is bound to: [`Host::loops_of`](crate::Host::loops_of).
pub fn of_image(image: &Path) -> Result<Vec<PathBuf>> {
    Ok(bindings(&Identity::of_path(image)?)?.into_iter().map(|node| node.path).collect())
}

/// Frees `device` if it is bound to `image`: [`Host::detach_loop`](crate::Host::detach_loop).
pub fn detach(device: &Path, image: &Path, deadline: Deadline) -> Result<()> {
    let identity = Identity::of_path(image)?;
    let Some(node) = Node::of_path(device)? else { return Ok(()) };
    if !free(&node, &identity, image, deadline)? {
        return Ok(());
    }
    // The kernel frees the device when the last descriptor of it is closed; udev may hold one for a moment.
    let mut pause = Duration::from_millis(1);
    loop {
        match node.status()? {
            Some(info) if identity.matches(&info, &node) => {
                if info.flags & AUTOCLEAR == 0 {
                    return Err(Error::precondition(format!("{} was attached again meanwhile", image.display())));
                }
            }
            _ => return Ok(()),
        }
        if deadline.passed() {
            return Err(Error::precondition(format!(
                "{} is held open by another program; it will be free when that ends",
                node.path.display()
            )));
        }
        std::thread::sleep(pause.min(deadline.remaining()));
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Makes the device as large as its image: [`Host::resize_loop`](crate::Host::resize_loop).
pub fn resize(device: &Path) -> Result<Bytes> {
    let device = Device::open(device, true)?;
    ioctl::loop_set_capacity(&device.file).attempt(|| format!("resize loop device {}", device.path.display()))?;
    device.current_size()
}

/// The file that a loop device is bound to: [`Host::loop_image`](crate::Host::loop_image).
pub fn image_of(number: DeviceNumber) -> Result<Option<PathBuf>> {
    backing_file(&Path::new("/sys/dev/block").join(number.to_string()))
}

/// The file behind a mount: [`Host::loop_image_of`](crate::Host::loop_image_of).
pub fn image_of_mount(mount: &MountEntry) -> Result<Option<PathBuf>> {
    // A raw device is shown by a bind mount of its node, whose root is the node's name in the filesystem of /dev.
    let node = matches!(mount.filesystem.as_str(), "devtmpfs" | "tmpfs").then(|| mount.root.file_name()).flatten();
    // btrfs numbers its mounts itself; its source is the device all the same.
    let device = (mount.filesystem == "btrfs").then(|| mount.source.file_name()).flatten();
    match node.or(device) {
        Some(name) => match name.to_str() {
            Some(name) if name.starts_with("loop") => backing_file(&Path::new("/sys/block").join(name)),
            _ => Ok(None),
        },
        None if mount.device.major == LOOP_MAJOR => image_of(mount.device),
        None => Ok(None),
    }
}
/// Every loop device that is bound to the image.
fn bindings(identity: &Identity) -> Result<Vec<Node>> {
    let listing = || "list /sys/block".to_owned();
    let mut found = Vec::new();
    // Without sysfs nothing can be known of the loop devices there are, which is not the same as that there are none.
    for entry in std::fs::read_dir("/sys/block").attempt(listing).map_err(|error| error.with_kind(Kind::Precondition))? {
        let name = entry.attempt(listing)?.file_name();
        let Some(index) = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok()) else { continue };
        let node = Node::new(index);
        if !node.sysfs().join("loop/backing_file").exists() {
            continue;
        }
        if node.status()?.is_some_and(|info| identity.matches(&info, &node)) {
            found.push(node);
        }
    }
    found.sort_by_key(|node| node.index);
    Ok(found)
}

/// Binds an image that is bound nowhere.
fn bind(image: &File, identity: &Identity, path: &Path, read_only: bool) -> Result<Device> {
    let what = || format!("bind {} to a loop device", path.display());
    let control = File::options().read(true).write(true).open("/dev/loop-control").attempt(|| "open /dev/loop-control".into())?;
    let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
    let fd = u32::try_from(image.as_raw_fd()).map_err(|_| Error::internal("a descriptor is negative"))?;
    let mut info = LoopInfo::EMPTY;
    // For people who run losetup; the kernel compares nothing with it.
    let name = path.as_os_str().as_bytes();
    let kept = name.len().min(info.file_name.len() - 1);
    info.file_name[..kept].copy_from_slice(&name[..kept]);
    info.flags = DIRECT_IO | if read_only { READ_ONLY } else { 0 };
    for attempt in 0..ATTEMPTS {
        let index = ioctl::loop_free_number(&control).attempt(what)?;
        let node = Node::new(u32::try_from(index).map_err(|_| Error::internal("the kernel named a negative loop device"))?);
        let Some(file) = node.open_settled(access)? else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let config = LoopConfig { fd, block_size: SECTOR, info, reserved: [0; 8] };
        match ioctl::loop_configure(&file, &config) {
            Ok(_) => {
                let bound = status(&file).attempt(what)?;
                if !bound.is_some_and(|info| identity.matches(&info, &node)) {
                    return Err(Error::internal(format!("{} came out bound to another file", node.path.display())));
                }
                return Device::from_file(file, &node.path, read_only);
            }
            // Somebody else was given the same number, or has the device open exclusively.
            Err(Errno::EBUSY | Errno::ENXIO) => {
                std::thread::sleep(Duration::from_millis(u64::from(attempt.min(20))));
            }
            // Some filesystems cannot do direct I/O; going through their cache is right too, only slower.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) if info.flags & DIRECT_IO != 0 => info.flags &= !DIRECT_IO,
            Err(errno) => return Err(errno::error(what(), errno)),
        }
    }
    Err(Error::unavailable(format!("{}: others took every free one {ATTEMPTS} times", what())))
}

/// Opens the device that the image is bound to already; nothing when it is not bound any more.
fn reuse(node: &Node, identity: &Identity, image: &Path, file: &File, read_only: bool) -> Result<Option<Device>> {
    let what = || format!("use {}, which {} is bound to", node.path.display(), image.display());
    let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
    let Some(device) = node.open_settled(access)? else { return Ok(None) };
    // From here on the descriptor keeps the binding; what was true before it was opened has to be asked again.
    let info = status(&device).attempt(what)?.filter(|info| identity.matches(info, node));
    let Some(mut info) = info else { return Ok(None) };
    if info.offset != 0 || info.size_limit != 0 {
        return Err(Error::precondition(format!(
            "{} is bound to a part of {} only; detach it (losetup -d)",
            node.path.display(),
            image.display()
        )));
    }
    if info.flags & READ_ONLY != 0 && !read_only {
        return Err(Error::precondition(format!(
            "{} is bound read-only to {}; detach it first",
            image.display(),
            node.path.display()
        )));
    }
    if info.flags & AUTOCLEAR != 0 {
        // Somebody detached it while it was open; without this it would vanish under the next user.
        info.flags &= !AUTOCLEAR;
        ioctl::loop_set_status(&device, &info).attempt(what)?;
    }
    let device = Device::from_file(device, &node.path, read_only)?;
    let length = rustix::fs::fstat(file).attempt(what)?.st_size;
    let usable = u64::try_from(length).unwrap_or(0) / u64::from(SECTOR) * u64::from(SECTOR);
    if usable > device.size.get() {
        ioctl::loop_set_capacity(&device.file).attempt(what)?;
        let size = device.current_size()?;
        return Ok(Some(Device { size, ..device }));
    }
    if usable < device.size.get() {
        // What was cut off reads as zero through the device: it must neither be taken for blank nor be written to.
        return Err(Error::precondition(format!(
            "{} is shorter ({usable} bytes) than {} was when it was bound; restore it",
            image.display(),
            node.path.display()
        )));
    }
    Ok(Some(device))
}

/// Tells the kernel to free the device; false when it is not bound to the image (any more).
fn free(node: &Node, identity: &Identity, image: &Path, deadline: Deadline) -> Result<bool> {
    let what = || format!("detach {}", node.path.display());
    let _lock = match lock(image) {
        Err(error) if error.kind() == Kind::NotFound => None,
        other => Some(other?),
    };
    let patience = Deadline::after(PASSING.min(deadline.remaining()));
    let device = loop {
        let Some(file) = node.open_settled(OFlags::RDONLY)? else { return Ok(false) };
        if !status(&file).attempt(what)?.is_some_and(|info| identity.matches(&info, node)) {
            return Ok(false);
        }
        // An exclusive open is refused as long as a mount in any namespace (or LVM, md, swap) holds the device.
        match reopen(&file.into(), OFlags::RDONLY | OFlags::EXCL) {
            Ok(file) => break file,
            Err(rustix::io::Errno::BUSY) if !patience.passed() => std::thread::sleep(Duration::from_millis(20)),
            Err(rustix::io::Errno::BUSY) => {
                return Err(Error::precondition(format!(
                    "{} is still mounted (perhaps in another mount namespace) or used by LVM, md or swap; unmount it there",
                    node.path.display()
                ))
                .caused_by(std::io::Error::from(rustix::io::Errno::BUSY)));
            }
            Err(errno) => return Err(errno::error(what(), errno)),
        }
    };
    if !status(&device).attempt(what)?.is_some_and(|info| identity.matches(&info, node)) {
        return Ok(false);
    }
    device.sync_all().attempt(|| format!("flush {}", node.path.display()))?;
    match ioctl::loop_clear(&device) {
        Ok(_) => Ok(true),
        Err(Errno::ENXIO) => Ok(false),
        Err(errno) => Err(errno::error(what(), errno)),
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_loop_device_has_no_image() {
        assert_eq!(image_of(DeviceNumber { major: 1, minor: 3 }).unwrap(), None);
        assert_eq!(image_of(DeviceNumber { major: 7, minor: 0xf_ffff }).unwrap(), None);
        assert_eq!(detach(Path::new("/dev/null"), Path::new("/x"), Deadline::after(PASSING)).unwrap_err().kind(), Kind::Invalid);
        detach(Path::new("/dev/loop99999"), Path::new("/x"), Deadline::after(PASSING)).unwrap();
    }
}

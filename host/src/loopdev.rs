//! Loop devices: a file as a block device.
//!
//! A binding is recognised by the device and inode number of its file, as the kernel tells them; paths are only hints. Two
//! bindings of one file would be two caches of the same bytes, so attaching holds a lock on the file (an open-file-description
//! lock on a byte beyond any end, which no `flock` of others collides with) from the search for an existing binding until there
//! is one.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::{Bytes, Deadline, Error, Kind, Result};
use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};

use crate::device::{Device, DeviceNumber, reopen};
use crate::errno::{self, Attempt};
use crate::ioctl::{self, LoopConfig, LoopInfo};
use crate::mountinfo::MountEntry;

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

/// How long another attach or detach of the same image is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// How long something that may be passing (a mount that is being torn down, udev) is waited for.
const PASSING: Duration = Duration::from_secs(1);

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

/// What tells whether a binding is of a certain image.
enum Identity {
    /// By number, as long as the image exists.
    Inode { device: DeviceNumber, inode: u64 },
    /// By the name that the kernel kept, when the image has been removed while it was bound.
    Removed(PathBuf),
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self::Inode { device: DeviceNumber::from_dev(stat.st_dev), inode: stat.st_ino }
    }

    fn of_path(image: &Path) -> Result<Self> {
        match rustix::fs::stat(image) {
            Ok(stat) => Ok(Self::of(&stat)),
            Err(rustix::io::Errno::NOENT) => Ok(Self::Removed(image.to_owned())),
            Err(errno) => Err(errno::error(format!("stat {}", image.display()), errno)),
        }
    }

    fn matches(&self, info: &LoopInfo, node: &Node) -> bool {
        match self {
            Self::Inode { device, inode } => (DeviceNumber::from_dev(info.device), info.inode) == (*device, *inode),
            Self::Removed(image) => {
                backing_file(&node.sysfs()).ok().flatten().is_some_and(|path| path == *image)
                    && std::fs::read(node.sysfs().join("loop/backing_file")).is_ok_and(|name| cut_deleted(&name).1)
            }
        }
    }
}

/// One loop device: its name, number and device node.
struct Node {
    index: u32,
    path: PathBuf,
}

impl Node {
    fn new(index: u32) -> Self {
        Self { index, path: PathBuf::from(format!("/dev/loop{index}")) }
    }

    /// The loop device that `path` leads to, or nothing when it is not there any more.
    fn of_path(path: &Path) -> Result<Option<Self>> {
        let stat = match rustix::fs::stat(path) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => {
                // The node is gone, but the binding it stood for need not be.
                let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("loop"));
                let node = name.and_then(|index| index.parse().ok()).map(Self::new);
                return Ok(node.filter(|node| node.sysfs().join("loop/backing_file").exists()));
            }
            Err(errno) => return Err(errno::error(format!("stat {}", path.display()), errno)),
        };
        let number = DeviceNumber::from_dev(stat.st_rdev);
        let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
        let name = std::fs::read_link(Path::new("/sys/dev/block").join(number.to_string())).unwrap_or_default();
        let index = name.file_name().and_then(|name| name.to_str()?.strip_prefix("loop")?.parse().ok());
        match index {
            Some(index) if block => Ok(Some(Self { index, path: path.to_owned() })),
            _ => Err(Error::invalid(format!("{} is not a loop device", path.display()))),
        }
    }

    fn sysfs(&self) -> PathBuf {
        PathBuf::from(format!("/sys/block/loop{}", self.index))
    }

    fn number(&self) -> DeviceNumber {
        let read = std::fs::read_to_string(self.sysfs().join("dev"));
        read.ok().and_then(|text| text.parse().ok()).unwrap_or(DeviceNumber { major: 7, minor: self.index })
    }

    /// Opens the device node, making it when the machine did not (a container with a `/dev` of its own).
    fn open(&self, access: OFlags) -> Result<File> {
        let open = || format!("open loop device {}", self.path.display());
        let number = self.number();
        let path = |flags| rustix::fs::open(&self.path, flags | OFlags::CLOEXEC, Mode::empty());
        let held: OwnedFd = match path(OFlags::PATH) {
            Err(rustix::io::Errno::NOENT) => {
                let made =
                    rustix::fs::mknodat(CWD, &self.path, FileType::BlockDevice, Mode::from_raw_mode(0o660), number.to_dev());
                if !matches!(made, Ok(()) | Err(rustix::io::Errno::EXIST)) {
                    made.attempt(|| format!("create device node {}", self.path.display()))?;
                }
                path(OFlags::PATH).attempt(open)?
            }
            other => other.attempt(open)?,
        };
        let stat = rustix::fs::fstat(&held).attempt(open)?;
        let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
        if !block || DeviceNumber::from_dev(stat.st_rdev) != number {
            return Err(Error::precondition(format!("{} is not loop device {number}; remove it", self.path.display())));
        }
        reopen(&held, access).attempt(open)
    }

    /// What is bound to it now, if anything.
    fn status(&self) -> Result<Option<LoopInfo>> {
        match self.open_settled(OFlags::RDONLY)? {
            Some(file) => status(&file).attempt(|| format!("ask what {} is bound to", self.path.display())),
            None => Ok(None),
        }
    }

    /// Opens it, or says that nothing is bound to it. While a binding is being taken apart the kernel refuses to open the device
    /// at all (ENXIO); that passes.
    fn open_settled(&self, access: OFlags) -> Result<Option<File>> {
        let patience = Deadline::after(PASSING);
        loop {
            match self.open(access) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() != Kind::Unavailable || patience.passed() => return Err(error),
                Err(_) if !self.sysfs().join("loop/backing_file").exists() => return Ok(None),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

fn status(file: &File) -> nix::Result<Option<LoopInfo>> {
    let mut info = LoopInfo::EMPTY;
    match ioctl::loop_status(file, &mut info) {
        Ok(_) => Ok(Some(info)),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Every loop device that is bound to the image.
fn bindings(identity: &Identity) -> Result<Vec<Node>> {
    let listing = || "list /sys/block".to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block").attempt(listing)? {
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

fn open_image(image: &Path, read_only: bool) -> Result<File> {
    let open = || format!("open image {}", image.display());
    let held = rustix::fs::open(image, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).attempt(open)?;
    let stat = rustix::fs::fstat(&held).attempt(open)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!("image {} is not a regular file", image.display())));
    }
    reopen(&held, if read_only { OFlags::RDONLY } else { OFlags::RDWR }).attempt(open)
}

/// Holds the image against every other attach and detach, in this process and others, until it is dropped.
fn lock(image: &Path) -> Result<File> {
    // A write lock needs a descriptor for writing; where there is none to be had, nobody else can bind it for writing either.
    let file = match open_image(image, false) {
        Err(error) if error.kind() == Kind::Precondition => open_image(image, true)?,
        other => other?,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the constants are small; C gives them and the fields different types")]
    let place = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::MAX - 1,
        l_len: 1,
        l_pid: 0,
    };
    let deadline = Deadline::after(LOCK_WAIT);
    let mut pause = Duration::from_millis(1);
    loop {
        match nix::fcntl::fcntl(&file, FcntlArg::F_OFD_SETLK(&place)) {
            // A descriptor for reading, or a filesystem without locks: the check after binding has to do.
            Ok(_) | Err(Errno::EBADF | Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(file),
            Err(Errno::EAGAIN | Errno::EACCES) if !deadline.passed() => std::thread::sleep(pause),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(Error::unavailable(format!("another attach or detach of {} does not end", image.display())));
            }
            Err(errno) => return Err(errno::error(format!("lock image {}", image.display()), errno)),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn backing_file(block: &Path) -> Result<Option<PathBuf>> {
    let attribute = block.join("loop/backing_file");
    match std::fs::read(&attribute) {
        Ok(name) => Ok(Some(cut_deleted(&name).0)),
        // No such device, no loop device, or not bound.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ENXIO | libc::ENODEV)) => Ok(None),
        Err(error) => Err(errno::error(format!("read {}", attribute.display()), error)),
    }
}

/// The path in a `backing_file` attribute, and whether the kernel says that it has been removed.
fn cut_deleted(name: &[u8]) -> (PathBuf, bool) {
    let name = name.strip_suffix(b"\n").unwrap_or(name);
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    match name.strip_suffix(b" (deleted)") {
        Some(cut) => (path(cut), true),
        None => (path(name), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_removed_image_is_cut_off() {
        assert_eq!(cut_deleted(b"/a/b c (deleted)\n"), (PathBuf::from("/a/b c"), true));
        assert_eq!(cut_deleted(b"/a/b\xff\n").0.as_os_str().as_bytes(), b"/a/b\xff");
    }

    #[test]
    fn what_is_no_loop_device_has_no_image() {
        assert_eq!(image_of(DeviceNumber { major: 1, minor: 3 }).unwrap(), None);
        assert_eq!(image_of(DeviceNumber { major: 7, minor: 0xf_ffff }).unwrap(), None);
        assert_eq!(detach(Path::new("/dev/null"), Path::new("/x"), Deadline::after(PASSING)).unwrap_err().kind(), Kind::Invalid);
        detach(Path::new("/dev/loop99999"), Path::new("/x"), Deadline::after(PASSING)).unwrap();
    }
}

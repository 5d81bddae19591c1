//! One loop device of the machine: its node under `/dev`, what sysfs and the driver say of it.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, Result};
use nix::errno::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::{LOOP_MAJOR, PASSING};
use crate::device::{DeviceNumber, reopen};
use crate::errno::{self, Attempt};
use crate::ioctl::{self, LoopInfo};

/// One loop device: its name, number and device node.
pub(super) struct Node {
    pub(super) index: u32,
    pub(super) path: PathBuf,
}

impl Node {
    pub(super) fn new(index: u32) -> Self {
        Self { index, path: PathBuf::from(format!("/dev/loop{index}")) }
    }

    /// The loop device that `path` leads to, or nothing when it is not there any more.
    pub(super) fn of_path(path: &Path) -> Result<Option<Self>> {
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

    pub(super) fn sysfs(&self) -> PathBuf {
        PathBuf::from(format!("/sys/block/loop{}", self.index))
    }

    fn number(&self) -> DeviceNumber {
        let read = std::fs::read_to_string(self.sysfs().join("dev"));
        read.ok().and_then(|text| text.parse().ok()).unwrap_or(DeviceNumber { major: LOOP_MAJOR, minor: self.index })
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
    pub(super) fn status(&self) -> Result<Option<LoopInfo>> {
        match self.open_settled(OFlags::RDONLY)? {
            Some(file) => status(&file).attempt(|| format!("ask what {} is bound to", self.path.display())),
            None => Ok(None),
        }
    }

    /// Opens it, or says that nothing is bound to it. While a binding is being taken apart the kernel refuses to open the device
    /// at all (ENXIO); that passes.
    pub(super) fn open_settled(&self, access: OFlags) -> Result<Option<File>> {
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

/// What the open loop device is bound to, if anything.
pub(super) fn status(file: &File) -> nix::Result<Option<LoopInfo>> {
    let mut info = LoopInfo::EMPTY;
    match ioctl::loop_status(file, &mut info) {
        Ok(_) => Ok(Some(info)),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}
/// The path of the file that the block device with this sysfs directory is bound to.
pub(super) fn backing_file(block: &Path) -> Result<Option<PathBuf>> {
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

/// Whether the loop device is bound to a file that was at `image` and has been removed.
pub(super) fn is_removed(node: &Node, image: &Path) -> bool {
    let name = std::fs::read(node.sysfs().join("loop/backing_file")).unwrap_or_default();
    cut_deleted(&name) == (image.to_owned(), true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_mark_of_a_removed_image_is_cut_off() {
        assert_eq!(cut_deleted(b"/a/b c (deleted)\n"), (PathBuf::from("/a/b c"), true));
        assert_eq!(cut_deleted(b"/a/b\xff\n").0.as_os_str().as_bytes(), b"/a/b\xff");
    }
}

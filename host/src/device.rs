//! Block devices, held open: what a path leads to is looked up once, and everything after asks the descriptor.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hawser_volume::{Bytes, Error, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::disk::DiskName;
use crate::errno::{self, Attempt};
use crate::{busy, ioctl};

/// The number by which the kernel knows a device, wherever its nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver (7 is loop).
    pub major: u32,
    /// The device among those of its driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// The number in a `dev_t`, as `st_dev` and `st_rdev` have it.
    pub fn from_dev(dev: u64) -> Self {
        Self { major: rustix::fs::major(dev), minor: rustix::fs::minor(dev) }
    }

    /// The number as a `dev_t`.
    pub fn to_dev(self) -> u64 {
        rustix::fs::makedev(self.major, self.minor)
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DeviceNumber {
    type Err = Error;

    /// Reads `7:3`, as mountinfo and sysfs write it.
    fn from_str(text: &str) -> Result<Self> {
        text.trim_end()
            .split_once(':')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| Error::invalid(format!("{text:?} is not a device number like 7:3")))
    }
}

/// An open block device.
#[derive(Debug)]
pub struct Device {
    /// The path that it was opened by. For messages and for programs; it may lead elsewhere by now.
    pub path: PathBuf,
    /// The number, from the descriptor.
    pub number: DeviceNumber,
    /// The size when it was opened.
    pub size: Bytes,
    /// The logical sector size in bytes: what is written as a whole or not at all.
    pub sector: u32,
    /// Whether nothing may be written: it was opened so, or the medium is so. A mount of it is read-only too.
    pub read_only: bool,
    /// The disk that it was opened as, which it is asked for again before anything is done to it: see [`crate::disk`].
    pub disk: Option<DiskName>,
    /// The descriptor, open for reading, and for writing unless `read_only`.
    pub file: File,
}

impl Device {
    /// Opens the block device that `path` leads to.
    ///
    /// `NotFound` when there is nothing, `Invalid` when it is not a block device, `Precondition` when it is to be written and
    /// cannot be, `Unavailable` when the device does not answer.
    pub fn open(path: &Path, read_only: bool) -> Result<Self> {
        // O_PATH first: opening a FIFO or a tape would block or act before its type is known.
        let node = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .attempt(|| format!("open device {}", path.display()))?;
        let stat = rustix::fs::fstat(&node).attempt(|| format!("stat {}", path.display()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
            return Err(Error::invalid(format!("{} is not a block device", path.display())));
        }
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        Self::from_file(reopen(&node, access).attempt(|| format!("open device {}", path.display()))?, path, read_only)
    }

    /// Reads number, size and sector of `file`, which was opened by `path`.
    pub(crate) fn from_file(file: File, path: &Path, read_only: bool) -> Result<Self> {
        let ask = |what: &str| format!("read the {what} of device {}", path.display());
        let stat = rustix::fs::fstat(&file).attempt(|| ask("number"))?;
        let size = size_of_block(&file).attempt(|| ask("size"))?;
        let sector = rustix::fs::ioctl_blksszget(&file).attempt(|| ask("sector size"))?;
        let device = Self {
            path: path.to_owned(),
            number: DeviceNumber::from_dev(stat.st_rdev),
            size,
            sector,
            read_only,
            disk: None,
            file,
        };
        if !read_only && device.is_protected()? {
            return Err(Error::precondition(format!(
                "device {} is read-only; attach it for writing, or ask for a read-only volume",
                path.display()
            )));
        }
        Ok(device)
    }

    /// Whether the device itself refuses writes (BLKROGET), whatever it was opened for.
    pub fn is_protected(&self) -> Result<bool> {
        let mut flag = 0;
        ioctl::block_read_only(&self.file, &mut flag).attempt(|| format!("ask whether {} is read-only", self.path.display()))?;
        Ok(flag != 0)
    }

    /// The size now, which a grown device has before anybody opens it again.
    pub fn current_size(&self) -> Result<Bytes> {
        size_of_block(&self.file).attempt(|| format!("read the size of device {}", self.path.display()))
    }

    /// Whether something on this machine has the device for itself: a mount in any mount namespace, LVM, md, swap, a format.
    ///
    /// A mount table shows only the mounts of one namespace; a filesystem that was unmounted here may live on in a container that
    /// was started meanwhile, and what is on the device is then not at rest.
    pub fn is_held(&self) -> Result<bool> {
        let held = self.file.try_clone().attempt(|| format!("hold device {}", self.path.display()))?.into();
        let exclusive = || reopen(&held, OFlags::RDONLY | OFlags::EXCL);
        match busy::asked_again(exclusive, |errno| *errno == Errno::BUSY) {
            Ok(_) => Ok(false),
            Err(Errno::BUSY) => Ok(true),
            Err(errno) => Err(errno::error(format!("open device {} exclusively", self.path.display()), errno)),
        }
    }

    /// Writes everything that is cached for the device to its medium, and forgets what was read from it.
    pub fn flush(&self) -> Result<()> {
        self.file.sync_all().attempt(|| format!("sync device {}", self.path.display()))?;
        self.forget()
    }

    /// Drops the page cache of the device, so that the next read asks the medium: what another node wrote, or what is really
    /// there after a write, must not be hidden by a copy of ours.
    pub(crate) fn forget(&self) -> Result<()> {
        ioctl::block_flush(&self.file).attempt(|| format!("drop the cache of device {}", self.path.display()))?;
        Ok(())
    }
}

/// Opens what `held` holds once more, with other access; no path is looked up.
pub(crate) fn reopen(held: &OwnedFd, access: OFlags) -> rustix::io::Result<File> {
    rustix::fs::open(descriptor_path(held), access | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

/// The path by which the kernel finds an open descriptor of this process.
pub(crate) fn descriptor_path(held: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

/// The path by which another process of this user finds an open descriptor of ours.
pub(crate) fn path_for_children(held: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd()))
}

fn size_of_block(file: &File) -> nix::Result<Bytes> {
    let mut size = 0;
    ioctl::block_size(file, &mut size)?;
    // The request is declared with size_t in the kernel's header and has always returned 64 bits.
    Ok(Bytes::new(u64::try_from(size).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use hawser_volume::Kind;

    use super::*;

    #[test]
    fn a_number_is_written_and_read_as_the_kernel_does() {
        let number = DeviceNumber { major: 259, minor: 1_000_000 };
        assert_eq!(number.to_string(), "259:1000000");
        assert_eq!("259:1000000\n".parse::<DeviceNumber>().unwrap(), number);
        assert_eq!(DeviceNumber::from_dev(number.to_dev()), number);
        for bad in ["", "7", "7:", ":3", "a:b", "7:3:1", "-7:3"] {
            assert!(bad.parse::<DeviceNumber>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_block_device_is_refused() {
        for path in ["/dev/null", "/proc/self/mountinfo", "/"] {
            assert_eq!(Device::open(Path::new(path), true).unwrap_err().kind(), Kind::Invalid, "{path}");
        }
        assert_eq!(Device::open(Path::new("/dev/does-not-exist"), true).unwrap_err().kind(), Kind::NotFound);
    }
}

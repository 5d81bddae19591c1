//! The image behind a loop device: how it is recognised, opened and held against others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, Result};
use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::node::{Node, is_removed};
use crate::device::{DeviceNumber, reopen};
use crate::errno::{self, Attempt};
use crate::ioctl::LoopInfo;
use crate::target::Place;

/// How long another attach or detach of the same image is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What tells whether a binding is of a certain image.
pub(super) enum Identity {
    /// By number, as long as the image exists.
    Inode { device: DeviceNumber, inode: u64 },
    /// By the name that the kernel kept, when the image has been removed while it was bound.
    Removed(PathBuf),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self::Inode { device: DeviceNumber::from_dev(stat.st_dev), inode: stat.st_ino }
    }

    pub(super) fn of_path(image: &Path) -> Result<Self> {
        match rustix::fs::stat(image) {
            Ok(stat) => Ok(Self::of(&stat)),
            Err(rustix::io::Errno::NOENT) => {
                Ok(Self::Removed(Place::of(image).map_or_else(|_| image.to_owned(), |place| place.path)))
            }
            Err(errno) => Err(errno::error(format!("stat {}", image.display()), errno)),
        }
    }

    pub(super) fn matches(&self, info: &LoopInfo, node: &Node) -> bool {
        match self {
            Self::Inode { device, inode } => (DeviceNumber::from_dev(info.device), info.inode) == (*device, *inode),
            Self::Removed(image) => is_removed(node, image),
        }
    }
}
/// Opens a regular file at exactly `image`, following no link there.
pub(super) fn open_image(image: &Path, read_only: bool) -> Result<File> {
    let open = || format!("open image {}", image.display());
    let held = rustix::fs::open(image, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).attempt(open)?;
    let stat = rustix::fs::fstat(&held).attempt(open)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!("image {} is not a regular file", image.display())));
    }
    reopen(&held, if read_only { OFlags::RDONLY } else { OFlags::RDWR }).attempt(open)
}

/// An image that is held against every other attach and detach, in this process and others, until this is dropped.
pub(super) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a program that is being started and has a copy of the descriptor for a moment.
        let _ = nix::fcntl::fcntl(&self.0, FcntlArg::F_OFD_SETLK(&beyond_the_end(libc::F_UNLCK)));
    }
}

/// Holds the image, waiting for whoever holds it.
pub(super) fn lock(image: &Path) -> Result<Held> {
    // A write lock needs a descriptor for writing; where there is none to be had, nobody else can bind it for writing either.
    let file = match open_image(image, false) {
        Err(error) if error.kind() == Kind::Precondition => open_image(image, true)?,
        other => other?,
    };
    let place = beyond_the_end(libc::F_WRLCK);
    let deadline = Deadline::after(LOCK_WAIT);
    let mut pause = Duration::from_millis(1);
    loop {
        match nix::fcntl::fcntl(&file, FcntlArg::F_OFD_SETLK(&place)) {
            // A descriptor for reading, or a filesystem without locks: the check after binding has to do.
            Ok(_) | Err(Errno::EBADF | Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(Held(file)),
            Err(Errno::EAGAIN | Errno::EACCES) if !deadline.passed() => std::thread::sleep(pause),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(Error::unavailable(format!("another attach or detach of {} does not end", image.display())));
            }
            Err(errno) => return Err(errno::error(format!("lock image {}", image.display()), errno)),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The last byte that a file could have, which none has.
#[expect(clippy::cast_possible_truncation, reason = "the constants are small; C gives them and the fields different types")]
fn beyond_the_end(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::MAX - 1,
        l_len: 1,
        l_pid: 0,
    }
}

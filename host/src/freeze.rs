//! Stopping and resuming writes to a filesystem, and bringing it to its device.

use std::fs::File;
use std::path::Path;

use hawser_volume::{Error, Result};
use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};

use crate::errno::{self, Attempt};
use crate::ioctl;

/// Stops writes: [`Host::freeze`](crate::Host::freeze). `Precondition` when it is frozen already: somebody else relies on it.
pub fn freeze(path: &Path) -> Result<()> {
    match ioctl::freeze(&open(path)?, &mut 0) {
        Ok(_) => Ok(()),
        Err(Errno::EBUSY) => Err(Error::precondition(format!("the filesystem at {} is frozen already; thaw it", path.display()))
            .caused_by(std::io::Error::from(Errno::EBUSY))),
        Err(errno) => Err(errno::error(format!("freeze the filesystem at {}", path.display()), errno)),
    }
}

/// Lets writes go on: [`Host::thaw`](crate::Host::thaw).
pub fn thaw(path: &Path) -> Result<()> {
    match ioctl::thaw(&open(path)?, &mut 0) {
        // EINVAL is the kernel's word for "not frozen".
        Ok(_) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno::error(format!("thaw the filesystem at {}", path.display()), errno)),
    }
}

/// Writes what is cached: [`Host::sync`](crate::Host::sync). A write error that nobody has been told of yet is reported here.
pub fn sync(path: &Path) -> Result<()> {
    rustix::fs::syncfs(open(path)?).attempt(|| format!("sync the filesystem at {}", path.display()))
}

fn open(path: &Path) -> Result<File> {
    // NONBLOCK only so that a FIFO at the path does not hang us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from).attempt(|| format!("open {}", path.display()))
}

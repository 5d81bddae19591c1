//! Limits on trees: the project quotas of xfs and ext4.
//!
//! A directory that is given to a project hands it down to whatever is made in it, and the filesystem counts what a project has. Limits are
//! set by quotactl_fd(2) (Linux 5.14), which needs no device. Nothing of this can be asked of an NFS mount, only where the disk is.

use hawser_volume::{Bytes, Error, Result};
use rustix::io::Errno;

use crate::beneath::Directory;
use crate::errno::{self, Attempt};
use crate::ioctl::{self, DiskQuota, FileAttributes};

/// FS_XFLAG_PROJINHERIT (linux/fs.h): what is made in the directory is of its project.
const INHERIT: u32 = 0x200;

/// QIF_BLIMITS (linux/quota.h): the limits of blocks are set, and nothing else.
const BLOCK_LIMITS: u32 = 1;

/// The unit of limits of blocks (QIF_DQBLKSIZE), in bytes.
const UNIT: u64 = 1024;

fn without_quotas(what: &str, errno: Errno) -> Error {
    let error = errno::error(what, errno);
    match errno {
        Errno::SRCH | Errno::NOSYS | Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL => Error::precondition(format!(
            "{what}: the filesystem has no project quotas; use xfs, or ext4 with the feature `project`, mounted with prjquota"
        ))
        .caused_by(error),
        _ => error,
    }
}

/// Gives a directory, and whatever is made in it from now on, to a project. The same again is success. `Precondition` when the filesystem
/// has no projects.
pub fn assign(directory: &Directory, project: u32) -> Result<()> {
    let what = || format!("give {} to project {project}", directory.shown().display());
    let file = directory.as_file()?;
    let mut attributes = FileAttributes::default();
    ioctl::file_attributes(&file, &mut attributes)
        .map_err(|errno| without_quotas(&what(), Errno::from_raw_os_error(errno as i32)))?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    ioctl::set_file_attributes(&file, &attributes)
        .map_err(|errno| without_quotas(&what(), Errno::from_raw_os_error(errno as i32)))
        .map(drop)
}

/// The project that a directory hands down; nothing when it hands none down.
pub fn assigned(directory: &Directory) -> Result<Option<u32>> {
    let mut attributes = FileAttributes::default();
    ioctl::file_attributes(&directory.as_file()?, &mut attributes)
        .attempt(|| format!("read the project of {}", directory.shown().display()))?;
    Ok((attributes.flags & INHERIT != 0).then_some(attributes.project))
}

/// Sets how much a project may have in the filesystem of `directory`; zero is no limit. `Precondition` when quotas are not enforced there.
pub fn limit(directory: &Directory, project: u32, size: Bytes) -> Result<()> {
    let what = format!("limit project {project} of {} to {size}", directory.shown().display());
    let blocks = size.get().div_ceil(UNIT);
    let quota = DiskQuota { hard_blocks: blocks, soft_blocks: blocks, valid: BLOCK_LIMITS, ..DiskQuota::default() };
    ioctl::set_project_quota(directory, project, &quota)
        .map_err(|errno| without_quotas(&what, Errno::from_raw_os_error(errno as i32)))
}

/// How much a project may have, and has, in the filesystem of `directory`.
pub fn limit_of(directory: &Directory, project: u32) -> Result<(Bytes, Bytes)> {
    let what = format!("read the limit of project {project} of {}", directory.shown().display());
    let mut quota = DiskQuota::default();
    match ioctl::project_quota(directory, project, &mut quota) {
        Ok(()) => Ok((Bytes::new(quota.hard_blocks.saturating_mul(UNIT)), Bytes::new(quota.space))),
        // xfs has nothing on a project that never had anything.
        Err(nix::errno::Errno::ENOENT) => Ok((Bytes::ZERO, Bytes::ZERO)),
        Err(errno) => Err(without_quotas(&what, Errno::from_raw_os_error(errno as i32))),
    }
}

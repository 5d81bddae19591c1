//! Whether a directory can be written to, and has room.

use std::path::Path;

use hawser_volume::Bytes;
use hawser_volume::checkup::Check;
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags};

use crate::usage;

/// Less than that and nothing can be noted.
const LEAST: Bytes = Bytes::mib(4);

/// Less than that will not last.
const LITTLE: Bytes = Bytes::mib(64);

/// Looks at the directory, or at what it would be made in.
pub(super) fn room(path: &Path, purpose: &str) -> Check {
    let step = format!("space in {}", path.display());
    let Some(there) = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()) else {
        return Check::wrong(step, "it is no absolute path", "correct the configuration");
    };
    let is_there = there == path;
    if !there.is_dir() {
        let why = format!("{} is no directory, and there must be one for {purpose}", there.display());
        return Check::wrong(step, why, "move it away, or name another directory in the configuration");
    }
    let stat = match rustix::fs::statvfs(there) {
        Ok(stat) => stat,
        Err(errno) => {
            return Check::wrong(step, format!("it cannot be looked at: {errno}"), "see `dmesg` and `cat /proc/mounts`");
        }
    };
    let needed = format!("{purpose} must be written there");
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let why = format!("it is on a filesystem that is mounted read-only, and {needed}");
        let mend = format!(
            "`mount -o remount,rw`; in a container a volume for {}, under systemd ReadWritePaths={}",
            path.display(),
            path.display()
        );
        return Check::wrong(step, why, mend);
    }
    if let Err(errno) = rustix::fs::accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        let why = format!("{} cannot be written by this process ({errno}), and {needed}", there.display());
        return Check::wrong(step, why, "run it as root, or give the directory to its user");
    }
    let (free, inodes) = match usage::usage(there) {
        Ok(usage) => (Bytes::new(usage.bytes.available).about(), usage.inodes),
        Err(error) => return Check::wrong(step, error.chain(), "see `dmesg`"),
    };
    if inodes.total > 0 && inodes.available == 0 {
        let why = format!("no file can be made any more (all inodes are used), and {needed}");
        return Check::wrong(step, why, format!("remove files: `df -i {}`", there.display()));
    }
    let why = format!("{free} are left, and {needed}");
    let mend = format!("make room: `df -h {}`", there.display());
    match free {
        free if free < LEAST => Check::wrong(step, why, mend),
        free if free < LITTLE => Check::doubtful(step, why, mend),
        free if is_there => Check::well(step, format!("{free} are left")),
        free => Check::well(step, format!("it is made when it is needed; {free} are left")),
    }
}

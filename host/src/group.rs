//! Giving a volume to a group (CSI VOLUME_MOUNT_GROUP).
//!
//! What is below may belong to people who wish us ill and may change while we walk. Every directory is opened anew from the
//! root of the volume with all links and mounts forbidden on the way, and every file is changed through a descriptor of it; a
//! name is never looked up twice. One directory is open at a time, so no depth exhausts descriptors.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hawser_volume::{Deadline, Error, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::device::descriptor_path;
use crate::errno;

const SETGID: u32 = 0o2000;
const GROUP_READ_WRITE: u32 = 0o060;
const GROUP_EXECUTE: u32 = 0o010;
const OWNER_EXECUTE: u32 = 0o100;
const PERMISSIONS: u32 = 0o7777;

/// Gives everything below `path` to a group: [`Host::give_to_group`](crate::Host::give_to_group).
///
/// The directory `path` itself is changed last, and when it is right already nothing below is looked at: it says that an earlier
/// walk came to its end. `DeadlineExceeded` when the time runs out; the next walk finds most of the work done.
pub fn give_to_group(path: &Path, gid: u32, deadline: Deadline) -> Result<()> {
    let failed = |errno: Errno| errno::error(format!("give {} to group {gid}", path.display()), errno);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&root).map_err(failed)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory && !is_given(&stat, gid) {
        walk(&root, path, gid, deadline)?;
    }
    give(&root, gid).map_err(failed)
}

fn walk(root: &OwnedFd, path: &Path, gid: u32, deadline: Deadline) -> Result<()> {
    let failed = |name: &Path, errno: Errno| errno::error(format!("give {} to group {gid}", path.join(name).display()), errno);
    let mut pending = vec![PathBuf::from(".")];
    while let Some(directory) = pending.pop() {
        let held = match open_below(root, &directory, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(held) => held,
            Err(errno) if gone_or_elsewhere(errno) => continue,
            Err(errno) => return Err(failed(&directory, errno)),
        };
        for entry in Dir::read_from(&held).map_err(|errno| failed(&directory, errno))? {
            if deadline.passed() {
                return Err(Error::deadline_exceeded(format!(
                    "give {} to group {gid}: there are too many files",
                    path.display()
                )));
            }
            let entry = entry.map_err(|errno| failed(&directory, errno))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let child = directory.join(name);
            let file = match open_below(&held, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(file) => file,
                Err(errno) if gone_or_elsewhere(errno) => continue,
                Err(errno) => return Err(failed(&child, errno)),
            };
            give(&file, gid).map_err(|errno| failed(&child, errno))?;
            let stat = rustix::fs::fstat(&file).map_err(|errno| failed(&child, errno))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(child);
            }
        }
    }
    Ok(())
}

/// Opens a path below a held directory, through no link and into no other mount.
fn open_below(directory: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    // With O_PATH and O_NOFOLLOW the last component may be a link itself; RESOLVE_NO_SYMLINKS allows that.
    rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Removed or replaced since it was listed, or the root of another mount: not ours to change.
fn gone_or_elsewhere(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV)
}

/// Whether nothing is left to do for a file.
fn is_given(stat: &Stat, gid: u32) -> bool {
    stat.st_gid == gid && stat.st_mode & PERMISSIONS == wanted_mode(stat)
}

fn wanted_mode(stat: &Stat) -> u32 {
    let mode = stat.st_mode & PERMISSIONS;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => mode,
        FileType::Directory => mode | GROUP_READ_WRITE | GROUP_EXECUTE | SETGID,
        _ if mode & OWNER_EXECUTE != 0 => mode | GROUP_READ_WRITE | GROUP_EXECUTE,
        _ => mode | GROUP_READ_WRITE,
    }
}

fn give(file: &OwnedFd, gid: u32) -> rustix::io::Result<()> {
    if rustix::fs::fstat(file)?.st_gid != gid {
        rustix::fs::chownat(file, c"", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    }
    // Asked again: the kernel takes set-id bits away with the old group, and they are not to come back.
    let stat = rustix::fs::fstat(file)?;
    let wanted = wanted_mode(&stat);
    if stat.st_mode & PERMISSIONS != wanted {
        // chmod on an O_PATH descriptor is possible only through /proc, which leads to this very file.
        rustix::fs::chmod(descriptor_path(file), Mode::from_raw_mode(wanted))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::time::Duration;

    use hawser_volume::Kind;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn everything_below_is_given_and_nothing_outside() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("volume");
        let outside = place.path().join("outside");
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::write(&outside, "x").unwrap();
        std::fs::write(root.join("a/plain"), "x").unwrap();
        std::fs::write(root.join("a/b/run"), "x").unwrap();
        std::fs::set_permissions(root.join("a/plain"), Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(root.join("a/b/run"), Permissions::from_mode(0o4700)).unwrap();
        std::fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
        symlink(&outside, root.join("a/link")).unwrap();
        symlink("..", root.join("a/b/c/up")).unwrap();

        give_to_group(&root, 4711, soon()).unwrap();
        let stat = |name: &str| root.join(name).symlink_metadata().unwrap();
        for name in [".", "a", "a/b", "a/b/c", "a/plain", "a/b/run", "a/link", "a/b/c/up"] {
            assert_eq!(stat(name).gid(), 4711, "{name}");
        }
        for name in [".", "a", "a/b", "a/b/c"] {
            assert_eq!(stat(name).mode() & 0o2070, 0o2070, "{name}");
        }
        assert_eq!(stat("a/plain").mode() & 0o7777, 0o660);
        assert_eq!(stat("a/b/run").mode() & 0o7777, 0o770);
        let untouched = outside.metadata().unwrap();
        assert_eq!((untouched.gid(), untouched.mode() & 0o7777), (0, 0o600));
    }

    #[test]
    fn the_root_is_last_and_ends_every_later_walk_at_once() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a")).unwrap();
        let late = Deadline::after(Duration::ZERO);
        assert_eq!(give_to_group(place.path(), 4711, late).unwrap_err().kind(), Kind::DeadlineExceeded);
        assert_eq!(place.path().metadata().unwrap().gid(), 0);
        give_to_group(place.path(), 4711, soon()).unwrap();
        std::fs::write(place.path().join("a/later"), "x").unwrap();
        std::os::unix::fs::chown(place.path().join("a/later"), None, Some(0)).unwrap();
        give_to_group(place.path(), 4711, late).unwrap();
        assert_eq!(place.path().join("a/later").metadata().unwrap().gid(), 0);
    }
}

//! Records that survive: files that are there as a whole or not at all, also after the power fails.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hawser_volume::{Error, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use uuid::Uuid;

use crate::errno::{self, Attempt};
use crate::mountinfo::MountTable;
use crate::target::Place;

/// How deep a tree may be that is removed; each level holds a descriptor.
const DEPTH_MAX: u32 = 200;

/// Whether a file of this name is one that [`write()`] had begun and not finished.
pub fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") && name.as_encoded_bytes().ends_with(b".tmp")
}

/// Writes a file with `contents` (mode 0600) at `path`, in place of one that is there. Whoever opens it sees all of the old or
/// all of the new. On return it is on disk. Being killed in between may leave a file `.NAME.UUID.tmp` beside it.
pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let what = || format!("write {}", path.display());
    let name = path.file_name().ok_or_else(|| Error::invalid(format!("path {path:?} does not end in a name")))?;
    let directory = open_dir(parent(path)?).attempt(what)?;
    let mut temporary = OsStr::new(".").to_owned();
    temporary.push(name);
    temporary.push(format!(".{}.tmp", Uuid::new_v4()));
    let replace = || -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(contents)?;
        file.sync_all()?;
        Ok(rustix::fs::renameat(&directory, &temporary, &directory, name)?)
    };
    replace()
        .inspect_err(|_| {
            // Nothing is lost if this fails too.
            let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
        })
        .attempt(what)?;
    directory.sync_all().attempt(what)
}

/// Creates the directory `path` (mode 0750), whose parent exists, and puts it on disk; success when it is there.
pub fn create_dir(path: &Path) -> Result<()> {
    let what = || format!("create directory {}", path.display());
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o750)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).attempt(what)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(errno::error(what(), Errno::EXIST));
            }
        }
        Err(errno) => return Err(errno::error(what(), errno)),
    }
    sync_dir(parent(path)?)
}

/// Renames `from` to `to` unless something is at `to`; false then, and nothing is changed. On return it is on disk.
pub fn rename_exclusive(from: &Path, to: &Path) -> Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(errno) => return Err(errno::error(format!("rename {} to {}", from.display(), to.display()), errno)),
    }
    let (source, target) = (parent(from)?, parent(to)?);
    // The new name first: a crash in between may leave both names, but not none.
    sync_dir(target)?;
    if source != target {
        sync_dir(source)?;
    }
    Ok(true)
}

/// Puts the names in the directory `path` on disk.
pub fn sync_dir(path: &Path) -> Result<()> {
    open_dir(path).and_then(|directory| directory.sync_all()).attempt(|| format!("sync directory {}", path.display()))
}

fn open_dir(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Removes what is at `path`, a directory with everything in it; success when nothing is there.
///
/// Links are removed, not followed. `Precondition`, before anything is removed, when something is mounted at or below `path`; a
/// mount that appears later is not entered.
pub fn remove_tree(path: &Path) -> Result<()> {
    let what = || format!("remove {}", path.display());
    let place = match Place::of(path) {
        Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
        other => other?,
    };
    let mounts = MountTable::read()?;
    if let Some(mount) = mounts.top(&place.path).or(mounts.below(&place.path).first().copied()) {
        return Err(Error::precondition(format!("{} has a mount on it; unmount it first", mount.mount_point.display())));
    }
    remove_entry(&place.parent, &place.leaf, DEPTH_MAX).attempt(what)?;
    sync_dir(parent(&place.path)?)
}

fn remove_entry(directory: &OwnedFd, name: &OsStr, depth: u32) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Replaced meanwhile: somebody else is at work here.
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    if depth == 0 {
        return Err(Errno::MLINK);
    }
    let inner = open_directory(directory, name)?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            remove_entry(&inner, name, depth - 1)?;
        }
    }
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Opens a directory in a directory, through no link and into no other mount.
fn open_directory(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve)
}

/// The directory that `path` is in.
fn parent(path: &Path) -> Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(Error::invalid(format!("path {path:?} has no parent"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use hawser_volume::Kind;

    use super::*;

    #[test]
    fn a_record_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let record = place.path().join("record.json");
        for contents in [&b"first"[..], b"", b"second, longer"] {
            write(&record, contents).unwrap();
            assert_eq!(std::fs::read(&record).unwrap(), contents);
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert_eq!(write(&place.path().join("absent/record"), b"x").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn readers_never_see_a_part() {
        let place = tempfile::tempdir().unwrap();
        let record = place.path().join("record");
        write(&record, &[b'a'; 100_000]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for byte in b'b'..b'l' {
                    write(&record, &[byte; 100_000]).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = std::fs::read(&record).unwrap();
                assert!(seen.len() == 100_000 && seen.iter().all(|byte| *byte == seen[0]));
            }
        });
    }

    #[test]
    fn a_directory_is_created_once() {
        let place = tempfile::tempdir().unwrap();
        create_dir(&place.path().join("a")).unwrap();
        create_dir(&place.path().join("a")).unwrap();
        std::fs::write(place.path().join("f"), "").unwrap();
        symlink("a", place.path().join("link")).unwrap();
        for name in ["f", "link"] {
            assert_eq!(create_dir(&place.path().join(name)).unwrap_err().kind(), Kind::Precondition, "{name}");
        }
    }

    #[test]
    fn the_first_rename_wins() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::write(path("a"), "a").unwrap();
        std::fs::write(path("b"), "b").unwrap();
        assert!(rename_exclusive(&path("a"), &path("sub/c")).unwrap());
        assert!(!rename_exclusive(&path("b"), &path("sub/c")).unwrap());
        assert_eq!(std::fs::read(path("sub/c")).unwrap(), b"a");
        assert_eq!(rename_exclusive(&path("a"), &path("d")).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn a_tree_is_removed_and_what_its_links_lead_to_is_not() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        let kept = place.path().join("kept");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("data"), "x").unwrap();
        std::fs::write(tree.join("a/file"), "x").unwrap();
        symlink(&kept, tree.join("a/b/link")).unwrap();
        symlink("/", tree.join("root")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&place.path().join("absent/absent")).unwrap();
        assert!(!tree.exists() && kept.join("data").exists());
        symlink(&kept, &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(tree.symlink_metadata().is_err() && kept.join("data").exists());
    }
}

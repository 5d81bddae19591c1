//! The places where something is mounted: held by descriptor, named as the kernel names them.
//!
//! A target lies in a directory that others can write (a task's sandbox, a pod's volumes). So directories are walked by
//! descriptor, the last component is never followed, and what was checked is what is mounted on.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Kind, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::device::descriptor_path;
use crate::errno::{self, Attempt};
use crate::mountinfo::MountTable;

/// What kind of file a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A directory: for a mounted filesystem.
    Directory,
    /// A regular file: for a device node that is bound over it.
    File,
}

/// A directory or file that exists and is held open, so that it stays the one that was checked.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    held: OwnedFd,
}

impl Target {
    /// Where it is, as mountinfo will write it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that `path` exists as `shape`, and holds it: [`Host::create_target`](crate::Host::create_target).
    pub fn create(path: &Path, shape: Shape) -> Result<Self> {
        let (above, leaf) = split(path)?;
        let parent = make_directories(above)?;
        let canonical = canonical(&parent, above)?.join(leaf);
        let create = || format!("create target {}", canonical.display());
        let made = match shape {
            Shape::Directory => rustix::fs::mkdirat(&parent, leaf, Mode::from_raw_mode(0o750)),
            Shape::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, leaf, flags, Mode::from_raw_mode(0o640)).map(drop)
            }
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno::error(create(), errno)),
        }
        let held = rustix::fs::openat(&parent, leaf, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .attempt(create)?;
        let found = FileType::from_raw_mode(rustix::fs::fstat(&held).attempt(create)?.st_mode);
        let wanted = match shape {
            Shape::Directory => FileType::Directory,
            Shape::File => FileType::RegularFile,
        };
        if found != wanted {
            return Err(Error::precondition(format!(
                "target {} is {}, not {}; remove it",
                canonical.display(),
                noun(found),
                noun(wanted)
            )));
        }
        Ok(Self { path: canonical, held })
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

/// A path whose last component is not looked at: the directory above it, held, and the kernel's name of the whole.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory above.
    pub(crate) parent: OwnedFd,
    /// The last component.
    pub(crate) leaf: OsString,
    /// The whole path with every directory above the last component resolved.
    pub(crate) path: PathBuf,
}

impl Place {
    /// Resolves everything but the last component of `path`: [`Host::resolve`](crate::Host::resolve).
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let (above, leaf) = split(path)?;
        let parent = rustix::fs::open(above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .attempt(|| format!("open directory {}", above.display()))?;
        let path = canonical(&parent, above)?.join(leaf);
        Ok(Self { parent, leaf: leaf.to_owned(), path })
    }

    /// A path through the held directory, for calls that take only paths.
    pub(crate) fn by_descriptor(&self) -> PathBuf {
        descriptor_path(&self.parent).join(&self.leaf)
    }
}

/// Removes an empty directory or file: [`Host::remove_target`](crate::Host::remove_target).
pub fn remove(path: &Path) -> Result<()> {
    let place = match Place::of(path) {
        Ok(place) => place,
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let what = || format!("remove target {}", place.path.display());
    match rustix::fs::unlinkat(&place.parent, &place.leaf, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR) => {}
        Err(Errno::BUSY) => return Err(covered(&place.path).caused_by(std::io::Error::from(Errno::BUSY))),
        Err(errno) => return Err(errno::error(what(), errno)),
    }
    if MountTable::read()?.top(&place.path).is_some() {
        return Err(covered(&place.path));
    }
    let stat = match rustix::fs::statat(&place.parent, &place.leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.attempt(what)?,
    };
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != FileType::RegularFile || stat.st_size != 0 {
        let found = if found == FileType::RegularFile { "a file with contents" } else { noun(found) };
        return Err(Error::precondition(format!("target {} is {found}, which is not ours to remove", place.path.display())));
    }
    match rustix::fs::unlinkat(&place.parent, &place.leaf, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::BUSY) => Err(covered(&place.path).caused_by(std::io::Error::from(Errno::BUSY))),
        Err(errno) => Err(errno::error(what(), errno)),
    }
}

fn covered(path: &Path) -> Error {
    Error::precondition(format!("target {} still has a mount on it; unmount it first", path.display()))
}

/// The directory above and the last component of an absolute path.
fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let bad = |why: &str| Error::invalid(format!("path {path:?} {why}"));
    if !path.is_absolute() {
        return Err(bad("is not absolute"));
    }
    if bytes.contains(&0) {
        return Err(bad("contains a NUL byte"));
    }
    // `Path` quietly drops a trailing dot, which would make `a/.` mean `a`.
    let trimmed = bytes.iter().rposition(|byte| *byte != b'/').map_or(&bytes[..0], |last| &bytes[..=last]);
    match (path.parent(), path.file_name()) {
        (Some(above), Some(leaf)) if trimmed.ends_with(leaf.as_bytes()) => Ok((above, leaf)),
        _ => Err(bad("does not end in a name")),
    }
}

/// How the kernel names a held directory.
fn canonical(directory: &OwnedFd, asked: &Path) -> Result<PathBuf> {
    let gone = || Error::not_found(format!("directory {} is gone", asked.display()));
    let name =
        rustix::fs::readlink(descriptor_path(directory), Vec::new()).attempt(|| format!("name directory {}", asked.display()))?;
    let path = PathBuf::from(OsString::from_vec(name.into_bytes()));
    // A removed directory is named with a suffix, one outside of our root with a prefix: neither leads back to it.
    let held = rustix::fs::fstat(directory).attempt(|| format!("stat {}", asked.display()))?;
    let found = rustix::fs::stat(&path).map_err(|_| gone())?;
    if (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino) { Ok(path) } else { Err(gone()) }
}

/// Opens `path`, making what is missing of it. Links above the first missing directory are followed, none below.
fn make_directories(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || format!("open directory {}", path.display());
    for ancestor in path.ancestors() {
        let mut directory = match rustix::fs::openat(CWD, ancestor, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno::error(open(), errno)),
        };
        let missing = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
        for name in missing.components() {
            let name = name.as_os_str();
            if name == ".." {
                return Err(Error::invalid(format!("path {path:?} goes up from a directory that does not exist")));
            }
            match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o750)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno::error(format!("create directory {}", path.display()), errno)),
            }
            directory = rustix::fs::openat(&directory, name, flags | OFlags::NOFOLLOW, Mode::empty()).attempt(open)?;
        }
        return Ok(directory);
    }
    Err(errno::error(open(), Errno::NOENT))
}

fn noun(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        FileType::BlockDevice => "a block device",
        FileType::CharacterDevice => "a character device",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        (directory, path)
    }

    #[test]
    fn links_above_are_resolved_and_the_last_name_is_not_touched() {
        let (_keep, root) = scratch();
        std::fs::create_dir_all(root.join("real/dir")).unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("/nowhere", root.join("real/dir/dangling")).unwrap();
        for leaf in ["absent", "dangling", "name (deleted)"] {
            assert_eq!(Place::of(&root.join("link/dir").join(leaf)).unwrap().path, root.join("real/dir").join(leaf));
        }
        assert_eq!(Place::of(&root.join("link/dir/x/")).unwrap().path, root.join("real/dir/x"));
        assert_eq!(Place::of(&root.join("link/../link/dir/x")).unwrap().path, root.join("real/dir/x"));
        assert_eq!(Place::of(&root.join("absent/x")).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn a_path_without_a_last_name_is_refused() {
        for path in ["", "/", "//", "x", "a/b", "/a/.", "/a/..", "/a/./", "/a/../", "/.", "/..", "/a\0b"] {
            assert_eq!(Place::of(Path::new(path)).unwrap_err().kind(), Kind::Invalid, "{path:?}");
        }
        assert_eq!(Place::of(Path::new("/a.")).unwrap().path, Path::new("/a."));
        assert_eq!(Place::of(Path::new("/...")).unwrap().path, Path::new("/..."));
    }

    #[test]
    fn a_target_is_made_with_its_parents_and_kept_when_it_is_there() {
        let (_keep, root) = scratch();
        for (name, shape) in [("a/b/c", Shape::Directory), ("a/b/f", Shape::File)] {
            for _ in 0..2 {
                let target = Target::create(&root.join(name), shape).unwrap();
                assert_eq!(target.path(), root.join(name));
            }
        }
        assert!(root.join("a/b/c").is_dir() && root.join("a/b/f").is_file());
    }

    #[test]
    fn another_kind_of_file_is_refused_and_left_alone() {
        let (_keep, root) = scratch();
        std::fs::create_dir(root.join("dir")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        symlink("dir", root.join("link")).unwrap();
        symlink("dir/absent", root.join("dangling")).unwrap();
        for (name, shape) in [
            ("dir", Shape::File),
            ("file", Shape::Directory),
            ("link", Shape::Directory),
            ("dangling", Shape::File),
            ("dangling", Shape::Directory),
        ] {
            let error = Target::create(&root.join(name), shape).unwrap_err();
            assert_eq!(error.kind(), Kind::Precondition, "{name}: {error:?}");
        }
        assert!(!root.join("dir/absent").exists());
        let below = Target::create(&root.join("dangling/x"), Shape::Directory).unwrap_err();
        assert_eq!(below.kind(), Kind::Precondition, "{below:?}");
    }

    #[test]
    fn only_what_is_empty_is_removed() {
        let (_keep, root) = scratch();
        std::fs::create_dir_all(root.join("full/inner")).unwrap();
        std::fs::write(root.join("data"), "x").unwrap();
        std::fs::write(root.join("empty"), "").unwrap();
        symlink("data", root.join("link")).unwrap();
        for name in ["full", "data", "link"] {
            assert_eq!(remove(&root.join(name)).unwrap_err().kind(), Kind::Precondition, "{name}");
            assert!(root.join(name).symlink_metadata().is_ok());
        }
        for name in ["full/inner", "empty", "empty", "absent/absent"] {
            remove(&root.join(name)).unwrap();
        }
        assert!(!root.join("empty").exists());
    }
}

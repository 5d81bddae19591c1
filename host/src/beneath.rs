//! Work in a directory that others write to, without ever leaving it.
//!
//! A [`Directory`] is held by descriptor. What is below it is reached with openat2(2), through no link, into no other mount and never
//! upwards; names are single components. So whatever somebody plants below (a link to `/`, a directory that becomes a link between two
//! steps), nothing outside is touched. It does not matter whether the directory is visible anywhere: a mount that is attached to no
//! path works as well.
//!
//! What is promised here holds on NFS too: link, mkdir and an exclusive create are decided by the server. A rename that must not
//! replace anything cannot be asked of an NFS server (renameat2 with flags is refused), so [`Directory::rename`] is for names that
//! nobody else uses, or for directories that are never empty, which a rename does not replace.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hawser_volume::{Bytes, Error, Result};
use rustix::fs::{
    Access, AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Statx, StatxFlags, Timespec, Timestamps, UTIME_NOW, Uid,
};
use rustix::io::Errno;

use crate::device::descriptor_path;
use crate::errno::{self, Attempt};
use crate::usage::{Space, Usage};

/// How a path below a directory is walked.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// How often a walk is repeated that the kernel could not prove to stay below, because something was renamed meanwhile.
const WALK_AGAIN: usize = 64;

/// A directory that is held open. Its methods block for as long as the filesystem does.
#[derive(Debug)]
pub struct Directory {
    held: OwnedFd,
    shown: PathBuf,
}

/// A path longer than this is walked in stretches, in bytes.
const STRETCH: usize = 2048;

fn step(from: &OwnedFd, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut again = WALK_AGAIN;
    loop {
        match rustix::fs::openat2(from, below, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN) if again > 0 => again -= 1,
            other => return other,
        }
    }
}

/// What came of a rename or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is done.
    Done,
    /// The new name is taken.
    Taken,
    /// The old name does not exist.
    Gone,
}

/// What is under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whether it is a directory (a link to one is not).
    pub is_directory: bool,
    /// The number by which the filesystem knows it.
    pub inode: u64,
    /// Its length in bytes.
    pub length: u64,
    /// When it was last written, by the clock of the filesystem's server.
    pub modified: SystemTime,
}

impl Directory {
    /// Holds the directory at `path`; links on the way are followed.
    pub fn open(path: &Path) -> Result<Self> {
        let held = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .attempt(|| format!("open directory {}", path.display()))?;
        Ok(Self { held, shown: path.to_owned() })
    }

    /// The root of a mount that need not be visible anywhere; `shown` is what messages call it.
    pub fn of_mount(mount: impl AsFd, shown: &Path) -> Result<Self> {
        let held = rustix::fs::openat(mount, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .attempt(|| format!("open {}", shown.display()))?;
        Ok(Self { held, shown: shown.to_owned() })
    }

    pub(crate) fn held(held: OwnedFd, shown: PathBuf) -> Self {
        Self { held, shown }
    }

    /// What messages call it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    fn place(&self, name: impl AsRef<Path>) -> String {
        self.shown.join(name).display().to_string()
    }

    /// The same directory, held once more.
    pub fn try_clone(&self) -> Result<Self> {
        let held = self.held.try_clone().attempt(|| format!("hold {}", self.shown.display()))?;
        Ok(Self { held, shown: self.shown.clone() })
    }

    /// The same directory as a file, for ioctls.
    pub(crate) fn as_file(&self) -> Result<File> {
        Ok(File::from(self.held.try_clone().attempt(|| format!("hold {}", self.shown.display()))?))
    }

    /// Holds the directory at the relative path `below`; nothing when it does not exist. `Precondition` when there is something else
    /// on the way, such as a link.
    pub fn enter(&self, below: impl AsRef<Path>) -> Result<Option<Self>> {
        let below = below.as_ref();
        match self.walk(below, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(held) => Ok(Some(Self { held, shown: self.shown.join(below) })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno::error(format!("open directory {}", self.place(below)), errno)),
        }
    }

    /// [`Directory::enter`] for what must exist.
    pub fn enter_existing(&self, below: impl AsRef<Path>) -> Result<Self> {
        let below = below.as_ref();
        self.enter(below)?.ok_or_else(|| errno::error(format!("open directory {}", self.place(below)), Errno::NOENT))
    }

    /// Opens what is at a relative path of any depth.
    pub(crate) fn walk(&self, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut part = PathBuf::new();
        let mut from = None;
        let mut components = below.components().peekable();
        while let Some(component) = components.next() {
            part.push(component);
            // The kernel takes 4096 bytes at a time, a tree may be deeper.
            if part.as_os_str().len() > STRETCH && components.peek().is_some() {
                from = Some(step(from.as_ref().unwrap_or(&self.held), &part, OFlags::PATH | OFlags::DIRECTORY)?);
                part = PathBuf::new();
            }
        }
        // An absolute path is refused by the kernel, as it leads out.
        step(from.as_ref().unwrap_or(&self.held), if part.as_os_str().is_empty() { below } else { &part }, flags)
    }

    /// Makes a directory with this mode, whatever the umask; false when the name is taken, by whatever.
    pub fn make(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<bool> {
        let name = single(name.as_ref())?;
        let make = || format!("make directory {}", self.place(name));
        match rustix::fs::mkdirat(&self.held, name, Mode::from_raw_mode(mode & 0o777)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(errno) => return Err(errno::error(make(), errno)),
        }
        let made = self.walk(Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY).attempt(make)?;
        let stat = rustix::fs::fstat(&made).attempt(make)?;
        if stat.st_mode & 0o7777 != mode {
            rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).attempt(make)?;
        }
        Ok(true)
    }

    /// Makes the directories of a relative path, as far as they are missing, and holds the last.
    pub fn make_all(&self, below: &Path, mode: u32) -> Result<Self> {
        let mut at = self.try_clone()?;
        for part in below.components() {
            let name = part.as_os_str();
            at = match at.enter(name)? {
                Some(inner) => inner,
                None => {
                    at.make(name, mode)?;
                    at.enter_existing(name)?
                }
            };
        }
        Ok(at)
    }

    /// Gives the directory itself to an owner, a group, and a mode, as far as they are given.
    pub fn give(&self, uid: Option<u32>, gid: Option<u32>, mode: Option<u32>) -> Result<()> {
        let what = || format!("set owner and mode of {}", self.shown.display());
        if uid.is_some() || gid.is_some() {
            rustix::fs::fchown(&self.held, uid.map(Uid::from_raw), gid.map(Gid::from_raw)).attempt(what)?;
        }
        if let Some(mode) = mode {
            rustix::fs::fchmod(&self.held, Mode::from_raw_mode(mode)).attempt(what)?;
        }
        Ok(())
    }

    /// Creates a file (mode 0600) with `contents` and puts it on disk; false when the name is taken.
    pub fn create(&self, name: impl AsRef<OsStr>, contents: &[u8]) -> Result<bool> {
        let name = single(name.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.held, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(false),
            Err(errno) => return Err(errno::error(format!("create {}", self.place(name)), errno)),
        };
        let mut file = File::from(file);
        file.write_all(contents).and_then(|()| file.sync_all()).attempt(|| format!("write {}", self.place(name)))?;
        Ok(true)
    }

    /// The contents of a file of at most `max`; nothing when it does not exist. `Internal` when it is larger or no plain file.
    pub fn read(&self, name: impl AsRef<OsStr>, max: Bytes) -> Result<Option<Vec<u8>>> {
        let name = single(name.as_ref())?;
        let read = || format!("read {}", self.place(name));
        // NONBLOCK: a pipe of that name must not hold us.
        let file = match self.walk(Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => File::from(file),
            // NFS says ESTALE for a file that was removed between its look-up and its opening.
            Err(Errno::NOENT | Errno::STALE) => return Ok(None),
            Err(errno) => return Err(errno::error(read(), errno)),
        };
        let metadata = file.metadata().attempt(read)?;
        if !metadata.is_file() || metadata.len() > max.get() {
            return Err(Error::internal(format!("{} is not a file of at most {max}; remove it", self.place(name))));
        }
        let mut contents = Vec::new();
        match file.take(max.get()).read_to_end(&mut contents) {
            Ok(_) => Ok(Some(contents)),
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
            Err(error) => Err(errno::error(read(), error)),
        }
    }

    /// Gives the file `from` the name `to` in `target` too. Exclusive, also among the clients of an NFS server.
    pub fn link(&self, from: &str, target: &Directory, to: &str) -> Result<Moved> {
        let (from, to) = (single(OsStr::new(from))?, single(OsStr::new(to))?);
        match rustix::fs::linkat(&self.held, from, &target.held, to, AtFlags::empty()) {
            Ok(()) => Ok(Moved::Done),
            // A request that was sent again after its answer was lost finds its own work.
            Err(Errno::EXIST) => match (self.entry(from)?, target.entry(to)?) {
                (Some(ours), Some(theirs)) if ours.inode == theirs.inode => Ok(Moved::Done),
                _ => Ok(Moved::Taken),
            },
            Err(Errno::NOENT) => Ok(Moved::Gone),
            Err(errno) => Err(errno::error(format!("link {} to {}", self.place(from), target.place(to)), errno)),
        }
    }

    /// Gives what is called `from` the name `to` in `target`. A file or an empty directory of that name is replaced; see the module.
    pub fn rename(&self, from: impl AsRef<OsStr>, target: &Directory, to: impl AsRef<OsStr>) -> Result<Moved> {
        let (from, to) = (single(from.as_ref())?, single(to.as_ref())?);
        match rustix::fs::renameat(&self.held, from, &target.held, to) {
            Ok(()) => Ok(Moved::Done),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => Ok(Moved::Taken),
            Err(Errno::NOENT) => Ok(Moved::Gone),
            Err(errno) => Err(errno::error(format!("rename {} to {}", self.place(from), target.place(to)), errno)),
        }
    }

    /// Removes a file or link; success when it does not exist.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = single(name.as_ref())?;
        match rustix::fs::unlinkat(&self.held, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno::error(format!("remove {}", self.place(name)), errno)),
        }
    }

    /// Removes an empty directory; false when it is not empty, success when it does not exist.
    pub fn remove_directory(&self, name: impl AsRef<OsStr>) -> Result<bool> {
        let name = single(name.as_ref())?;
        match rustix::fs::unlinkat(&self.held, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno::error(format!("remove directory {}", self.place(name)), errno)),
        }
    }

    /// Every name in it, in no order.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let list = || format!("list {}", self.shown.display());
        // Opened anew: two who read through one descriptor would each get a part.
        let again = self.walk(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).attempt(list)?;
        let mut names = Vec::new();
        for entry in Dir::new(again).attempt(list)? {
            let name = entry.attempt(list)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// What is under a name; nothing when there is nothing. Links are not followed.
    pub fn entry(&self, name: impl AsRef<OsStr>) -> Result<Option<Entry>> {
        let name = single(name.as_ref())?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(&self.held, name, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => Ok(Some(entry(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno::error(format!("look at {}", self.place(name)), errno)),
        }
    }

    /// The directory itself, asked of the server even if this machine believes to know.
    pub fn itself(&self) -> Result<Entry> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        let stat = rustix::fs::statx(&self.held, c"", flags, StatxFlags::BASIC_STATS)
            .attempt(|| format!("look at {}", self.shown.display()))?;
        Ok(entry(&stat))
    }

    /// Sets the time of a file's last change to the server's clock, and says what that was.
    pub fn touch(&self, name: &str) -> Result<SystemTime> {
        let name = single(OsStr::new(name))?;
        let what = || format!("touch {}", self.place(name));
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(&self.held, name, &times, AtFlags::SYMLINK_NOFOLLOW).attempt(what)?;
        let stat =
            rustix::fs::statx(&self.held, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)
                .attempt(what)?;
        Ok(entry(&stat).modified)
    }

    /// Whether this process may write into it. On NFS the server is asked, who may take this machine's root for nobody.
    pub fn may_write(&self) -> Result<bool> {
        match rustix::fs::accessat(rustix::fs::CWD, self.own_path(), Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(false),
            Err(errno) => Err(errno::error(format!("ask what may be done in {}", self.shown.display()), errno)),
        }
    }

    /// Space and inodes of the filesystem that it is in.
    pub fn usage(&self) -> Result<Usage> {
        let stat = rustix::fs::fstatvfs(&self.held).attempt(|| format!("read the usage of {}", self.shown.display()))?;
        Ok(usage(&stat))
    }

    /// Puts its names on disk. On NFS the server has done so before it answered.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.held).attempt(|| format!("sync directory {}", self.shown.display()))
    }

    /// A path by which this process, and nobody else, finds the directory.
    pub fn own_path(&self) -> PathBuf {
        descriptor_path(&self.held)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

fn entry(stat: &Statx) -> Entry {
    let since = Duration::new(u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0), stat.stx_mtime.tv_nsec);
    Entry {
        is_directory: FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory,
        inode: stat.stx_ino,
        length: stat.stx_size,
        modified: SystemTime::UNIX_EPOCH + since,
    }
}

pub(crate) fn usage(stat: &rustix::fs::StatVfs) -> Usage {
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Usage {
        bytes: Space {
            total: bytes(stat.f_blocks),
            available: bytes(stat.f_bavail),
            used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        },
        inodes: Space { total: stat.f_files, available: stat.f_favail, used: stat.f_files.saturating_sub(stat.f_ffree) },
    }
}

/// A name that leads nowhere else.
fn single(name: &OsStr) -> Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(Error::invalid(format!("{name:?} is not the name of something in a directory")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use hawser_volume::Kind;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        (place, directory)
    }

    #[test]
    fn nothing_outside_is_reached() {
        let (place, _) = scratch();
        std::fs::create_dir_all(place.path().join("volume/inner")).unwrap();
        std::fs::create_dir(place.path().join("outside")).unwrap();
        std::fs::write(place.path().join("outside/data"), "x").unwrap();
        let volume = Directory::open(&place.path().join("volume")).unwrap();
        symlink("/", place.path().join("volume/root")).unwrap();
        symlink("../outside", place.path().join("volume/up")).unwrap();
        symlink("inner", place.path().join("volume/same")).unwrap();
        for path in ["root", "up", "same", "..", "inner/../..", "../outside", "/", "root/etc", "/proc/self/cwd"] {
            assert!(volume.enter(path).is_err(), "{path}");
        }
        for name in ["", "..", "a/b", "../outside/data", "/etc/passwd"] {
            assert_eq!(volume.remove_file(name).unwrap_err().kind(), Kind::Invalid, "{name:?}");
            assert_eq!(volume.create(name, b"").unwrap_err().kind(), Kind::Invalid, "{name:?}");
        }
        assert!(volume.read("up", Bytes::mib(1)).is_err());
        assert!(volume.make_all(Path::new("up/new"), 0o700).is_err());
        volume.remove_file("up").unwrap();
        assert!(place.path().join("outside/data").exists());
        assert!(!place.path().join("outside/new").exists());
    }

    #[test]
    fn the_first_link_wins_and_finds_itself_again() {
        let (_place, directory) = scratch();
        assert!(directory.create("a", b"a").unwrap());
        assert!(!directory.create("a", b"b").unwrap());
        assert!(directory.create("b", b"b").unwrap());
        assert_eq!(directory.link("a", &directory, "c").unwrap(), Moved::Done);
        assert_eq!(directory.link("a", &directory, "c").unwrap(), Moved::Done);
        assert_eq!(directory.link("b", &directory, "c").unwrap(), Moved::Taken);
        assert_eq!(directory.link("x", &directory, "d").unwrap(), Moved::Gone);
        assert_eq!(directory.read("c", Bytes::mib(1)).unwrap().unwrap(), b"a");
    }

    #[test]
    fn a_directory_that_is_not_empty_is_not_replaced() {
        let (_place, directory) = scratch();
        for name in ["a", "b"] {
            assert!(directory.make(name, 0o2751).unwrap());
            assert!(directory.enter_existing(name).unwrap().create("record", b"").unwrap());
        }
        assert_eq!(directory.rename("a", &directory, "b").unwrap(), Moved::Taken);
        assert_eq!(directory.rename("a", &directory, "c").unwrap(), Moved::Done);
        assert_eq!(directory.rename("a", &directory, "d").unwrap(), Moved::Gone);
        let mode = rustix::fs::fstat(directory.enter_existing("c").unwrap()).unwrap().st_mode;
        assert_eq!(mode & 0o7777, 0o2751);
    }

    #[test]
    fn a_pipe_in_place_of_a_record_holds_nobody() {
        let (_place, directory) = scratch();
        rustix::fs::mknodat(&directory, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(directory.read("pipe", Bytes::mib(1)).unwrap_err().kind(), Kind::Internal);
        assert!(directory.create("large", &[0; 100]).unwrap());
        assert_eq!(directory.read("large", Bytes::new(99)).unwrap_err().kind(), Kind::Internal);
    }
}

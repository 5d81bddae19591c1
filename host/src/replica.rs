//! Copies of whole trees: contents with their holes, owners, modes, times, extended attributes, links, special files.
//!
//! A file is copied aside, made complete, put on disk and only then given its name. So whatever has its name in the copy is complete,
//! and a copy that was interrupted goes on where it was: what is there is not copied again. Directories get their owners, modes and times
//! last, from the leaves up.
//!
//! Data is shared (FICLONE) where the filesystem can, else copied by the filesystem or its server (copy_file_range), else by this
//! machine. The source is read through descriptors and no link is followed; what others do to it meanwhile can spoil the content of the
//! copy, but not lead out of the tree. A file that changes while it is copied is copied again, three times at most, and counted.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use hawser_volume::{Error, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use uuid::Uuid;

use crate::beneath::Directory;
use crate::blank::read_exactly;
use crate::copy::{clone_file, segments};
use crate::errno::{self, Attempt};
use crate::remote::Pulse;

/// How much is copied between two signs of life, in bytes.
const PIECE: u64 = 16 << 20;

/// The unit of copying by this machine, in bytes.
const BUFFER: usize = 1 << 20;

/// How often a file that changes meanwhile is copied.
const ATTEMPTS: u32 = 3;

/// How many files wait for somebody who copies them.
const WAITING: usize = 64;

/// The extended attributes that belong to the data. Access lists of NFSv4 (`system.nfs4_acl`) are the server's own affair.
const ATTRIBUTES: [&[u8]; 4] = [b"user.", b"trusted.", b"security.capability", b"system.posix_acl_"];

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Files, links and everything else that is no directory.
    pub entries: u64,
    /// Directories, without the root.
    pub directories: u64,
    /// Bytes of data that were copied, by whomever.
    pub moved: u64,
    /// Bytes of data that are shared with the source.
    pub shared: u64,
    /// What was complete already.
    pub found: u64,
    /// Files that changed in each of three attempts: what is in the copy may be no state that they ever had.
    pub changing: u64,
}

#[derive(Debug, Default)]
struct Tally {
    entries: AtomicU64,
    directories: AtomicU64,
    moved: AtomicU64,
    shared: AtomicU64,
    found: AtomicU64,
    changing: AtomicU64,
}

impl Tally {
    fn sum(&self) -> Copied {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Copied {
            entries: read(&self.entries),
            directories: read(&self.directories),
            moved: read(&self.moved),
            shared: read(&self.shared),
            found: read(&self.found),
            changing: read(&self.changing),
        }
    }
}

fn count(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}

/// A copy in the making.
struct Copy<'a> {
    source: &'a Directory,
    target: &'a Directory,
    aside: &'a Directory,
    pulse: &'a Pulse,
    tally: Tally,
    stop: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// Makes the directory `target` a copy of the directory `source`, and puts it on disk. `aside` is an empty directory of the same
/// filesystem for what is not complete; what is in it from an earlier attempt is not used. `workers` files are copied at a time.
///
/// `Precondition` when owners cannot be set (an NFS export that squashes root). What is complete stays when it fails; the same call
/// goes on.
pub fn replicate(source: &Directory, target: &Directory, aside: &Directory, workers: usize, pulse: &Pulse) -> Result<Copied> {
    let copy =
        Copy { source, target, aside, pulse, tally: Tally::default(), stop: AtomicBool::new(false), failure: Mutex::new(None) };
    let (give, take) = mpsc::sync_channel::<PathBuf>(WAITING);
    let take = Mutex::new(take);
    let plan = std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                loop {
                    let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(path) = next else { return };
                    if !copy.stop.load(Ordering::Relaxed)
                        && let Err(error) = copy.file(&path)
                    {
                        copy.fail(error);
                    }
                }
            });
        }
        let plan = copy.plan(&give);
        drop(give);
        plan
    });
    if let Some(error) = copy.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    let plan = plan?;
    for (first, other) in &plan.links {
        copy.link(first, other)?;
    }
    for directory in plan.directories.iter().rev() {
        copy.finish_directory(directory)?;
    }
    Ok(copy.tally.sum())
}

/// What is done when all files are copied.
#[derive(Default)]
struct Plan {
    /// Every directory, a directory before those in it.
    directories: Vec<PathBuf>,
    /// Further names of files: the first one, and this one.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Copy<'_> {
    fn fail(&self, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn attempted(&self, path: &Path) -> String {
        format!("copy {}", self.source.shown().join(path).display())
    }

    fn go_on(&self) -> Result<()> {
        if self.pulse.is_stopped() {
            Err(Error::unavailable("the copy was stopped; the same call goes on with it"))
        } else {
            Ok(())
        }
    }

    /// Walks the source: makes directories, links and special files, and hands plain files on.
    fn plan(&self, files: &mpsc::SyncSender<PathBuf>) -> Result<Plan> {
        let mut plan = Plan { directories: vec![PathBuf::from(".")], links: Vec::new() };
        let mut firsts: HashMap<(u64, u64), PathBuf> = HashMap::new();
        let mut next = 0;
        while let Some(path) = plan.directories.get(next).cloned() {
            next += 1;
            // What vanishes while it is copied is not in the copy.
            let Some(from) = self.source.enter(&path)? else { continue };
            let into = self.target.enter_existing(&path)?;
            for name in from.names()? {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(plan);
                }
                self.pulse.beat();
                self.go_on()?;
                let inner = if path == Path::new(".") { PathBuf::from(&name) } else { path.join(&name) };
                let Some(stat) = look(&from, &name).attempt(|| self.attempted(&inner))? else { continue };
                let kind = FileType::from_raw_mode(stat.st_mode);
                if kind == FileType::Directory {
                    into.make(&name, 0o700)?;
                    count(&self.tally.directories, 1);
                    plan.directories.push(inner);
                    continue;
                }
                count(&self.tally.entries, 1);
                if stat.st_nlink > 1
                    && let Some(first) = firsts.insert((stat.st_dev, stat.st_ino), inner.clone())
                {
                    firsts.insert((stat.st_dev, stat.st_ino), first.clone());
                    plan.links.push((first, inner));
                    continue;
                }
                if kind == FileType::RegularFile {
                    if files.send(inner).is_err() {
                        return Err(Error::internal("everybody who copies files has ended"));
                    }
                } else {
                    special(&from, &into, &name, &stat).attempt(|| self.attempted(&inner))?;
                }
            }
        }
        Ok(plan)
    }

    fn parents(&self, path: &Path) -> Result<(Option<Directory>, Directory, OsString)> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok((self.source.enter(above)?, self.target.enter_existing(above)?, name))
    }

    fn file(&self, path: &Path) -> Result<()> {
        let what = || self.attempted(path);
        let (from, into, name) = self.parents(path)?;
        let Some(from) = from else { return Ok(()) };
        if into.entry(&name)?.is_some() {
            count(&self.tally.found, 1);
            return Ok(());
        }
        let source = match from.walk(Path::new(&name), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK) {
            Ok(source) => File::from(source),
            Err(Errno::NOENT | Errno::STALE) => return Ok(()),
            Err(errno) => return Err(errno::error(what(), errno)),
        };
        let aside = Uuid::new_v4().to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = File::from(rustix::fs::openat(self.aside, &aside, flags, Mode::RUSR | Mode::WUSR).attempt(what)?);
        let mut attempt = 0;
        let stat = loop {
            let before = rustix::fs::fstat(&source).attempt(what)?;
            self.data(&source, &copy, before.st_size.unsigned_abs())?;
            let after = rustix::fs::fstat(&source).attempt(what)?;
            attempt += 1;
            if is_same(&before, &after) {
                break after;
            }
            if attempt == ATTEMPTS {
                count(&self.tally.changing, 1);
                break after;
            }
        };
        attributes(&source, &copy).attempt(what)?;
        own(&copy, &stat).attempt(what)?;
        copy.sync_all().attempt(what)?;
        // After the data is with the server: writing it would change the time again.
        rustix::fs::futimens(&copy, &times(&stat)).attempt(what)?;
        drop(copy);
        self.aside.rename(&aside, &into, &name)?;
        Ok(())
    }

    fn data(&self, source: &File, copy: &File, length: u64) -> Result<()> {
        if length > 0 && clone_file(source, copy)? {
            count(&self.tally.shared, length);
            return Ok(());
        }
        copy.set_len(0).and_then(|()| copy.set_len(length)).attempt(|| "set the length of a copy".into())?;
        for range in segments(source)? {
            self.range(source, copy, range.start..range.end.min(length))?;
        }
        Ok(())
    }

    fn range(&self, source: &File, copy: &File, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            self.pulse.beat();
            self.go_on()?;
            let piece = (range.end - at).min(PIECE);
            let (mut from, mut to) = (at, at);
            let length = usize::try_from(piece).unwrap_or(BUFFER);
            let copied = match rustix::fs::copy_file_range(source, Some(&mut from), copy, Some(&mut to), length) {
                // The source has become shorter; that it changed is seen afterwards.
                Ok(0) => return Ok(()),
                Ok(copied) => copied as u64,
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::IO) => {
                    self.by_hand(source, copy, at, length)?;
                    piece
                }
                Err(errno) => return Err(errno::error("copy data", errno)),
            };
            count(&self.tally.moved, copied);
            at += copied;
        }
        Ok(())
    }

    fn by_hand(&self, source: &File, copy: &File, at: u64, length: usize) -> Result<()> {
        let mut buffer = vec![0; length.min(BUFFER)];
        let mut done = 0;
        while done < length {
            let part = (length - done).min(BUFFER);
            let place = at + done as u64;
            if let Err(error) = read_exactly(source, &mut buffer[..part], place) {
                // Shorter than it was: it changed, and is looked at again.
                let now = source.metadata().attempt(|| "stat the source of a copy".into())?.len();
                return if now < place + part as u64 { Ok(()) } else { Err(error) };
            }
            copy.write_all_at(&buffer[..part], place).attempt(|| "write a copy".into())?;
            self.pulse.beat();
            done += part;
        }
        Ok(())
    }

    /// Gives a file that is in the copy a further name.
    fn link(&self, first: &Path, other: &Path) -> Result<()> {
        let (_, from, first_name) = self.parents(first)?;
        let (_, into, name) = self.parents(other)?;
        self.pulse.beat();
        match rustix::fs::linkat(&from, &first_name, &into, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // The first name had vanished before it was copied, this one had not: it is a file like any other.
            Err(Errno::NOENT) => self.file(other),
            Err(errno) => Err(errno::error(self.attempted(other), errno)),
        }
    }

    fn finish_directory(&self, path: &Path) -> Result<()> {
        let what = || self.attempted(path);
        let Some(from) = self.source.enter(path)? else { return Ok(()) };
        let into = self.target.enter_existing(path)?;
        let stat = rustix::fs::fstat(&from).attempt(what)?;
        attributes(&from, &into).attempt(what)?;
        own(&into, &stat).attempt(what)?;
        rustix::fs::futimens(&into, &times(&stat)).attempt(what)?;
        self.pulse.beat();
        into.sync()
    }
}

fn look(directory: &Directory, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn is_same(before: &Stat, after: &Stat) -> bool {
    let state = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    state(before) == state(after)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Makes a link, pipe, socket or device; one that is there from an earlier attempt gets its owner and times again.
fn special(from: &Directory, into: &Directory, name: &OsStr, stat: &Stat) -> rustix::io::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let made = if kind == FileType::Symlink {
        let target = rustix::fs::readlinkat(from, name, Vec::new())?;
        rustix::fs::symlinkat(target, into, name)
    } else {
        rustix::fs::mknodat(into, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(into, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        let held: OwnedFd = into.walk(Path::new(name), OFlags::PATH | OFlags::NOFOLLOW)?;
        rustix::fs::chmod(crate::device::descriptor_path(&held), Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    }
    rustix::fs::utimensat(into, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets owner and mode. The owner first: the kernel takes set-id bits away with the old one.
fn own(copy: impl AsFd, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::fchown(&copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

fn attributes(from: impl AsFd, into: impl AsFd) -> rustix::io::Result<()> {
    let mut names = vec![0u8; 1 << 16];
    let length = match rustix::fs::flistxattr(&from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for name in names[..length].split(|byte| *byte == 0) {
        if !ATTRIBUTES.iter().any(|known| name.starts_with(known)) {
            continue;
        }
        let mut value = vec![0u8; 1 << 16];
        let name = OsStr::from_bytes(name);
        let length = match rustix::fs::fgetxattr(&from, name, value.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        };
        rustix::fs::fsetxattr(&into, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    struct Scratch {
        place: tempfile::TempDir,
    }

    impl Scratch {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            for name in ["from", "to", "aside"] {
                std::fs::create_dir(place.path().join(name)).unwrap();
            }
            Self { place }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.place.path().join(name)
        }

        fn copy(&self) -> Result<Copied> {
            let open = |name: &str| Directory::open(&self.path(name)).unwrap();
            replicate(&open("from"), &open("to"), &open("aside"), 3, &Pulse::default())
        }
    }

    #[test]
    fn everything_of_a_tree_is_in_its_copy() {
        let scratch = Scratch::new();
        let from = scratch.path("from");
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::write(from.join("a/data"), vec![7; 3 << 20]).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.write_all_at(&[1; 4096], 512 << 20).unwrap();
        std::fs::hard_link(from.join("a/data"), from.join("a/b/again")).unwrap();
        symlink("/etc/passwd", from.join("out")).unwrap();
        symlink("nowhere", from.join("a/dangling")).unwrap();
        let long = "x".repeat(255);
        std::fs::write(from.join(&long), "long").unwrap();
        std::fs::write(from.join("new\nline \u{7f}\\"), "odd").unwrap();
        let at = Directory::open(&from).unwrap();
        rustix::fs::mknodat(&at, "pipe", FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        rustix::fs::mknodat(&at, "null", FileType::CharacterDevice, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3))
            .unwrap();
        std::os::unix::fs::lchown(from.join("out"), Some(11), Some(12)).unwrap();
        std::os::unix::fs::chown(from.join("a/data"), Some(1234), Some(4321)).unwrap();
        std::fs::set_permissions(from.join("a/data"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::fs::set_permissions(from.join("a/b"), std::fs::Permissions::from_mode(0o2500)).unwrap();
        let file = File::open(from.join("a/data")).unwrap();
        rustix::fs::fsetxattr(&file, "user.colour", b"blue", XattrFlags::empty()).unwrap();
        let old = Timestamps {
            last_access: Timespec { tv_sec: 1_000_000, tv_nsec: 5 },
            last_modification: Timespec { tv_sec: 2_000_000, tv_nsec: 7 },
        };
        rustix::fs::futimens(&file, &old).unwrap();

        let copied = scratch.copy().unwrap();
        let to = scratch.path("to");
        assert_eq!((copied.directories, copied.entries, copied.changing), (2, 9, 0));
        assert_eq!(std::fs::read(to.join("a/data")).unwrap(), vec![7; 3 << 20]);
        let data = to.join("a/data").metadata().unwrap();
        assert_eq!((data.uid(), data.gid(), data.mode() & 0o7777, data.mtime()), (1234, 4321, 0o4751, 2_000_000));
        assert_eq!(data.ino(), to.join("a/b/again").metadata().unwrap().ino());
        assert_eq!(to.join("a/b").metadata().unwrap().mode() & 0o7777, 0o2500);
        let mut value = [0u8; 16];
        let length = rustix::fs::getxattr(to.join("a/data"), "user.colour", value.as_mut_slice()).unwrap();
        assert_eq!(&value[..length], b"blue");
        let sparse = to.join("sparse").metadata().unwrap();
        assert!(sparse.len() == 1 << 30 && sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
        assert_eq!(std::fs::read_link(to.join("out")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(to.join("out").symlink_metadata().unwrap().uid(), 11);
        assert_eq!(std::fs::read_to_string(to.join(&long)).unwrap(), "long");
        assert_eq!(std::fs::read_to_string(to.join("new\nline \u{7f}\\")).unwrap(), "odd");
        assert_eq!(to.join("null").metadata().unwrap().rdev(), rustix::fs::makedev(1, 3));
        assert_eq!(to.join("pipe").metadata().unwrap().mode(), 0o010_640);
        assert_eq!(std::fs::read_dir(scratch.path("aside")).unwrap().count(), 0);

        // The same again copies nothing.
        let again = scratch.copy().unwrap();
        assert_eq!((again.moved, again.shared), (0, 0));
    }

    #[test]
    fn what_was_complete_is_kept_and_what_was_not_is_copied_anew() {
        let scratch = Scratch::new();
        for number in 0..20 {
            std::fs::write(scratch.path("from").join(format!("f{number}")), vec![number; 10_000]).unwrap();
        }
        std::fs::write(scratch.path("aside/half"), "half").unwrap();
        std::fs::write(scratch.path("to/f3"), vec![3; 10_000]).unwrap();
        let copied = scratch.copy().unwrap();
        assert_eq!((copied.found, copied.moved + copied.shared), (1, 190_000));
        for number in 0..20 {
            assert_eq!(std::fs::read(scratch.path("to").join(format!("f{number}"))).unwrap(), vec![number; 10_000]);
        }
    }

    #[test]
    fn a_tree_deeper_than_a_path_is_copied() {
        let scratch = Scratch::new();
        let mut at = Directory::open(&scratch.path("from")).unwrap();
        for _ in 0..40 {
            let name = "d".repeat(200);
            at.make(&name, 0o755).unwrap();
            at = at.enter_existing(&name).unwrap();
        }
        at.create("leaf", b"deep").unwrap();
        assert_eq!(scratch.copy().unwrap().directories, 40);
        let path: PathBuf = std::iter::repeat_n("d".repeat(200), 40).collect();
        let leaf = Directory::open(&scratch.path("to")).unwrap().enter_existing(&path).unwrap();
        assert_eq!(leaf.read("leaf", hawser_volume::Bytes::mib(1)).unwrap().unwrap(), b"deep");
    }

    #[test]
    fn files_that_come_and_go_spoil_nothing() {
        let scratch = Scratch::new();
        for number in 0..200 {
            std::fs::write(scratch.path("from").join(format!("f{number}")), "x").unwrap();
        }
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| {
                for number in 0..200 {
                    let _ = std::fs::remove_file(scratch.path("from").join(format!("f{number}")));
                    std::fs::write(scratch.path("from").join(format!("g{number}")), "y").unwrap();
                }
            });
            scratch.copy().unwrap();
            busy.join().unwrap();
        });
        scratch.copy().unwrap();
        assert_eq!(std::fs::read_to_string(scratch.path("to/g199")).unwrap(), "y");
    }
}

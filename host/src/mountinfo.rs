//! The kernel's own account of what is mounted: `/proc/self/mountinfo`.
//!
//! Paths are bytes, not text. A mount point that has been covered by another mount above it is still listed, and since Linux 6.8
//! lines come in the order in which mounts were made, not attached; so which mount is on top follows from the parents, not
//! from the order of lines.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::device::DeviceNumber;
use crate::errno::Attempt;

/// How often the table is read again because mounts changed meanwhile, before a possibly mixed one is accepted.
const READ_AGAIN: usize = 16;

/// One mount, with the fields of a line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The kernel's number of this mount; reused after unmount.
    pub id: u64,
    /// The mount that this one is attached to.
    pub parent: u64,
    /// `st_dev` of the files on it. For btrfs and overlayfs a number that belongs to no device.
    pub device: DeviceNumber,
    /// The directory (or file) of the filesystem that is seen at the mount point; `/` unless it is a bind mount.
    pub root: PathBuf,
    /// Where it is mounted, seen from this process's root.
    pub mount_point: PathBuf,
    /// Options of this mount alone, such as `ro` and `noexec`.
    pub options: Vec<String>,
    /// The filesystem's type, such as `ext4` or `fuse.sshfs`.
    pub filesystem: String,
    /// What was mounted, as the mounter called it: no proof of anything.
    pub source: PathBuf,
    /// Options of the filesystem, shared by all its mounts.
    pub super_options: Vec<String>,
    /// The group of mounts that show each other's submounts (`shared:N`), if this one is in one.
    pub peer_group: Option<u64>,
}

impl MountEntry {
    /// Whether nothing can be written here: this mount or the whole filesystem is read-only.
    pub fn read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro") || self.super_read_only()
    }

    /// Whether the whole filesystem is read-only.
    pub fn super_read_only(&self) -> bool {
        self.super_options.iter().any(|option| option == "ro")
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut next = || fields.next();
        let id = number(next()?)?;
        let parent = number(next()?)?;
        let device = std::str::from_utf8(next()?).ok()?.parse().ok()?;
        let root = path(next()?);
        let mount_point = path(next()?);
        let options = options(next()?);
        // Any number of optional fields (`shared:1`), then a dash.
        let mut peer_group = None;
        loop {
            match next()? {
                b"-" => break,
                field => peer_group = field.strip_prefix(b"shared:").and_then(number).or(peer_group),
            }
        }
        let filesystem = text(next()?);
        let source = path(next()?);
        let super_options = options_of(next());
        Some(Self { id, parent, device, root, mount_point, options, filesystem, source, super_options, peer_group })
    }
}

/// All mounts that one process sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountTable {
    entries: Vec<MountEntry>,
}

impl MountTable {
    /// Reads the table of this process.
    pub fn read() -> Result<Self> {
        let read = || "read /proc/self/mountinfo".to_owned();
        let mut contents = Vec::new();
        let mut file = File::open("/proc/self/mountinfo").attempt(read)?;
        for _ in 0..READ_AGAIN {
            contents.clear();
            file.read_to_end(&mut contents).attempt(read)?;
            // A large table takes several reads; the kernel says by POLLPRI that it has changed since the last poll or open.
            if !changed(&file).attempt(read)? {
                break;
            }
            file = File::open("/proc/self/mountinfo").attempt(read)?;
        }
        Self::parse(&contents)
    }

    /// Reads the text of a mountinfo file. `Internal` when a line is not as the kernel documents it: a table that is half
    /// understood must not be taken for one in which something is missing.
    pub fn parse(contents: &[u8]) -> Result<Self> {
        let lines = contents.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(|line| {
            MountEntry::parse(line).ok_or_else(|| {
                Error::internal(format!("a line of mountinfo cannot be understood: {:?}", String::from_utf8_lossy(line)))
            })
        });
        Ok(Self { entries: entries.collect::<Result<_>>()? })
    }

    /// The device and the path within its filesystem at which `directory` (a resolved path) is.
    pub fn locate(&self, directory: &Path) -> Option<(DeviceNumber, PathBuf)> {
        let under = directory.ancestors().find_map(|ancestor| self.top(ancestor))?;
        let rest = directory.strip_prefix(&under.mount_point).ok()?;
        let root = if rest.as_os_str().is_empty() { under.root.clone() } else { under.root.join(rest) };
        Some((under.device, root))
    }

    /// Every mount, in the kernel's order.
    pub fn entries(&self) -> &[MountEntry] {
        &self.entries
    }

    /// The mounts at exactly `path`, bottom first. Those that cannot be reached because a directory above has been mounted over
    /// come before those that can.
    pub fn at(&self, path: &Path) -> Vec<&MountEntry> {
        let visible = self.visible(path).unwrap_or_default();
        let hidden = self.entries.iter().filter(|entry| entry.mount_point == path && !visible.iter().any(|v| v.id == entry.id));
        hidden.chain(visible.iter().copied()).collect()
    }

    /// The mount that somebody who opens exactly `path` gets, if one is there.
    pub fn top(&self, path: &Path) -> Option<&MountEntry> {
        match self.visible(path) {
            Some(mut stack) => stack.pop(),
            None => self.at(path).pop(),
        }
    }

    /// The mounts strictly below `path`.
    pub fn below(&self, path: &Path) -> Vec<&MountEntry> {
        self.entries.iter().filter(|entry| entry.mount_point != path && entry.mount_point.starts_with(path)).collect()
    }

    /// The mounts whose files have the device number `device`.
    pub fn with_device(&self, device: DeviceNumber) -> Vec<&MountEntry> {
        self.entries.iter().filter(|entry| entry.device == device).collect()
    }

    /// The stack at `path` as a path walk meets it: down from the root, at each directory as far up as mounts are stacked.
    /// Nothing when the root is not listed (a process in a chroot whose root is no mount point).
    fn visible(&self, path: &Path) -> Option<Vec<&MountEntry>> {
        let is_listed = |id| self.entries.iter().any(|entry| entry.id == id);
        let ground = Path::new("/");
        let bottom = |entry: &&MountEntry| entry.mount_point == ground && (entry.parent == entry.id || !is_listed(entry.parent));
        let mut current = self.entries.iter().find(bottom)?;
        let mut stack = if path == ground { vec![current] } else { Vec::new() };
        let mut prefix = PathBuf::new();
        // No mount is entered twice; a table in which parents form a ring (which only a forged one has) ends here too.
        let mut steps = self.entries.len();
        for component in path.components() {
            prefix.push(component);
            while let Some(child) = self
                .entries
                .iter()
                .find(|entry| entry.parent == current.id && entry.id != current.id && entry.mount_point == prefix)
                .filter(|_| steps > 0)
            {
                steps -= 1;
                current = child;
                if prefix == path {
                    stack.push(child);
                }
            }
        }
        Some(stack)
    }
}

fn changed(file: &File) -> io::Result<bool> {
    let mut polled = [PollFd::new(file, PollFlags::PRI)];
    rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(polled[0].revents().intersects(PollFlags::PRI | PollFlags::ERR))
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

fn options(field: &[u8]) -> Vec<String> {
    // Split first: an escaped comma does not exist, and what the filesystem wrote stays one option.
    field.split(|byte| *byte == b',').filter(|option| !option.is_empty()).map(text).collect()
}

fn options_of(field: Option<&[u8]>) -> Vec<String> {
    field.map(options).unwrap_or_default()
}

/// Undoes the kernel's `mangle`: a backslash and three octal digits stand for one byte.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let ([b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..], [_, _, _, after @ ..]) = (rest, tail) {
            plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    const REAL: &[u8] = b"\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard\n\
22 21 0:20 / /proc rw,nosuid - proc proc rw\n\
30 21 7:3 /sub\\040dir /mnt/a\\011b\\134c ro,noexec shared:7 master:2 propagate_from:1 - ext4 /dev/loop3 rw,errors=remount-ro\n\
31 30 0:44 / /mnt/a\\011b\\134c rw - tmpfs  rw,size=4k\n\
32 21 0:45 / /mnt/\xff\xfe rw - fuse.sshfs user@host:/x\\043y ro\n";

    #[test]
    fn a_real_table_is_read() {
        let table = MountTable::parse(REAL).unwrap();
        let place = Path::new("/mnt/a\tb\\c");
        let stack = table.at(place);
        assert_eq!(stack.iter().map(|entry| entry.id).collect::<Vec<_>>(), [30, 31]);
        assert_eq!(stack[0].root, Path::new("/sub dir"));
        assert_eq!(stack[0].device, DeviceNumber { major: 7, minor: 3 });
        assert!(stack[0].read_only() && !stack[0].super_read_only());
        assert_eq!(stack[0].super_options, ["rw", "errors=remount-ro"]);
        assert_eq!(table.top(place).unwrap().filesystem, "tmpfs");
        assert_eq!(table.top(place).unwrap().source, Path::new(""));
        let odd = table.top(Path::new(OsStr::from_bytes(b"/mnt/\xff\xfe"))).unwrap();
        assert!(odd.super_read_only() && odd.read_only());
        assert_eq!(odd.source, Path::new("user@host:/x#y"));
        assert_eq!(table.below(Path::new("/mnt")).len(), 3);
        assert_eq!(table.below(Path::new("/")).len(), 4);
        assert_eq!(table.with_device(DeviceNumber { major: 7, minor: 3 }).len(), 1);
        assert!(table.top(Path::new("/mnt")).is_none());
    }

    #[test]
    fn what_covers_what_follows_from_parents_not_from_the_order_of_lines() {
        // 9 was made first and attached last, on top of 12.
        let table = MountTable::parse(
            b"1 0 8:0 / / rw - ext4 a rw\n9 12 7:9 / /m rw - ext4 top rw\n12 1 7:12 / /m rw - ext4 bottom rw\n",
        )
        .unwrap();
        assert_eq!(table.top(Path::new("/m")).unwrap().id, 9);
    }

    #[test]
    fn a_mount_under_a_covered_directory_is_not_on_top() {
        let table = MountTable::parse(
            b"1 0 8:0 / / rw - ext4 a rw\n2 1 7:2 / /m/x rw - ext4 hidden rw\n3 1 7:3 / /m rw - ext4 cover rw\n\
              4 3 7:4 / /m/x rw - ext4 seen rw\n5 1 7:5 / /m/y rw - ext4 hidden rw\n",
        )
        .unwrap();
        assert_eq!(table.at(Path::new("/m/x")).iter().map(|entry| entry.id).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(table.at(Path::new("/m/y")).len(), 1);
        assert!(table.top(Path::new("/m/y")).is_none());
    }

    #[test]
    fn a_line_that_is_cut_off_is_an_error() {
        for end in 1..80 {
            let cut = &REAL[..end.min(40)];
            assert!(MountTable::parse(cut).is_err(), "{:?}", String::from_utf8_lossy(cut));
        }
    }

    #[test]
    fn the_table_of_this_process_has_a_root() {
        assert!(MountTable::read().unwrap().top(Path::new("/")).is_some());
    }

    fn escape(bytes: &[u8]) -> Vec<u8> {
        bytes
            .iter()
            .flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
                other => vec![*other],
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_path_survives(name in prop::collection::vec(1u8.., 1..200)) {
            let mut line = b"5 1 0:9 / /".to_vec();
            line.extend(escape(&name));
            line.extend(b" rw shared:3 - tmpfs ");
            line.extend(escape(&name));
            line.extend(b" rw\n");
            let table = MountTable::parse(&line).unwrap();
            let entry = &table.entries()[0];
            prop_assert_eq!(entry.source.as_os_str().as_bytes(), &name[..]);
            prop_assert_eq!(&entry.mount_point.as_os_str().as_bytes()[1..], &name[..]);
        }

        #[test]
        fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = MountTable::parse(&bytes);
        }

        #[test]
        fn any_parents_end_the_walk(links in prop::collection::vec((0u64..12, 0u64..12, 0usize..4), 0..12)) {
            let places = ["/", "/a", "/a/b", "/c"];
            let lines: String =
                links.iter().map(|(id, parent, at)| format!("{id} {parent} 0:1 / {} rw - t s rw\n", places[*at])).collect();
            let table = MountTable::parse(lines.as_bytes()).unwrap();
            for place in places {
                let _ = table.at(Path::new(place));
            }
        }
    }
}

//! A filesystem is made beside the device first: in an unlinked file of the device's size, which costs only what mkfs writes.
//!
//! What mkfs *writes*, including the zeros that it writes or asks for, is what has to reach the device; the rest it leaves as it
//! finds it. The file's extent map tells the two apart: written extents hold data, unwritten ones are ranges that mkfs had zeroed
//! (an ext4 journal, an XFS log), holes were never touched.
//!
//! Where there is no extent map (tmpfs) or no room the file is kept in memory, and mkfs is told to write its zeros. For a large
//! device these are as large as its journal: up to 1 GiB for ext4, 2 GiB for XFS, for as long as formatting takes. So the
//! directory for temporary files (`TMPDIR`) of a container should be a disk.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use hawser_volume::{Bytes, Deadline, Error, Filesystem, Kind, Result};
use nix::errno::Errno;
use rustix::fs::{MemfdFlags, Mode, OFlags};

use crate::copy;
use crate::device::path_for_children;
use crate::errno::{self, Attempt};
use crate::exec::{Program, quoted};
use crate::ioctl::{self, FIEMAP_BATCH, Fiemap, FiemapExtent};

/// An image of a device's size.
#[derive(Debug)]
pub(crate) struct Scratch {
    file: File,
    size: Bytes,
    mapped: bool,
}

/// What mkfs did with a range of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Wrote something, possibly zeros.
    Written,
    /// Had it zeroed.
    Zeroed,
}

impl Scratch {
    /// An empty image: in `directory` if it has room and keeps a map of extents, in memory otherwise.
    pub(crate) fn new(directory: &Path, size: Bytes) -> Result<Self> {
        match Self::on_disk(directory, size) {
            Ok(scratch) => Ok(scratch),
            Err(error) => {
                tracing::debug!(directory = %directory.display(), error = error.chain(), "scratch image is kept in memory");
                Self::in_memory(size)
            }
        }
    }

    fn on_disk(directory: &Path, size: Bytes) -> Result<Self> {
        let make = || format!("make a scratch file in {}", directory.display());
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).attempt(make)?);
        file.set_len(size.get()).attempt(make)?;
        let space = rustix::fs::fstatvfs(&file).attempt(make)?;
        let available = space.f_bavail.saturating_mul(space.f_frsize);
        if available < room(size) {
            return Err(Error::new(Kind::Exhausted, format!("{}: {available} bytes are free", make())));
        }
        let scratch = Self { file, size, mapped: true };
        scratch.extents()?;
        Ok(scratch)
    }

    pub(crate) fn in_memory(size: Bytes) -> Result<Self> {
        let make = || "make a scratch file in memory".to_owned();
        let file = File::from(rustix::fs::memfd_create("hawser-format", MemfdFlags::CLOEXEC).attempt(make)?);
        file.set_len(size.get()).attempt(make)?;
        Ok(Self { file, size, mapped: false })
    }

    /// The image.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes a filesystem in the image, for a device that writes `sector` bytes at once.
    pub(crate) fn make(&self, filesystem: Filesystem, sector: u32, arguments: &[String], deadline: Deadline) -> Result<()> {
        let program = match filesystem {
            // `nodiscard`: an image is nothing to trim, and what is not discarded is not taken for zero afterwards.
            // `lazy_itable_init`: the kernel zeroes inode tables after mounting, here and as it would on the device; by default
            // mkfs asks whether the ext4 module is loaded and otherwise zeroes them itself, all of them.
            Filesystem::Ext4 => {
                let (arguments, extended) = merge_extended(arguments, "nodiscard,lazy_itable_init=1");
                let program = Program::new("mkfs.ext4").arguments(["-q", "-F", "-b", "4096", "-m", "0", "-E"]).argument(extended);
                // Where a zeroed range leaves no trace, zeros must be written.
                let program = if self.mapped { program } else { program.variable("UNIX_IO_NOZEROOUT", "1") };
                program.arguments(arguments)
            }
            Filesystem::Xfs => {
                let own = arguments.iter().any(|argument| argument.starts_with("-s"));
                let sector = if own { Vec::new() } else { vec!["-s".to_owned(), format!("size={sector}")] };
                Program::new("mkfs.xfs").argument("-q").arguments(sector).arguments(arguments)
            }
            Filesystem::Btrfs => Program::new("mkfs.btrfs").argument("-q").arguments(arguments),
        };
        let outcome = program.argument(path_for_children(&self.file)).run(deadline)?;
        if outcome.code != Some(0) {
            return Err(Error::precondition(format!(
                "mkfs.{filesystem} refused to make a filesystem of {} ({}){}",
                self.size,
                outcome.status,
                quoted(&outcome.output)
            )));
        }
        Ok(())
    }

    /// The ranges that mkfs touched, ascending, cut at the end of the image.
    pub(crate) fn touched(&self) -> Result<Vec<(Range<u64>, Touch)>> {
        if self.mapped {
            return self.extents();
        }
        Ok(copy::segments(&self.file)?.into_iter().map(|range| (range, Touch::Written)).collect())
    }

    fn extents(&self) -> Result<Vec<(Range<u64>, Touch)>> {
        const SYNC: u32 = 1;
        const LAST: u32 = 1;
        const UNWRITTEN: u32 = 0x800;
        let empty = FiemapExtent { logical: 0, physical: 0, length: 0, reserved64: [0; 2], flags: 0, reserved: [0; 3] };
        let end = self.size.get();
        let mut ranges = Vec::new();
        let mut start = 0;
        while start < end {
            let mut map = Fiemap {
                start,
                length: end - start,
                flags: SYNC,
                mapped_extents: 0,
                extent_count: 128,
                reserved: 0,
                extents: [empty; FIEMAP_BATCH],
            };
            match ioctl::fiemap(&self.file, &mut map) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno::error("map the extents of a scratch file", errno)),
            }
            let found = &map.extents[..usize::try_from(map.mapped_extents).map_or(0, |count| count.min(FIEMAP_BATCH))];
            for extent in found {
                let touch = if extent.flags & UNWRITTEN == 0 { Touch::Written } else { Touch::Zeroed };
                let stop = extent.logical.saturating_add(extent.length).min(end);
                if extent.logical < stop {
                    ranges.push((extent.logical..stop, touch));
                }
            }
            match found.last() {
                Some(last) if last.flags & LAST == 0 => start = last.logical.saturating_add(last.length),
                _ => break,
            }
        }
        Ok(ranges)
    }
}

/// How much free space a scratch file should find: the largest journal that mkfs makes for a device of `size`, and everything
/// else. On a full disk mkfs.ext4 would not fail, but zero its journal in a way that leaves no trace.
fn room(size: Bytes) -> u64 {
    const JOURNAL_MAX: u64 = 2304 << 20;
    ((128 << 20) + size.get() / 64).min(JOURNAL_MAX)
}

/// The caller's arguments without their extended options, and those after ours: mke2fs heeds only the last `-E`.
fn merge_extended(arguments: &[String], ours: &str) -> (Vec<String>, String) {
    let mut kept = Vec::new();
    let mut extended = ours.to_owned();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.strip_prefix("-E") {
            Some("") => {
                if let Some(value) = rest.next() {
                    extended = format!("{extended},{value}");
                }
            }
            Some(value) => extended = format!("{extended},{value}"),
            None => kept.push(argument.clone()),
        }
    }
    (kept, extended)
}

/// Whether a file on this filesystem starts out as one hole, as an image must.
#[cfg(test)]
fn is_sparse(file: &File) -> bool {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Data(0)).is_err()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn the_last_extended_options_include_all() {
        let arguments = ["-L", "x", "-E", "stride=4", "-Eroot_owner=1:2", "-N", "99"].map(str::to_owned);
        let (kept, extended) = merge_extended(&arguments, "nodiscard");
        assert_eq!(kept, ["-L", "x", "-N", "99"]);
        assert_eq!(extended, "nodiscard,stride=4,root_owner=1:2");
    }

    #[test]
    fn what_was_written_is_told_from_what_was_not() {
        let size = Bytes::gib(3);
        for scratch in [Scratch::new(&std::env::temp_dir(), size).unwrap(), Scratch::in_memory(size).unwrap()] {
            assert!(is_sparse(scratch.file()));
            assert!(scratch.touched().unwrap().is_empty());
            scratch.file().write_all_at(&[0; 8192], 4096).unwrap();
            scratch.file().write_all_at(&[1; 4096], size.get() - 4096).unwrap();
            let mut touched = scratch.touched().unwrap();
            touched.dedup_by(|next, last| {
                last.1 == next.1 && last.0.end == next.0.start && {
                    last.0.end = next.0.end;
                    true
                }
            });
            assert_eq!(touched, [(4096..12288, Touch::Written), (size.get() - 4096..size.get(), Touch::Written)]);
        }
    }
}

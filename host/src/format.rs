//! Making a filesystem so that it appears as a whole or not at all.
//!
//! mkfs on a device that is interrupted leaves something that is neither blank nor a filesystem, and nobody can say afterwards
//! whether it may be thrown away. So mkfs never sees the device:
//!
//! ```text
//!     prove      the device is opened exclusively and is blank, or carries our mark     Blank | Unfinished
//!     make       mkfs in a scratch image of the same size; its superblock is read       Blank | Unfinished
//!     mark       "unfinished, holds no data" into the first sector, fsync               Unfinished
//!     fill       everything that mkfs wrote or zeroed, but the first sector, fsync      Unfinished
//!     compare    the caches are dropped and what was written is read again              Unfinished
//!     finish     the first sector of the image over the mark, fsync                     the filesystem
//!     look       the device is probed: it must be the filesystem                        the filesystem
//! ```
//!
//! The invariant: a device that carries the mark has never been mounted, so formatting it again loses nothing. Being killed
//! anywhere leaves what the right column says; the one sector that `finish` writes is written as a whole or not at all by any
//! disk. (The page cache may write the sectors beside it too. They are on the disk already, the same.)
//!
//! The mark may come from an earlier attempt whose filesystem was another one. Nothing of that attempt can be taken for part of
//! the new filesystem: everything that mkfs relies on it writes, zeros included, exactly as when it is run on a used disk; and
//! the places by which filesystems are recognised are zeroed first.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use hawser_volume::{Bytes, Deadline, Error, Filesystem, Result};
use rustix::fs::{FallocateFlags, OFlags};

use crate::blank;
use crate::device::{Device, reopen};
use crate::errno::Attempt;
use crate::scratch::{Scratch, Touch};
use crate::signature::{self, Content};
use crate::{busy, ioctl, step, unfinished};

/// How a filesystem is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatOptions {
    /// The volume, which the device's mark names until the filesystem is complete. At most 256 bytes.
    pub volume: String,
    /// Further arguments for mkfs, as an operator configured them; never from a task.
    pub arguments: Vec<String>,
}

/// The unit of copying in bytes; a unit that is all zero is zeroed on the device, not written.
const UNIT: usize = 64 << 10;
/// How much is zeroed at a time in bytes, so that the deadline is looked at in between.
const ZERO_UNIT: u64 = 64 << 20;

/// The moments after which a test may stop, as if the process had been killed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The image is made.
    Made,
    /// The mark is on the device.
    Marked,
    /// The places by which filesystems are recognised are zero.
    Cleared,
    /// So many pieces have been copied.
    Copied(usize),
    /// All is copied.
    Filled,
    /// The first sector is written.
    Finished,
}

/// Makes a filesystem on `device`: [`Host::format`](crate::Host::format).
///
/// A device that carries the mark is formatted for whichever volume the mark names: it holds nothing. `Precondition` when the
/// device is in use, or not blank, or mkfs refuses; the message names what is on it or what mkfs said. `Exhausted` when the
/// directory for temporary files has no room for the scratch image.
pub fn format(device: &Device, filesystem: Filesystem, options: &FormatOptions, deadline: Deadline) -> Result<()> {
    let doing = format!("make {filesystem} on {}", device.path.display());
    run(device, filesystem, options, deadline, &mut |step| {
        announce(step);
        Ok(())
    })
    .map_err(|error| error.while_doing(doing))
}

/// The steps under the names that they have for the whole program.
fn announce(step: Step) {
    use crate::step::Step as Named;
    step::reached(match step {
        Step::Made => Named::FilesystemMade,
        Step::Marked => Named::DeviceMarked,
        Step::Copied(0) => Named::DevicePartlyFilled,
        Step::Filled => Named::DeviceFilled,
        Step::Finished => Named::FilesystemFinished,
        Step::Cleared | Step::Copied(_) => return,
    });
}

fn run(
    device: &Device,
    filesystem: Filesystem,
    options: &FormatOptions,
    deadline: Deadline,
    after: &mut dyn FnMut(Step) -> Result<()>,
) -> Result<()> {
    let mark = unfinished::encode(&options.volume)?;
    if device.read_only {
        return Err(Error::precondition("the device is read-only"));
    }
    device.prove()?;
    let exclusive = Exclusive::open(device)?;
    let again = match signature::probe(device)? {
        Content::Blank => false,
        Content::Unfinished { .. } => true,
        Content::Filesystem(info) => return Err(not_blank(&format!("{} {}", info.filesystem, info.uuid.unwrap_or_default()))),
        Content::Foreign(name) => return Err(not_blank(&name)),
    };
    let scratch = Scratch::new(&std::env::temp_dir(), exclusive.size)?;
    scratch.make(filesystem, unit_of_writing(device)?, &options.arguments, deadline)?;
    let touched = scratch.touched()?;
    inspect(&scratch, filesystem, device.sector, exclusive.size, &touched)?;
    after(Step::Made)?;

    // Making it may have taken a while, and from here on there is no way back.
    device.prove()?;
    exclusive.write_first_sector(&mark)?;
    after(Step::Marked)?;

    if again {
        for (start, end) in exclusive.recognised() {
            exclusive.zero(start..end, deadline)?;
        }
    }
    after(Step::Cleared)?;

    let sector = u64::from(device.sector);
    for (number, (range, touch)) in touched.iter().enumerate() {
        let range = range.start.max(sector)..range.end;
        match touch {
            Touch::Zeroed => exclusive.zero(range, deadline)?,
            Touch::Written => exclusive.copy(scratch.file(), range, deadline)?,
        }
        after(Step::Copied(number))?;
    }
    exclusive.sync()?;
    exclusive.compare(scratch.file(), &touched, deadline)?;
    after(Step::Filled)?;

    let mut first = vec![0; exclusive.sector];
    blank::read_exactly(scratch.file(), &mut first, 0)?;
    exclusive.write_first_sector(&first)?;
    after(Step::Finished)?;

    match signature::probe(device)? {
        Content::Filesystem(info) if info.filesystem == filesystem => Ok(()),
        other => Err(Error::internal(format!("the device shows {other:?} afterwards; the device does not keep what is written"))),
    }
}

/// What the device writes at once, in bytes: its physical sector, as far as filesystems can use it. mkfs would ask the device
/// itself for it, and cannot ask an image.
fn unit_of_writing(device: &Device) -> Result<u32> {
    let physical = rustix::fs::ioctl_blkpbszget(&device.file).attempt(|| "read the physical sector size".into())?;
    Ok(if physical.is_power_of_two() { physical.clamp(device.sector, device.sector.max(4096)) } else { device.sector })
}

fn not_blank(name: &str) -> Error {
    Error::precondition(format!("the device is not blank, it holds {}; it is left as it is", name.trim_end()))
}

/// The image must be what was asked for, as a whole and alone, before anything is written to the device.
fn inspect(scratch: &Scratch, filesystem: Filesystem, sector: u32, size: Bytes, touched: &[(Range<u64>, Touch)]) -> Result<()> {
    let Some(superblock) = signature::superblock_of(scratch.file(), size, sector)? else {
        return Err(Error::internal(format!("mkfs.{filesystem} made something else; check the arguments for it")));
    };
    if superblock.info.filesystem != filesystem {
        return Err(Error::internal(format!("mkfs.{filesystem} made {}", superblock.info.filesystem)));
    }
    let covered: u64 = touched.iter().map(|(range, _)| range.end - range.start).sum();
    if covered < superblock.journal.get() {
        return Err(Error::new(
            hawser_volume::Kind::Exhausted,
            format!(
                "the scratch image has no room for the journal of {}; make room in the directory for temporary files",
                superblock.journal
            ),
        ));
    }
    Ok(())
}

/// The device, held so that nobody can mount it or format it at the same time.
struct Exclusive {
    file: File,
    size: Bytes,
    sector: usize,
}

impl Exclusive {
    fn open(device: &Device) -> Result<Self> {
        let held = device.file.try_clone().attempt(|| "hold the device".into())?;
        let held = held.into();
        let open = || reopen(&held, OFlags::RDWR | OFlags::EXCL);
        let file = match busy::asked_again(open, |errno| *errno == rustix::io::Errno::BUSY) {
            Err(rustix::io::Errno::BUSY) => {
                return Err(Error::precondition("the device is in use: mounted, or being formatted")
                    .caused_by(std::io::Error::from(rustix::io::Errno::BUSY)));
            }
            other => other.attempt(|| "open the device exclusively".into())?,
        };
        let sector = usize::try_from(device.sector).unwrap_or(0);
        if sector < unfinished::LENGTH {
            return Err(Error::internal(format!("a sector of {sector} bytes is too small")));
        }
        Ok(Self { file, size: device.current_size()?, sector })
    }

    /// Writes `bytes`, filled up with zeros, over the first sector, and waits until the medium has it.
    fn write_first_sector(&self, bytes: &[u8]) -> Result<()> {
        let mut sector = vec![0; self.sector];
        sector[..bytes.len()].copy_from_slice(bytes);
        self.file.write_all_at(&sector, 0).attempt(|| "write the first sector".into())?;
        self.sync()
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().attempt(|| "flush the device".into())
    }

    /// Everything by which a filesystem may be recognised, but the first sector.
    fn recognised(&self) -> Vec<(u64, u64)> {
        let sector = self.sector as u64;
        let regions = blank::places(self.size.get()).into_iter();
        regions.map(|(start, end)| (start.max(sector), end)).filter(|(start, end)| start < end).collect()
    }

    /// Makes a range read as zero: by taking the space away where the device can, by writing otherwise.
    fn zero(&self, range: Range<u64>, deadline: Deadline) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            in_time(deadline)?;
            let length = ZERO_UNIT.min(range.end - at);
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let done = rustix::fs::fallocate(&self.file, punch, at, length)
                .or_else(|_| rustix::fs::fallocate(&self.file, FallocateFlags::ZERO_RANGE, at, length));
            if done.is_err() {
                let zeros = vec![0; UNIT];
                let mut from = at;
                while from < at + length {
                    let part = usize::try_from(at + length - from).map_or(UNIT, |left| left.min(UNIT));
                    self.file.write_all_at(&zeros[..part], from).attempt(|| format!("write zeros at {from}"))?;
                    from += part as u64;
                }
            }
            at += length;
        }
        Ok(())
    }

    fn copy(&self, image: &File, range: Range<u64>, deadline: Deadline) -> Result<()> {
        for_units(range, |at, buffer| {
            in_time(deadline)?;
            blank::read_exactly(image, buffer, at)?;
            if blank::first_nonzero(buffer).is_none() {
                return self.zero(at..at + buffer.len() as u64, deadline);
            }
            self.file.write_all_at(buffer, at).attempt(|| format!("write {} bytes at {at}", buffer.len()))
        })
    }

    /// Reads from the medium what was written to it.
    fn compare(&self, image: &File, touched: &[(Range<u64>, Touch)], deadline: Deadline) -> Result<()> {
        ioctl::block_flush(&self.file).attempt(|| "drop the cache of the device".into())?;
        let mut wanted = vec![0; UNIT];
        for (range, touch) in touched {
            if *touch == Touch::Zeroed {
                continue;
            }
            for_units(range.start.max(self.sector as u64)..range.end, |at, found| {
                in_time(deadline)?;
                let wanted = &mut wanted[..found.len()];
                blank::read_exactly(image, wanted, at)?;
                blank::read_exactly(&self.file, found, at)?;
                if wanted == found {
                    return Ok(());
                }
                Err(Error::internal(format!("the device does not keep what is written to it (byte {at} on); replace it")))
            })?;
        }
        Ok(())
    }
}

/// Calls `work` for each unit of a range, with a buffer of its length.
fn for_units(range: Range<u64>, mut work: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; UNIT];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).map_or(UNIT, |left| left.min(UNIT));
        work(at, &mut buffer[..length])?;
        at += length as u64;
    }
    Ok(())
}

fn in_time(deadline: Deadline) -> Result<()> {
    if deadline.passed() {
        return Err(Error::deadline_exceeded("the time ran out; the next attempt starts over"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

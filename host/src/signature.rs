//! What is on a device.
//!
//! One decision is taken from this and cannot be taken back: to format. So the answers are asymmetric. "Blank" needs a proof
//! (`blank.rs`); a filesystem needs a whole superblock and nothing else beside it; everything in between is foreign, is
//! named, and is left alone.

use std::fs::File;
use std::time::Duration;

use hawser_volume::{Bytes, Error, Filesystem, Result};

use crate::blank::{self, read_exactly};
use crate::device::Device;
use crate::foreign::{self, Ends, Found};
use crate::superblock::{self, BTRFS_OFFSET, EXT_OFFSET, SUPERBLOCK_MAX, Superblock, Verdict};
use crate::unfinished;

pub use crate::superblock::FilesystemInfo;

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Zeros, wherever it was looked: never formatted, or erased.
    Blank,
    /// A filesystem that was being made and is not finished. It has never been mounted; it may be made again.
    Unfinished {
        /// The volume that it was made for.
        volume: String,
    },
    /// A filesystem that Hawser can mount, and nothing beside it.
    Filesystem(FilesystemInfo),
    /// Anything else, by name: to be left alone.
    Foreign(String),
}

/// A superblock that does not fit its checksum is read again this often: a mounted ext4 may be writing it.
const AGAIN: u32 = 5;

/// What is on `device`: [`Host::probe`](crate::Host::probe).
pub fn probe(device: &Device) -> Result<Content> {
    let size = device.current_size()?;
    for attempt in 1.. {
        // What another node wrote must be seen, not what this one remembers.
        device.forget()?;
        let content = examine(&device.file, size, device.sector)
            .map_err(|error| error.while_doing(format!("probe {}", device.path.display())))?;
        match content {
            Content::Foreign(name) if attempt < AGAIN && name.contains("damaged") => {
                std::thread::sleep(Duration::from_millis(10) * attempt);
            }
            content => return Ok(content),
        }
    }
    Err(Error::internal("unreachable: every attempt but the last goes on"))
}

/// What is in `file`, a device or the image of one, of `size` bytes.
pub(crate) fn examine(file: &File, size: Bytes, sector: u32) -> Result<Content> {
    Ok(match survey(file, size, sector)? {
        Survey { mark: Some(volume), .. } => Content::Unfinished { volume },
        Survey { sound: Some(superblock), .. } => Content::Filesystem(superblock.info),
        Survey { foreign, .. } if !foreign.is_empty() => Content::Foreign(foreign.join(" and ")),
        Survey { .. } => match blank::first_data(file, size.get())? {
            None => Content::Blank,
            Some(at) => Content::Foreign(format!("unknown data at byte {at}")),
        },
    })
}

/// The superblock of the filesystem in `file`, if it holds one alone.
pub(crate) fn superblock_of(file: &File, size: Bytes, sector: u32) -> Result<Option<Superblock>> {
    Ok(survey(file, size, sector)?.sound)
}

/// What the two ends of a device tell; at most one of the three is there.
#[derive(Default)]
struct Survey {
    mark: Option<String>,
    sound: Option<Superblock>,
    foreign: Vec<String>,
}

fn survey(file: &File, size: Bytes, sector: u32) -> Result<Survey> {
    if size == Bytes::ZERO {
        return Err(Error::unavailable("the device has no size: nothing is attached to it"));
    }
    let part = |length: usize| usize::try_from(size.get()).map_or(length, |size| size.min(length));
    let mut head = vec![0; part(foreign::HEAD)];
    read_exactly(file, &mut head, 0)?;
    let mut tail = vec![0; part(foreign::TAIL)];
    let tail_from = size.get() - tail.len() as u64;
    read_exactly(file, &mut tail, tail_from)?;

    let place = |offset: u64| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        head.get(start..).map_or(&[][..], |rest| &rest[..rest.len().min(SUPERBLOCK_MAX)])
    };
    let own =
        [superblock::ext(place(EXT_OFFSET), size), superblock::xfs(place(0), size), superblock::btrfs(place(BTRFS_OFFSET), size)];
    let others = foreign::find(&Ends { head: &head, tail: &tail, size: size.get(), sector });

    if let Some(volume) = unfinished::decode(&head) {
        // What lies behind the mark is ours, half of a filesystem perhaps. Anything of another kind came later.
        if others.is_empty() {
            return Ok(Survey { mark: Some(volume), ..Survey::default() });
        }
        let mark = std::iter::once(format!("unfinished format of {volume}"));
        let foreign = mark.chain(others.into_iter().map(|other| other.name)).collect();
        return Ok(Survey { foreign, ..Survey::default() });
    }

    let mut sound = Vec::new();
    let mut names = Vec::new();
    for verdict in own {
        match verdict {
            Verdict::Absent => {}
            Verdict::Sound(superblock) => sound.push(superblock),
            Verdict::Other(name) => names.push(name),
        }
    }
    let beside = |other: &Found| !sound.iter().any(|superblock| owns(superblock, other.offset));
    names.extend(others.into_iter().filter(beside).map(|other| other.name));
    if names.is_empty() && sound.len() == 1 {
        return Ok(Survey { sound: sound.pop(), ..Survey::default() });
    }
    let foreign = sound.iter().map(|superblock| superblock.info.filesystem.to_string()).chain(names).collect();
    Ok(Survey { foreign, ..Survey::default() })
}

/// Whether `offset` is where a sound filesystem may keep what its users write. A file may contain anything, the image of
/// another disk too; that makes the filesystem no other one. Its own metadata at the beginning, where a new owner of the device
/// would leave a mark, is not such a place.
fn owns(superblock: &Superblock, offset: u64) -> bool {
    /// Below this, in bytes, ext4 and XFS have only superblocks, descriptors and the roots of their trees.
    const METADATA: u64 = 16 << 10;
    /// Below this, in bytes, btrfs has nothing but its superblock.
    const RESERVED: u64 = 1 << 20;
    let first = match superblock.info.filesystem {
        Filesystem::Ext4 | Filesystem::Xfs => METADATA,
        Filesystem::Btrfs => RESERVED,
    };
    (first..superblock.info.size.get()).contains(&offset)
}

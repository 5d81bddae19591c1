//! The proof that a device is blank.
//!
//! That no signature is known is no proof: a database may write to a raw device, a header may be in a place that nobody thought
//! of, or be damaged. A device counts as blank only if zeros are *read* from everywhere it is looked at: both ends, the places
//! where filesystems keep copies of their superblocks, and places spread evenly in between; a small device is read whole. A read
//! that fails or ends early is an error and proves nothing.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use hawser_volume::{Error, Result};
use rustix::fs::Advice;

/// Up to this size, in bytes, every byte is read.
const WHOLE: u64 = 256 << 20;
/// How much is read at each end, in bytes.
const END: u64 = 8 << 20;
/// How many samples are spread over the device.
const SAMPLES: u64 = 512;
/// The size of one sample in bytes.
const SAMPLE: u64 = 16 << 10;
/// How much is read around the place of a copy, in bytes.
const COPY: u64 = 128 << 10;
/// How many small reads are announced before they are made.
const AHEAD: usize = 64;
/// The unit of reading in bytes.
const CHUNK: usize = 1 << 20;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The first byte that is not zero of everything that is looked at, or nothing when all of it reads as zero.
pub(crate) fn first_data(device: &File, size: u64) -> Result<Option<u64>> {
    // Samples lie far apart: what the kernel would read ahead of each is not looked at. Only a hint, so it may fail.
    let _ = rustix::fs::fadvise(device, 0, None, Advice::Random);
    let found = search(device, &regions(size));
    let _ = rustix::fs::fadvise(device, 0, None, Advice::Normal);
    found
}

fn search(device: &File, regions: &[(u64, u64)]) -> Result<Option<u64>> {
    let mut buffer = vec![0; CHUNK];
    // A device across a network answers many small reads in the time of one, so they are announced before they are made. Only a
    // hint, so it may fail; what fails in the background fails again, and aloud, when it is read. Whole chunks gain nothing by it.
    let mut ahead = chunks(regions).filter(|(_, length)| *length < CHUNK);
    let announce = |(at, length): (u64, usize)| {
        let _ = rustix::fs::fadvise(device, at, NonZeroU64::new(length as u64), Advice::WillNeed);
    };
    ahead.by_ref().take(AHEAD).for_each(announce);
    for (at, length) in chunks(regions) {
        let chunk = &mut buffer[..length];
        read_exactly(device, chunk, at)?;
        if length < CHUNK {
            ahead.next().into_iter().for_each(announce);
        }
        if let Some(position) = first_nonzero(chunk) {
            return Ok(Some(at + position as u64));
        }
    }
    Ok(None)
}

/// The regions in pieces of [`CHUNK`] at most: where each begins and how long it is.
fn chunks(regions: &[(u64, u64)]) -> impl Iterator<Item = (u64, usize)> {
    regions.iter().flat_map(|&(start, end)| {
        (start..end).step_by(CHUNK).map(move |at| (at, usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK))))
    })
}

/// Reads all of `buffer`, or says why not: a device that ends early is not a device of its size.
pub(crate) fn read_exactly(device: &File, buffer: &mut [u8], at: u64) -> Result<()> {
    device.read_exact_at(buffer, at).map_err(|cause| {
        if cause.kind() == std::io::ErrorKind::UnexpectedEof {
            return Error::unavailable(format!("the device ends before byte {}", at + buffer.len() as u64)).caused_by(cause);
        }
        crate::errno::error(format!("read {} bytes at {at}", buffer.len()), cause)
    })
}

/// Where the first byte is that is not zero.
pub(crate) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    // Comparing slices is memcmp, which is fast even without optimisation.
    let dirty = bytes.chunks(ZEROS.len()).position(|chunk| chunk != &ZEROS[..chunk.len()])? * ZEROS.len();
    bytes[dirty..].iter().position(|byte| *byte != 0).map(|position| dirty + position)
}

/// Everything that is looked at on a device of `size` bytes: ranges in ascending order, not overlapping.
fn regions(size: u64) -> Vec<(u64, u64)> {
    if size <= WHOLE {
        return merged(vec![(0, size)], size);
    }
    let step = size / SAMPLES;
    let samples = (0..SAMPLES).map(|index| (index * step, index * step + SAMPLE));
    merged(places(size).into_iter().chain(samples).collect(), size)
}

/// The places by which something on a device of `size` bytes is recognised: its ends and where copies of superblocks are.
/// Ranges in ascending order, not overlapping.
pub(crate) fn places(size: u64) -> Vec<(u64, u64)> {
    let ends = [(0, END), (size.saturating_sub(END), size)];
    let copies = copies(size).into_iter().map(|at| (at.saturating_sub(COPY / 2), at.saturating_add(COPY)));
    merged(ends.into_iter().chain(copies).collect(), size)
}

fn merged(mut ranges: Vec<(u64, u64)>, size: u64) -> Vec<(u64, u64)> {
    ranges.retain(|(start, _)| *start < size);
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        let end = end.min(size);
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Where filesystems of a device of this size keep copies of their superblocks.
fn copies(size: u64) -> Vec<u64> {
    // btrfs: fixed places.
    let mut places = vec![64 << 20, 256 << 30];
    // ext2, ext3, ext4 (sparse_super): groups 1 and powers of 3, 5 and 7; a group has 8 blocks for each byte of a block.
    for block in [1024u64, 2048, 4096, 65536] {
        let group = block * block * 8;
        let first = if block == 1024 { 1024 } else { 0 };
        for base in [3u64, 5, 7] {
            let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(base));
            places.extend(powers.map_while(|power| power.checked_mul(group)).take_while(|at| *at < size).map(|at| at + first));
        }
    }
    // XFS: every allocation group; there are four by default, or one for each TiB.
    places.extend((1..4).map(|quarter| size / 4 * quarter));
    places.extend((1..size.div_ceil(1 << 40)).map(|group| group << 40));
    places.retain(|at| *at < size);
    places
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use hawser_volume::Kind;
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn sparse(size: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file
    }

    #[test]
    fn a_small_device_is_read_whole() {
        let file = sparse(64 << 20);
        assert_eq!(first_data(&file, 64 << 20).unwrap(), None);
        for at in [0, 511, 4096, 31 << 20, (64 << 20) - 1] {
            file.write_all_at(&[1], at).unwrap();
            assert_eq!(first_data(&file, 64 << 20).unwrap(), Some(at));
            file.write_all_at(&[0], at).unwrap();
        }
    }

    #[test]
    fn every_known_place_of_a_large_device_is_looked_at() {
        let size = 300 * GIB;
        let file = sparse(size);
        assert_eq!(first_data(&file, size).unwrap(), None);
        let places = [
            0,
            END - 1,
            8193 * 1024 + 1024 + 56,
            64 << 20,
            (64 << 20) + 65536 + 64,
            128 << 20,
            (128 << 20) * 49 + 56,
            size / 4,
            size / 512 * 333 + SAMPLE - 1,
            256 * GIB,
            size - END,
            size - (512 << 10),
            size - 512,
            size - 1,
        ];
        for at in places {
            file.write_all_at(&[1], at).unwrap();
            assert_eq!(first_data(&file, size).unwrap(), Some(at), "{at}");
            file.write_all_at(&[0], at).unwrap();
        }
    }

    #[test]
    fn a_device_that_ends_early_proves_nothing() {
        let mut file = sparse(1 << 20);
        file.write_all(&[0; 100]).unwrap();
        assert_eq!(first_data(&file, 2 << 20).unwrap_err().kind(), Kind::Unavailable);
    }

    proptest! {
        #[test]
        fn regions_ascend_and_stay_on_the_device(size in prop_oneof![0..4 * GIB, any::<u64>().prop_map(|s| s >> 8)]) {
            let regions = regions(size);
            prop_assert!(regions.iter().all(|(start, end)| start < end && *end <= size));
            prop_assert!(regions.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert_eq!(regions.is_empty(), size == 0);
            if let (Some(first), Some(last)) = (regions.first(), regions.last()) {
                prop_assert!(first.0 == 0 && first.1 >= END.min(size));
                prop_assert!(last.1 == size && last.0 <= size.saturating_sub(END));
            }
        }

        #[test]
        fn the_first_nonzero_byte_is_found(length in 0usize..200_000, at in any::<prop::sample::Index>()) {
            let mut bytes = vec![0; length];
            prop_assert_eq!(first_nonzero(&bytes), None);
            if length > 0 {
                let at = at.index(length);
                bytes[at] = 1;
                prop_assert_eq!(first_nonzero(&bytes), Some(at));
            }
        }
    }
}

//! Copies of files that keep their holes.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hawser_volume::{Bytes, Result};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::blank::read_exactly;
use crate::errno::{self, Attempt};

/// The unit of copying in bytes.
const UNIT: usize = 1 << 20;

/// Makes `dst` share the data of `src` (a reflink) and writes it to disk. False when the filesystem cannot; `dst` is as it was.
pub fn clone_file(src: &File, dst: &File) -> Result<bool> {
    match rustix::fs::ioctl_ficlone(dst, src) {
        Ok(()) => {
            dst.sync_all().attempt(|| "flush a clone".into())?;
            Ok(true)
        }
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno::error("clone a file", errno)),
    }
}

/// Whether files in `folder` can share their data, tried with two that have no name and no content.
pub fn can_share(folder: &Path) -> Result<bool> {
    let unnamed = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR);
        file.map(File::from).attempt(|| format!("make a file in {}", folder.display()))
    };
    clone_file(&unnamed()?, &unnamed()?)
}

/// Copies the data of `src` into `dst`, which loses what it had, becomes as long as `src`, has holes where `src` has, and is on
/// disk afterwards. `progress` is told how many bytes have been copied; the result is how many there were.
///
/// The length is that of the beginning; a `src` that becomes shorter meanwhile is an error.
pub fn copy_sparse(src: &File, dst: &File, progress: &dyn Fn(Bytes)) -> Result<Bytes> {
    let length = src.metadata().attempt(|| "stat the source of a copy".into())?.len();
    dst.set_len(0).and_then(|()| dst.set_len(length)).attempt(|| "set the length of a copy".into())?;
    let mut buffer = vec![0; UNIT];
    let mut copied = 0;
    for range in segments(src)? {
        let mut at = range.start;
        while at < range.end.min(length) {
            let part = usize::try_from(range.end.min(length) - at).map_or(UNIT, |left| left.min(UNIT));
            read_exactly(src, &mut buffer[..part], at)?;
            dst.write_all_at(&buffer[..part], at).attempt(|| format!("write {part} bytes at {at} of a copy"))?;
            at += part as u64;
            copied += part as u64;
            progress(Bytes::new(copied));
        }
    }
    dst.sync_all().attempt(|| "flush a copy".into())?;
    Ok(Bytes::new(copied))
}

/// Whether the file has no data at all: nothing has ever been written to it, or all of it has been discarded.
pub fn is_hole(file: &File) -> Result<bool> {
    Ok(next_data(file, 0)?.is_none())
}

/// How many bytes of the file are data, not holes.
pub fn data_bytes(file: &File) -> Result<Bytes> {
    Ok(Bytes::new(segments(file)?.into_iter().map(|range| range.end - range.start).sum()))
}

/// The ranges of the file that are data, ascending. A filesystem that knows no holes says that all is data.
pub(crate) fn segments(file: &File) -> Result<Vec<Range<u64>>> {
    let mut segments = Vec::new();
    let mut at = 0;
    while let Some(start) = next_data(file, at)? {
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).attempt(|| "look for a hole".into())?;
        // The file may be written to meanwhile; never stand still.
        if end <= start {
            break;
        }
        segments.push(start..end);
        at = end;
    }
    Ok(segments)
}

fn next_data(file: &File, at: u64) -> Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno::error("look for data", errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn sparse(size: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file
    }

    fn contents(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_hole_stays_a_hole() {
        let source = sparse(1 << 30);
        assert!(is_hole(&source).unwrap());
        source.write_all_at(&[7; 5000], 300 << 20).unwrap();
        assert!(!is_hole(&source).unwrap());
        let copy = sparse(5);
        copy.write_all_at(b"old contents", 0).unwrap();
        let told = Cell::new(Bytes::ZERO);
        let copied = copy_sparse(&source, &copy, &|bytes| told.set(bytes)).unwrap();
        assert_eq!(copied, told.get());
        assert_eq!(copied, data_bytes(&source).unwrap());
        assert!(copied < Bytes::mib(1));
        assert_eq!(copy.metadata().unwrap().len(), 1 << 30);
        assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut found = [0; 5000];
        copy.read_exact_at(&mut found, 300 << 20).unwrap();
        assert_eq!(found, [7; 5000]);
    }

    #[test]
    fn a_filesystem_without_reflinks_says_so() {
        let (source, copy) = (sparse(1 << 20), sparse(0));
        let source_disk = rustix::fs::fstatfs(&source).unwrap().f_type;
        if source_disk == 0xEF53 {
            assert!(!clone_file(&source, &copy).unwrap());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_copy_is_equal(writes in prop::collection::vec((0u64..3 << 20, prop::collection::vec(any::<u8>(), 1..9000)), 0..8)) {
            let (source, copy) = (sparse(2 << 20), sparse(100));
            for (at, bytes) in writes {
                source.write_all_at(&bytes, at).unwrap();
            }
            copy_sparse(&source, &copy, &|_| ()).unwrap();
            prop_assert!(contents(&source) == contents(&copy));
        }
    }
}

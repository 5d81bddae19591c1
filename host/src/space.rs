//! Space of a filesystem: setting it aside for a file, and how large a file can be.

use std::fs::File;
use std::path::Path;

use hawser_volume::{Bytes, Result};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::errno::Attempt;

/// Takes the blocks for the first `length` bytes of `file`, so that writing them cannot fail for want of space. What is written
/// stays; the length of the file is not changed beyond `length`.
pub fn reserve(file: &File, length: Bytes) -> Result<()> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length.get()).attempt(|| format!("set aside {length}"))
}

/// The largest file, in whole steps, that the filesystem of `folder` can hold: found by asking it with a file without a name.
pub fn largest_file(folder: &Path, step: Bytes) -> Result<Bytes> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let probe = File::from(
        rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR).attempt(|| format!("make a file in {}", folder.display()))?,
    );
    let step = step.get().max(1);
    let (mut fits, mut beyond) = (0, (1u64 << 63) / step);
    while beyond - fits > 1 {
        let middle = fits + (beyond - fits) / 2;
        if probe.set_len(middle * step).is_ok() {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(Bytes::new(fits * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_taken_from_the_disk() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        reserve(&file, Bytes::mib(1)).unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 >= Bytes::mib(1).get());
    }

    #[test]
    fn the_largest_file_can_be_made_and_a_larger_one_cannot() {
        let place = tempfile::tempdir().unwrap();
        let step = Bytes::new(4096);
        let largest = largest_file(place.path(), step).unwrap();
        let file = File::create(place.path().join("file")).unwrap();
        file.set_len(largest.get()).unwrap();
        assert!(largest.get() > (1 << 63) - 8192 || file.set_len(largest.get() + step.get()).is_err());
    }
}

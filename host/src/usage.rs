//! How full a filesystem is.

use std::path::Path;

use hawser_volume::Result;
use rustix::fs::{Mode, OFlags};

use crate::errno::Attempt;

/// One quantity of a filesystem, in bytes or inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an ordinary user can still take; less than `total - used` where some is reserved for root.
    pub available: u64,
    /// What is taken.
    pub used: u64,
}

/// How full a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes.
    pub bytes: Space,
    /// Inodes; all zero for a filesystem that does not count them (btrfs).
    pub inodes: Space,
}

/// How full the filesystem is that `path` is in: [`Host::usage`](crate::Host::usage).
pub fn usage(path: &Path) -> Result<Usage> {
    let what = || format!("read the usage of {}", path.display());
    let held = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).attempt(what)?;
    let stat = rustix::fs::fstatvfs(&held).attempt(what)?;
    Ok(crate::beneath::usage(&stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_and_what_is_free_fit_into_the_whole() {
        let usage = usage(&std::env::temp_dir()).unwrap();
        assert!(usage.bytes.total > 0);
        for space in [usage.bytes, usage.inodes] {
            assert!(space.used + space.available <= space.total, "{usage:?}");
        }
    }
}

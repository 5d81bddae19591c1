//! How full a volume is, and whether it can be used.

use std::path::Path;

use hawser_host::{Host, Usage};
use hawser_volume::{Bytes, Result, VolumeId};

use crate::attach::Attacher;
use crate::expand::mounted_path;
use crate::view::View;

/// What can be said about a volume at a path.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) size: Size,
    pub(crate) trouble: Option<String>,
}

/// Its size.
#[derive(Debug)]
pub(crate) enum Size {
    /// Of a filesystem.
    Filesystem(Usage),
    /// Of a raw device.
    Device(Bytes),
}

pub(crate) fn stats(host: &dyn Host, attacher: &dyn Attacher, volume: &VolumeId, path: &Path) -> Result<Stats> {
    let path = mounted_path(host, attacher, volume, path)?;
    let view = View::now(host, attacher, volume)?;
    let entry = view.at(&path)?;
    if entry.is_some_and(|entry| entry.filesystem == "devtmpfs" || entry.filesystem == "tmpfs") {
        return Ok(Stats { size: Size::Device(host.open_device(&path, true)?.size), trouble: None });
    }
    // ext4 turns a superblock read-only when it has found an error; then the mount still says "rw".
    let trouble =
        entry.filter(|entry| entry.super_read_only() && !entry.options.iter().any(|option| option == "ro")).map(|entry| {
            format!(
                "the {} filesystem has become read-only, which it does after an I/O error; see the kernel log",
                entry.filesystem
            )
        });
    attacher.answers()?;
    Ok(Stats { size: Size::Filesystem(host.usage(&path)?), trouble })
}

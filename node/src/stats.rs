//! How full a volume is, and whether it can be used.

use std::path::Path;

use hawser_host::{Host, Usage, remote};
use hawser_volume::{Bytes, Result, VolumeId};

use crate::attach::Attacher;
use crate::expand::mounted_path;
use crate::view::View;

/// What can be said about a volume at a path.
#[derive(Debug)]
pub(crate) struct Stats {
    /// Its size; nothing when that cannot be known because of the trouble.
    pub(crate) size: Option<Size>,
    pub(crate) trouble: Option<Trouble>,
}

/// What is wrong with a volume.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Its filesystem has become read-only.
    ReadOnly(String),
    /// Its device is gone.
    Gone(String),
    /// Its server does not know it any more.
    Stale(String),
    /// It was given to others while it is mounted here.
    Withdrawn(String),
}

impl Trouble {
    /// One word for it (NodeGetVolumeHealth).
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Trouble::ReadOnly(_) => "FilesystemReadOnly",
            Trouble::Gone(_) => "DeviceGone",
            Trouble::Stale(_) => "Stale",
            Trouble::Withdrawn(_) => "Withdrawn",
        }
    }

    /// The words for people.
    pub(crate) fn message(self) -> String {
        match self {
            Trouble::ReadOnly(message) | Trouble::Gone(message) | Trouble::Stale(message) | Trouble::Withdrawn(message) => {
                message
            }
        }
    }
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
    if let Some(entry) = entry
        && host.is_severed(entry)?
    {
        // Its filesystem would go on to tell what it remembers.
        let message =
            format!("the device of volume {volume} is gone, it was detached; stop who uses it, unpublish and unstage it");
        return Ok(Stats { size: None, trouble: Some(Trouble::Gone(message)) });
    }
    if entry.is_some_and(|entry| entry.filesystem == "devtmpfs" || entry.filesystem == "tmpfs") {
        return Ok(Stats { size: Some(Size::Device(host.open_device(&path, true)?.size)), trouble: None });
    }
    // ext4 turns a superblock read-only when it has found an error; then the mount still says "rw".
    let trouble =
        entry.filter(|entry| entry.super_read_only() && !entry.options.iter().any(|option| option == "ro")).map(|entry| {
            Trouble::ReadOnly(format!(
                "the {} filesystem has become read-only, which it does after an I/O error; see the kernel log",
                entry.filesystem
            ))
        });
    let withdrawn = attacher.is_withdrawn(volume).then(|| {
        Trouble::Withdrawn(format!(
            "volume {volume} was taken from this node while it is mounted here, as the node was believed to be dead; stop who uses it and unstage it"
        ))
    });
    attacher.answers()?;
    match host.usage(&path) {
        Ok(usage) => Ok(Stats { size: Some(Size::Filesystem(usage)), trouble: withdrawn.or(trouble) }),
        Err(error) if remote::is_stale(&error) => {
            let message = format!("{}: the server does not know volume {volume} any more; unstage it", error.chain());
            Ok(Stats { size: None, trouble: Some(Trouble::Stale(message)) })
        }
        Err(error) => Err(error),
    }
}

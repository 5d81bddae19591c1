//! What the kernel says about one volume on this node.

use std::path::{Path, PathBuf};

use hawser_host::{Host, MountEntry, MountTable};
use hawser_volume::{Error, Result, VolumeId};

use crate::attach::Attacher;

/// The table of mounts, read once, with the question whose volume a mount shows.
pub(crate) struct View<'a> {
    table: MountTable,
    attacher: &'a dyn Attacher,
    volume: &'a VolumeId,
}

impl<'a> View<'a> {
    pub(crate) fn now(host: &dyn Host, attacher: &'a dyn Attacher, volume: &'a VolumeId) -> Result<Self> {
        Ok(Self { table: host.mounts()?, attacher, volume })
    }

    /// The topmost mount at `path`, if it shows this volume; `Precondition` if it shows something else.
    pub(crate) fn at(&self, path: &Path) -> Result<Option<&MountEntry>> {
        match self.table.top(path) {
            None => Ok(None),
            Some(entry) if self.is_ours(entry)? => Ok(Some(entry)),
            Some(entry) => Err(Error::precondition(format!(
                "{} has another mount ({} {}); unmount it or use another path",
                path.display(),
                entry.filesystem,
                entry.source.display()
            ))),
        }
    }

    /// Whether the topmost mount at `path` shows this volume. A question that the backend could not answer is an error, not a
    /// "no".
    pub(crate) fn shows(&self, path: &Path) -> Result<bool> {
        self.table.top(path).map_or(Ok(false), |entry| self.is_ours(entry))
    }

    pub(crate) fn is_ours(&self, entry: &MountEntry) -> Result<bool> {
        self.attacher.shows(entry, self.volume)
    }

    /// Everywhere this volume is mounted.
    pub(crate) fn everywhere(&self) -> Result<Vec<&MountEntry>> {
        let mut found = Vec::new();
        for entry in self.table.entries() {
            if self.is_ours(entry)? {
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// `Precondition` if anything is mounted at or below `path`: whoever deletes the path recursively would delete through it.
    pub(crate) fn prove_nothing_left(&self, path: &Path) -> Result<()> {
        let left: Vec<PathBuf> =
            self.table.at(path).into_iter().chain(self.table.below(path)).map(|entry| entry.mount_point.clone()).collect();
        if left.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = left.iter().map(|path| path.display().to_string()).collect();
        Err(Error::precondition(format!("still mounted: {}; unmount what is there and try again", names.join(", "))))
    }
}

/// `Precondition` if the disk beneath a mount of `volume` is gone. It is no use that another one, or the volume itself, has come since: what
/// is written through this mount goes nowhere.
pub(crate) fn prove_connected(host: &dyn Host, volume: &VolumeId, entry: &MountEntry) -> Result<()> {
    if !host.is_severed(entry)? {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "volume {volume} is mounted at {} from a device that is gone: the volume was detached from this node meanwhile; stop who uses it, \
         unpublish and unstage it, and stage it anew",
        entry.mount_point.display()
    )))
}

/// Takes away the mounts of `volume` at exactly `path`, topmost first, and proves that nothing is left at or below it.
///
/// A mount that shows something else is not ours to take away: a late call for an old volume must not take the path's new one.
pub(crate) fn unmount_all(host: &dyn Host, attacher: &dyn Attacher, volume: &VolumeId, path: &Path) -> Result<()> {
    loop {
        let view = View::now(host, attacher, volume)?;
        if view.at(path)?.is_none() {
            return view.prove_nothing_left(path);
        }
        host.unmount(path)?;
    }
}

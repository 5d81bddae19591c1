//! Removing what killed processes left.

use std::fs;

use hawser_host::durable;
use hawser_host::lock::FileLock;
use hawser_volume::{Deadline, Result};

use crate::image;
use crate::layout::{LOCK, Shelf};
use crate::record::{SnapshotRecord, VolumeRecord};
use crate::store::{Kind, Pool, io};

impl Pool {
    /// Removes unfinished objects, finishes removals, removes snapshots whose group was never completed, and lets filesystems
    /// write again that a killed process had stopped. Whatever somebody is working on is left alone.
    pub fn sweep(&self) -> Result<()> {
        let new = self.layout.new_objects();
        if let Some(_alone) = FileLock::try_acquire(&new.join(LOCK))? {
            self.empty(&new)?;
            self.remove_orphans()?;
        }
        self.empty(&self.layout.trash())?;
        if self.config.kind == Kind::Image {
            self.thaw_forgotten()?;
        }
        Ok(())
    }

    fn empty(&self, folder: &std::path::Path) -> Result<()> {
        for entry in fs::read_dir(folder).map_err(|e| io("list", folder, e))? {
            let entry = entry.map_err(|e| io("list", folder, e))?;
            if entry.file_name() != LOCK {
                tracing::info!(path = %entry.path().display(), "removing what an interrupted call left");
                durable::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Members are placed before their group, while `new/` is locked by their maker; so with that lock held, a member without
    /// a group belongs to a maker that is gone.
    fn remove_orphans(&self) -> Result<()> {
        for snapshot in self.page::<SnapshotRecord>(Shelf::Snapshots, None, usize::MAX)?.items {
            if let Some(group) = &snapshot.group
                && self.group_record(group).is_err_and(|error| error.kind() == hawser_volume::Kind::NotFound)
            {
                tracing::info!(snapshot = snapshot.id, group, "removing a member of a group snapshot that was never completed");
                self.remove_snapshot(&snapshot.id, Deadline::after(std::time::Duration::from_secs(5)))?;
            }
        }
        Ok(())
    }

    /// Only a volume whose lock is free: its holder may have stopped it on purpose at this moment.
    fn thaw_forgotten(&self) -> Result<()> {
        for volume in self.page::<VolumeRecord>(Shelf::Volumes, None, usize::MAX)?.items {
            if volume.attachments.is_empty() {
                continue;
            }
            let content = self.content(&volume);
            let Some(_lock) = content.parent().map(|folder| FileLock::try_acquire(&folder.join(LOCK))).transpose()?.flatten()
            else {
                continue;
            };
            for path in image::mount_points(self.host.as_ref(), &content)? {
                self.host.thaw(&path)?;
            }
        }
        Ok(())
    }
}

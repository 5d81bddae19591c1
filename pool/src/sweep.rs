//! Removing what killed processes left.

use std::fs;

use hawser_host::durable;
use hawser_host::lock::FileLock;
use hawser_volume::{Deadline, Result};

use crate::image;
use crate::layout::{LOCK, Shelf};
use crate::record::{SnapshotRecord, VolumeRecord};
use crate::store::{Kind, Pool, io};

/// Nobody takes longer to write a record.
const WRITING: std::time::Duration = std::time::Duration::from_secs(600);

impl Pool {
    /// Removes unfinished objects, finishes removals, and removes snapshots whose group was never completed. Whatever somebody is
    /// working on is left alone.
    pub fn sweep(&self) -> Result<()> {
        let new = self.layout.new_objects();
        if let Some(_alone) = FileLock::try_acquire(&new.join(LOCK))? {
            self.empty(&new)?;
            self.remove_orphans()?;
        }
        self.empty(&self.layout.trash())?;
        self.remove_unfinished_records()?;
        Ok(())
    }

    /// Records that were begun and not finished. Young ones may be somebody's who is writing at this moment.
    fn remove_unfinished_records(&self) -> Result<()> {
        let shelves = Shelf::ALL.map(|shelf| self.layout.shelf(shelf));
        let objects =
            shelves.iter().flat_map(|shelf| fs::read_dir(shelf).into_iter().flatten().flatten().map(|entry| entry.path()));
        for folder in [self.root().to_owned(), self.layout.nodes()].into_iter().chain(objects) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
                if durable::is_unfinished(&entry.file_name()) && age.is_some_and(|age| age > WRITING) {
                    fs::remove_file(entry.path()).map_err(|e| io("remove", &entry.path(), e))?;
                }
            }
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

    /// Lets filesystems write again that a killed process had stopped for a snapshot; quick, and done before anything else, as a
    /// database hangs until then. Only a volume whose lock is free: its holder may have stopped it on purpose at this moment.
    pub fn thaw_forgotten(&self) -> Result<()> {
        if self.config.kind != Kind::Image {
            return Ok(());
        }
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

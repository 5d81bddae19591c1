//! Removing what was deleted, and what killed processes left.

use std::time::Duration;

use hawser_host::beneath::Moved;
use hawser_host::removal;
use hawser_volume::{NativeId, Result};

use crate::layout;
use crate::record::{SnapshotRecord, State, VolumeRecord};
use crate::tree::Tree;
use crate::versions::{self, Seen};

/// Nobody takes longer to make a draft or to write a record; copies are made in objects that have their names.
const MAKING: Duration = Duration::from_secs(3600);

/// How many directories are emptied at a time.
const WORKERS: usize = 8;

/// What is added to the name of an object in the trash when it is sure that it is to be removed: from then on its record may be missing.
const GOING: &str = ".going";

impl Tree {
    /// Empties the trash. Returns how many files and directories were removed. Another controller may do the same at the same time.
    pub(crate) fn empty_trash(&self) -> Result<u64> {
        let mut removed = 0;
        let mut failure = None;
        for name in self.root.trash.names()? {
            let Some(name) = name.to_str() else { continue };
            match self.remove_trashed(name) {
                Ok(count) => removed += count,
                // One that cannot be removed keeps nobody else.
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    fn remove_trashed(&self, name: &str) -> Result<u64> {
        if name.ends_with(GOING) {
            return self.remove_for_good(name, WORKERS);
        }
        let Some(object) = self.root.trash.enter(name)? else { return Ok(0) };
        let is_to_go = NativeId::parse(name).is_some()
            && match versions::latest::<serde_json::Value>(&object)? {
                Some(Seen { record, .. }) => {
                    let id = record["id"].as_str().unwrap_or_default();
                    layout::is_trashed(name, id) && record["state"] == "leaving"
                }
                None => false,
            };
        if !is_to_go {
            tracing::error!(path = %object.shown().display(), "this does not say of itself that it is to be removed, and is left; look at it");
            return Ok(0);
        }
        let going = format!("{name}{GOING}");
        match self.root.trash.rename(name, &self.root.trash, &going)? {
            Moved::Done | Moved::Gone => self.remove_for_good(&going, WORKERS),
            Moved::Taken => Ok(0),
        }
    }

    /// Finishes what interrupted calls left: removals that were begun, drafts that nobody works on any more, the trash.
    pub(crate) fn sweep(&self) -> Result<u64> {
        let now = self.server_time()?;
        for name in self.root.new.names()? {
            let Some(name) = name.to_str() else { continue };
            self.pulse.beat();
            if self.root.new.entry(name)?.is_some_and(|entry| now.duration_since(entry.modified).unwrap_or_default() > MAKING) {
                removal::remove(&self.root.new, name, WORKERS, &self.pulse)?;
            }
        }
        let (leaving, _) = self.page::<VolumeRecord>(None, usize::MAX, |record| record.state == State::Leaving)?;
        for record in leaving {
            self.finish_removal(&record)?;
        }
        let (leaving, _) = self.page::<SnapshotRecord>(None, usize::MAX, |record| record.state == State::Leaving)?;
        for record in leaving {
            self.discard::<SnapshotRecord>(&record.id)?;
        }
        for shelf in [&self.root.volumes, &self.root.snapshots] {
            for digest in shelf.names()? {
                self.pulse.beat();
                let Some(object) = shelf.enter(&digest)? else { continue };
                for name in object.names()?.iter().filter(|name| versions::is_unfinished(name)) {
                    if object.entry(name)?.is_some_and(|entry| now.duration_since(entry.modified).unwrap_or_default() > MAKING) {
                        object.remove_file(name)?;
                    }
                }
            }
        }
        self.free_numbers(|since| now.duration_since(since).unwrap_or_default() > MAKING)?;
        self.empty_trash()
    }
}

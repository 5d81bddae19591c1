//! Static volumes: directories of the export that were there before Hawser, under ids that somebody chose.
//!
//! Such a volume begins with its first attachment, whose volume_context says which directory it is. From then on it has a record like
//! any other, so it has one writer, snapshots and a place in listings. Its directory is never moved, changed or removed; deleting the
//! volume forgets the record.

use std::path::Path;

use hawser_host::step::Step;
use hawser_volume::record::now;
use hawser_volume::{Bytes, Error, NativeId, Result};

use crate::config::OnDelete;
use crate::layout::{self, VOLUMES};
use crate::record::{FORMAT, Owner, State, VolumeRecord};
use crate::tree::Tree;
use crate::versions;

/// Whether an id is one that somebody chose, and not one that was given to a volume made here.
pub fn is_given(id: &str) -> bool {
    NativeId::parse(id).is_none()
}

impl Tree {
    /// The record of the static volume `id`, begun if there is none. `NotFound` when it has none and no `directory` is named, or that
    /// does not exist; `Precondition` when it is another directory.
    pub(crate) fn adopt(&self, id: &str, directory: Option<&Path>) -> Result<VolumeRecord> {
        let place = layout::volume(id);
        loop {
            match self.of_digest::<VolumeRecord>(&place.digest)? {
                Some(existing) if existing.state == State::Leaving => self.finish_removal(&existing)?,
                Some(existing) => {
                    return match (directory, &existing.path) {
                        (Some(wanted), Some(is)) if wanted != is => Err(Error::precondition(format!(
                            "volume {} is the directory {}, and volume_context says {}; use another id",
                            self.label(id)?,
                            is.display(),
                            wanted.display()
                        ))),
                        _ => Ok(existing),
                    };
                }
                None => {}
            }
            let Some(path) = directory else {
                return Err(Error::not_found(format!(
                    "volume {} does not exist; for a directory that is there already say which in volume_context (subDir)",
                    self.label(id)?
                )));
            };
            if self.root.base.enter(path)?.is_none() {
                return Err(Error::not_found(format!(
                    "volume {}: the directory {} does not exist on the export",
                    self.label(id)?,
                    path.display()
                )));
            }
            let record = VolumeRecord {
                format: FORMAT,
                id: id.to_owned(),
                name: id.parse()?,
                size: Bytes::ZERO,
                enforced: false,
                project: None,
                path: Some(path.to_owned()),
                is_static: true,
                origin: None,
                // The directory is still to be claimed.
                state: State::Filling,
                filler: None,
                on_delete: OnDelete::Retain,
                owner: Owner::default(),
                created: now(),
                epoch: 0,
                attachments: Vec::new(),
                context: Default::default(),
            };
            let (draft, made) = self.draft()?;
            versions::first(&made, &record)?;
            self.reached(Step::VolumeRecorded)?;
            if self.place(&draft, VOLUMES, &place.digest)? {
                return Ok(record);
            }
        }
    }
}

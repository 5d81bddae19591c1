//! Volumes of an export: made, found, grown, removed.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use hawser_host::Usage;
use hawser_volume::{Bytes, Deadline, Error, Kind, Result, SizeRange};

use super::{ELSEWHERE, Export, Page};
use crate::capacity::Capacity;
use crate::gate::is_silence;
use crate::record::{State, VolumeRecord};
use crate::tree::Tree;
use crate::versions::Change;
use crate::volume::NewVolume;

impl Export {
    /// Makes a volume, or finds the one that was made by an earlier call with the same wishes, and fills it.
    ///
    /// `AlreadyExists` when the name, or the place, is another volume's; `NotFound` for an unknown origin; `DeadlineExceeded` while it is
    /// being filled, which goes on.
    pub fn create_volume(self: &Arc<Self>, new: &NewVolume, deadline: Deadline) -> Result<VolumeRecord> {
        let new = new.clone();
        self.settle(deadline, move |tree| tree.create_volume(&new))
    }

    /// Makes sure that there is the static volume `id`: see [`crate::given`]. `AlreadyExists` when its directory is another volume's.
    pub fn adopt(self: &Arc<Self>, id: &str, directory: Option<&Path>, deadline: Deadline) -> Result<VolumeRecord> {
        let (id, directory) = (id.to_owned(), directory.map(Path::to_owned));
        self.settle(deadline, move |tree| tree.adopt(&id, directory.as_deref()))
    }

    /// Begins a volume, or finds it, and fills it.
    fn settle(
        self: &Arc<Self>,
        deadline: Deadline,
        begin: impl Fn(&Tree) -> Result<VolumeRecord> + Clone + Send + 'static,
    ) -> Result<VolumeRecord> {
        loop {
            let record = self.work(deadline, begin.clone())?;
            if record.state == State::Ready {
                return Ok(record);
            }
            match self.fill::<VolumeRecord>(&record.id, deadline) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(Error::deadline_exceeded(format!(
                        "volume {}:{} is being filled; repeat the call",
                        self.backend, record.id
                    )));
                }
                // Another controller is at work on it.
                Err(error) if error.kind() == Kind::Unavailable && !is_silence(&error) && !deadline.passed() => {
                    thread::sleep(ELSEWHERE.min(deadline.remaining()));
                }
                // Its place is taken: it cannot come to be, and nobody was told of it.
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    let id = record.id.clone();
                    self.work(deadline, move |tree| tree.delete_volume(&id))?;
                    self.collect();
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a volume; success when it is gone already. Its content is removed in the background.
    pub fn delete_volume(self: &Arc<Self>, id: &str, deadline: Deadline) -> Result<()> {
        let id = id.to_owned();
        self.work(deadline, move |tree| tree.delete_volume(&id))?;
        self.collect();
        Ok(())
    }

    /// A volume by native id.
    pub fn volume(self: &Arc<Self>, id: &str) -> Result<VolumeRecord> {
        let id = id.to_owned();
        self.quick(move |tree| {
            let (_, record) = tree.find::<VolumeRecord>(&id)?;
            if record.state == State::Ready { Ok(record) } else { Err(Error::not_found(format!("volume {id} does not exist"))) }
        })
    }

    /// One page of volumes, after `after`, with what is wrong with each.
    pub fn volumes_with_trouble(
        self: &Arc<Self>,
        after: Option<&str>,
        max: usize,
    ) -> Result<Page<(VolumeRecord, Option<String>)>> {
        let after = after.map(str::to_owned);
        self.quick(move |tree| {
            let (records, next) = tree.page(after.as_deref(), max, |record: &VolumeRecord| record.state == State::Ready)?;
            let mut items = Vec::with_capacity(records.len());
            for record in records {
                let trouble = tree.trouble(&record)?;
                // One that goes while it is listed lacks its directory, which is no trouble.
                let is_there =
                    trouble.is_none() || tree.find::<VolumeRecord>(&record.id).is_ok_and(|(_, now)| now.state == State::Ready);
                if is_there {
                    items.push((record, trouble));
                }
            }
            Ok(Page { items, next })
        })
    }

    /// One page of volumes, after `after`.
    pub fn volumes(self: &Arc<Self>, after: Option<&str>, max: usize) -> Result<Page<VolumeRecord>> {
        let after = after.map(str::to_owned);
        self.quick(move |tree| {
            let (items, next) = tree.page(after.as_deref(), max, |record: &VolumeRecord| record.state == State::Ready)?;
            Ok(Page { items, next })
        })
    }

    /// What is wrong with a volume, if something is.
    pub fn volume_trouble(self: &Arc<Self>, record: &VolumeRecord) -> Result<Option<String>> {
        let record = record.clone();
        self.quick(move |tree| tree.trouble(&record))
    }

    /// Records a larger size, and has it enforced where sizes are.
    pub fn expand_volume(self: &Arc<Self>, id: &str, range: SizeRange) -> Result<Bytes> {
        let id = id.to_owned();
        self.quick(move |tree| {
            let label = tree.label(&id)?;
            tree.change(&id, |mut record: VolumeRecord| {
                if range.contains(record.size) {
                    return Ok(Change::Keep(record.size));
                }
                if range.required() < record.size {
                    return Err(Error::out_of_range(format!("volume {label} has {} and cannot shrink to {range}", record.size)));
                }
                if range.required() > crate::volume::SIZE_MAX {
                    return Err(Error::out_of_range(format!("{range} is more than {}", crate::volume::SIZE_MAX)));
                }
                let size = range.required();
                tree.change_limit(&record, size)?;
                record.size = size;
                Ok(Change::Write(record, size))
            })
        })
    }

    /// What the server can still hold.
    pub fn capacity(self: &Arc<Self>) -> Result<Capacity> {
        self.quick(Tree::capacity)
    }

    /// Space and inodes of the export.
    pub fn usage(self: &Arc<Self>) -> Result<Usage> {
        self.quick(|tree| tree.root.base.usage())
    }
}

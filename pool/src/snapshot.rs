//! Snapshots: cut at one moment, kept apart from their volume, complete before they are called ready.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;

use hawser_host::copy;
use hawser_host::lock::FileLock;
use hawser_host::step::{self, Step};
use hawser_volume::record::now;
use hawser_volume::{Deadline, Error, NativeId, ObjectName, Result};

use crate::image::{self, Activity, Taken};
use crate::layout::{IMAGE, LOCK, Shelf};
use crate::record::{FORMAT, SnapshotRecord, SnapshotState, VolumeRecord};
use crate::store::{Draft, Kind, Locked, Page, Pool, io, write_record};

/// A snapshot that has been cut and is not placed yet.
pub struct Cut {
    pub(crate) record: SnapshotRecord,
    pub(crate) draft: Draft,
    pub(crate) taken: Taken,
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cut").field("record", &self.record).field("taken", &self.taken).finish_non_exhaustive()
    }
}

fn native(record: &SnapshotRecord) -> &str {
    &record.id
}

fn volume_native(record: &VolumeRecord) -> &str {
    &record.id
}

/// What may be happening to a volume that its caller has not brought to a standstill.
pub(crate) fn activity(volume: &VolumeRecord) -> Activity {
    if volume.attachments.iter().any(|a| !a.read_only) { Activity::Written } else { Activity::Idle }
}

impl Pool {
    /// Cuts a snapshot of volume `source`, or finds the one that an earlier call cut.
    ///
    /// With reflinks, or little data, it is ready on return. Otherwise the copy goes on in the background, the volume stands
    /// still for its changes, and a later call reports when it is ready. A copy that was interrupted by a crash is resumed if
    /// nobody has had the volume since; otherwise the snapshot is reported as lost, never as ready.
    pub fn create_snapshot(self: &Arc<Self>, name: &ObjectName, source: &str, deadline: Deadline) -> Result<SnapshotRecord> {
        self.require_images("snapshots")?;
        loop {
            if let Some(existing) = self.named::<SnapshotRecord>(Shelf::Snapshots, name)? {
                return self.existing_snapshot(existing, name, source, deadline);
            }
            let volume: Locked<VolumeRecord> = self.lock(Shelf::Volumes, source, volume_native, deadline)?;
            let cut = self.cut(&volume, name, None)?;
            if let Some(record) = self.place_snapshot(cut, volume)? {
                return Ok(record);
            }
        }
    }

    /// Cuts a snapshot of a locked volume; as a member of a group, of one that the caller has brought to a standstill, complete
    /// on return.
    pub(crate) fn cut(&self, volume: &Locked<VolumeRecord>, name: &ObjectName, group: Option<&str>) -> Result<Cut> {
        let activity = match (activity(&volume.record), group) {
            (Activity::Written, Some(_)) => Activity::Still,
            (activity, _) => activity,
        };
        let id = NativeId::fresh(name);
        let source = self.content(&volume.record);
        let data = copy::data_bytes(&File::open(&source).map_err(|e| io("open", &source, e))?)?;
        // Blocks that are shared may be needed twice, and blocks that are copied are needed now.
        self.promise(data)?;
        let draft = self.draft()?;
        let path = draft.folder.join(IMAGE);
        let file = image::create(&path, volume.record.size)?;
        let created = now();
        let taken = image::take(self.host.as_ref(), &source, &file, activity, group.is_some())?;
        step::reached(Step::SnapshotCut);
        file.sync_all().map_err(|e| io("flush", &path, e))?;
        let record = SnapshotRecord {
            format: FORMAT,
            id: id.to_string(),
            name: name.clone(),
            source: volume.record.id.clone(),
            size: volume.record.size,
            data,
            shared: taken == Taken::Shared,
            state: if taken == Taken::Later { SnapshotState::Copying } else { SnapshotState::Ready },
            group: group.map(str::to_owned),
            source_epoch: volume.record.epoch,
            created,
        };
        Ok(Cut { record, draft, taken })
    }

    /// Gives a cut its name, and begins its copy if it needs one. Nothing when the name was taken meanwhile.
    fn place_snapshot(self: &Arc<Self>, cut: Cut, volume: Locked<VolumeRecord>) -> Result<Option<SnapshotRecord>> {
        let Cut { record, draft, taken } = cut;
        write_record(&draft.folder, &record)?;
        let lock = FileLock::acquire(&draft.folder.join(LOCK), Deadline::after(std::time::Duration::from_secs(30)))?;
        let digest = record.name.digest();
        if !self.put(draft, Shelf::Snapshots, &digest)? {
            return Ok(None);
        }
        if taken == Taken::Later {
            let snapshot = Locked::new(record.clone(), self.layout.object(Shelf::Snapshots, &digest), lock);
            self.copy_in_background(snapshot, volume);
        }
        Ok(Some(record))
    }

    fn copy_in_background(self: &Arc<Self>, mut snapshot: Locked<SnapshotRecord>, volume: Locked<VolumeRecord>) {
        let pool = Arc::clone(self);
        let copy = move || {
            let result = (|| {
                let source = pool.content(&volume.record);
                let from = File::open(&source).map_err(|e| io("open", &source, e))?;
                let path = snapshot.folder.join(IMAGE);
                let to = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| io("open", &path, e))?;
                copy::copy_sparse(&from, &to, &|_| ())?;
                snapshot.record.state = SnapshotState::Ready;
                snapshot.save()
            })();
            if let Err(error) = result {
                tracing::error!(
                    snapshot = snapshot.record.id,
                    error = error.chain(),
                    "copying the snapshot failed; the next CreateSnapshot resumes it"
                );
            }
        };
        if let Err(error) = std::thread::Builder::new().name("snapshot-copy".to_owned()).spawn(copy) {
            tracing::error!(error = %error, "no thread for the snapshot's copy; the next CreateSnapshot resumes it");
        }
    }

    fn existing_snapshot(
        self: &Arc<Self>,
        existing: SnapshotRecord,
        name: &ObjectName,
        source: &str,
        deadline: Deadline,
    ) -> Result<SnapshotRecord> {
        if existing.name != *name || existing.source != source {
            return Err(Error::already_exists(format!(
                "snapshot {:?} exists already as {}:{} of volume {}; use another name",
                name.as_str(),
                self.backend,
                existing.id,
                existing.source
            )));
        }
        if existing.is_ready() {
            return Ok(existing);
        }
        let folder = self.layout.object(Shelf::Snapshots, &name.digest());
        let Some(lock) = FileLock::try_acquire(&folder.join(LOCK))? else {
            // Somebody is copying it.
            return Ok(existing);
        };
        let record: SnapshotRecord = self.read(Shelf::Snapshots, &existing.id, native)?;
        if record.is_ready() {
            return Ok(record);
        }
        let volume = self.lock(Shelf::Volumes, source, volume_native, deadline);
        match volume {
            Ok(volume) if volume.record.epoch == record.source_epoch => {
                self.copy_in_background(Locked::new(record.clone(), folder, lock), volume);
                Ok(record)
            }
            Ok(_) | Err(_) => Err(Error::internal(format!(
                "snapshot {}:{} was not copied completely and its volume has been used or removed since; delete it and take a new one",
                self.backend, existing.id
            ))),
        }
    }

    /// A snapshot by native id.
    pub fn snapshot(&self, id: &str) -> Result<SnapshotRecord> {
        self.read(Shelf::Snapshots, id, native)
    }

    /// One page of snapshots, after `after`, of volume `source` only if one is given.
    pub fn snapshots(&self, source: Option<&str>, after: Option<&str>, max: usize) -> Result<Page<SnapshotRecord>> {
        let Some(source) = source else { return self.page(Shelf::Snapshots, after, max) };
        let mut matching: Vec<SnapshotRecord> = self.page(Shelf::Snapshots, after, usize::MAX)?.items;
        matching.retain(|snapshot| snapshot.source == source);
        let more = matching.len() > max;
        matching.truncate(max);
        let next = matching.last().filter(|_| more).and_then(|last| last.id.split('-').next().map(str::to_owned));
        Ok(Page { items: matching, next })
    }

    /// Removes a snapshot; success when it is gone already. `Invalid` for a member of a group, which goes with its group.
    pub fn delete_snapshot(&self, id: &str, deadline: Deadline) -> Result<()> {
        if let Ok(record) = self.snapshot(id)
            && let Some(group) = &record.group
        {
            return Err(Error::invalid(format!(
                "snapshot {0}:{id} belongs to group snapshot {0}:{group}; delete that",
                self.backend
            )));
        }
        self.remove_snapshot(id, deadline)
    }

    pub(crate) fn remove_snapshot(&self, id: &str, deadline: Deadline) -> Result<()> {
        let snapshot: Locked<SnapshotRecord> = match self.lock(Shelf::Snapshots, id, native, deadline) {
            Ok(snapshot) => snapshot,
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        self.discard(snapshot, id)?;
        self.ledger.forget();
        Ok(())
    }

    pub(crate) fn snapshot_image(&self, id: &str) -> Result<PathBuf> {
        let record = self.snapshot(id)?;
        Ok(self.layout.object(Shelf::Snapshots, &record.name.digest()).join(IMAGE))
    }

    pub(crate) fn require_images(&self, what: &str) -> Result<()> {
        match self.config.kind {
            Kind::Image => Ok(()),
            Kind::Directory => Err(Error::precondition(format!("{what} are not possible on a backend of kind directory"))),
        }
    }
}

//! Making, changing and removing volumes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};

use hawser_host::durable;
use hawser_host::step::{self, Step};
use hawser_volume::record::now;
use hawser_volume::{Bytes, Deadline, Error, NativeId, ObjectName, Origin, Result, SizeRange};

use crate::image::{self, Activity, Taken};
use crate::layout::{DATA, IMAGE, Shelf};
use crate::record::{FORMAT, Provisioning, VolumeRecord};
use crate::snapshot::activity;
use crate::store::{Draft, Kind, Locked, Page, Pool, io, write_record};

/// What a new volume shall be.
#[derive(Debug, Clone)]
pub struct NewVolume {
    /// Its name; the same name with the same wishes is the same volume.
    pub name: ObjectName,
    /// Its size.
    pub range: SizeRange,
    /// The smallest size that its filesystem can have.
    pub min: Bytes,
    /// Thin or thick.
    pub provisioning: Provisioning,
    /// What it is made from.
    pub origin: Option<Origin>,
    /// What the node side needs to know.
    pub context: BTreeMap<String, String>,
}

fn native(record: &VolumeRecord) -> &str {
    &record.id
}

impl Pool {
    /// Makes a volume, or finds the one that was made by an earlier call with the same wishes.
    ///
    /// `AlreadyExists` when the name is taken by another volume; `OutOfRange` for an impossible size; `Exhausted` for want of
    /// space; `NotFound` for an unknown origin. Nothing is left behind by a failure.
    pub fn create_volume(&self, new: &NewVolume, deadline: Deadline) -> Result<VolumeRecord> {
        loop {
            if let Some(existing) = self.named::<VolumeRecord>(Shelf::Volumes, &new.name)? {
                return match difference(&existing, new, self.config.kind) {
                    None => Ok(existing),
                    Some(difference) => Err(Error::already_exists(format!(
                        "volume {:?} exists already as {}:{}, but {difference}; use another name",
                        new.name.as_str(),
                        self.backend,
                        existing.id
                    ))),
                };
            }
            if let Some(record) = self.try_create(new, deadline)? {
                return Ok(record);
            }
        }
    }

    /// Nothing when somebody else took the name meanwhile.
    fn try_create(&self, new: &NewVolume, deadline: Deadline) -> Result<Option<VolumeRecord>> {
        let origin_size = new.origin.as_ref().map(|origin| self.origin_size(origin)).transpose()?.unwrap_or_default();
        let mut rule = self.size_rule(new.min.max(origin_size))?;
        if new.origin.is_some() {
            rule.default = rule.min;
        }
        let size = new.range.fit(&rule)?;
        self.promise(size)?;
        let id = NativeId::fresh(&new.name);
        let record = VolumeRecord {
            format: FORMAT,
            id: id.to_string(),
            name: new.name.clone(),
            size,
            provisioning: new.provisioning,
            origin: new.origin.clone(),
            created: now(),
            epoch: 0,
            attachments: Vec::new(),
            context: new.context.clone(),
        };
        let draft = self.draft()?;
        match self.config.kind {
            Kind::Directory => durable::create_dir(&draft.folder.join(DATA))?,
            Kind::Image => self.fill(&draft, &record, deadline)?,
        }
        step::reached(Step::VolumeFilled);
        write_record(&draft.folder, &record)?;
        step::reached(Step::VolumeRecorded);
        Ok(self.put(draft, Shelf::Volumes, &id.digest)?.then_some(record))
    }

    fn fill(&self, draft: &Draft, record: &VolumeRecord, deadline: Deadline) -> Result<()> {
        let path = draft.folder.join(IMAGE);
        let file = image::create(&path, record.size)?;
        match &record.origin {
            None => {}
            Some(Origin::Snapshot(snapshot)) => {
                // The snapshot may be deleted meanwhile; an open file stays readable, so no lock is needed.
                let source = self.snapshot_image(snapshot)?;
                self.take_into(&source, &file, Activity::Idle)?;
            }
            Some(Origin::Volume(volume)) => {
                let source: Locked<VolumeRecord> = self.lock(Shelf::Volumes, volume, native, deadline)?;
                self.take_into(&self.content(&source.record), &file, activity(&source.record))?;
            }
        }
        image::finish(&file, &path, record.size, record.provisioning)
    }

    fn take_into(&self, source: &std::path::Path, file: &File, activity: Activity) -> Result<()> {
        match image::take(self.host.as_ref(), source, file, activity, true)? {
            Taken::Shared | Taken::Copied => Ok(()),
            Taken::Later => Err(Error::internal("a copy that was to be waited for was put off")),
        }
    }

    fn origin_size(&self, origin: &Origin) -> Result<Bytes> {
        if self.config.kind == Kind::Directory {
            return Err(Error::invalid("volume_content_source is not possible for a directory; use a backend of kind image"));
        }
        match origin {
            Origin::Volume(id) => Ok(self.volume(id)?.size),
            Origin::Snapshot(id) => {
                let snapshot = self.snapshot(id)?;
                if !snapshot.is_ready() {
                    return Err(Error::unavailable(format!(
                        "snapshot {}:{id} is still being copied; try again when it is ready to use",
                        self.backend
                    )));
                }
                Ok(snapshot.size)
            }
        }
    }

    /// A volume by native id.
    pub fn volume(&self, id: &str) -> Result<VolumeRecord> {
        self.read(Shelf::Volumes, id, native)
    }

    /// One page of volumes, after `after`.
    pub fn volumes(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeRecord>> {
        self.page(Shelf::Volumes, after, max)
    }

    /// Removes a volume; success when it is gone already. `Precondition` while a node has it.
    pub fn delete_volume(&self, id: &str, deadline: Deadline) -> Result<()> {
        let volume: Locked<VolumeRecord> = match self.lock(Shelf::Volumes, id, native, deadline) {
            Ok(volume) => volume,
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(attachment) = volume.record.attachments.first() {
            return Err(Error::precondition(format!(
                "volume {}:{id} is attached to node {}; detach it before deleting it",
                self.backend, attachment.node
            )));
        }
        let content = self.content(&volume.record);
        if self.config.kind == Kind::Image {
            // A device that a killed node left bound would keep the blocks of a deleted file for ever.
            for device in self.host.loops_of(&content)? {
                self.host.detach_loop(&device, &content, deadline)?;
            }
        } else if self.is_in_use(&volume)? {
            return Err(Error::precondition(format!("volume {}:{id} is still mounted on this machine", self.backend)));
        }
        self.discard(volume, id)?;
        self.ledger.forget();
        Ok(())
    }

    /// Makes a volume larger; success when it is large enough already. Returns its size.
    pub fn expand_volume(&self, id: &str, range: SizeRange, deadline: Deadline) -> Result<Bytes> {
        let mut volume: Locked<VolumeRecord> = self.lock(Shelf::Volumes, id, native, deadline)?;
        let size = volume.record.size;
        if range.contains(size) {
            return Ok(size);
        }
        if range.required() < size {
            return Err(Error::out_of_range(format!("volume {}:{id} has {size} and cannot shrink to {range}", self.backend)));
        }
        let wanted = range.fit(&self.size_rule(size)?)?;
        self.promise(wanted.saturating_sub(size))?;
        if self.config.kind == Kind::Image {
            let path = self.content(&volume.record);
            let file = OpenOptions::new().write(true).open(&path).map_err(|e| io("open", &path, e))?;
            image::finish(&file, &path, wanted, volume.record.provisioning)?;
        }
        step::reached(Step::ImageGrown);
        volume.record.size = wanted;
        volume.save()?;
        Ok(wanted)
    }

    /// Changes whether the blocks of a volume are set aside.
    pub fn modify_volume(&self, id: &str, provisioning: Provisioning, deadline: Deadline) -> Result<()> {
        let mut volume: Locked<VolumeRecord> = self.lock(Shelf::Volumes, id, native, deadline)?;
        if volume.record.provisioning == provisioning {
            return Ok(());
        }
        if self.config.kind == Kind::Directory {
            return Err(Error::invalid("provisioning cannot be chosen for a directory"));
        }
        let path = self.content(&volume.record);
        let file = OpenOptions::new().write(true).open(&path).map_err(|e| io("open", &path, e))?;
        image::finish(&file, &path, volume.record.size, provisioning)?;
        step::reached(Step::PropertyChanged);
        volume.record.provisioning = provisioning;
        volume.save()?;
        self.ledger.forget();
        Ok(())
    }

    /// What is wrong with a volume, if something is; `NotFound` when it has been removed since its record was read.
    pub fn volume_trouble(&self, record: &VolumeRecord) -> Result<Option<String>> {
        let content = self.content(record);
        let trouble = match (self.config.kind, fs::metadata(&content)) {
            (_, Err(error)) => format!("{} cannot be read: {error}", content.display()),
            (Kind::Image, Ok(metadata)) if !metadata.is_file() => format!("{} is not a file", content.display()),
            (Kind::Image, Ok(metadata)) if metadata.len() < record.size.get() => {
                format!("{} has {} bytes instead of {}", content.display(), metadata.len(), record.size.get())
            }
            (Kind::Directory, Ok(metadata)) if !metadata.is_dir() => format!("{} is not a directory", content.display()),
            _ => return Ok(None),
        };
        // A volume goes with all that it has, so what is missing of one that is gone is no trouble.
        self.volume(&record.id).map(|_| Some(trouble))
    }
}

/// In what an existing volume is not what is wanted now.
fn difference(existing: &VolumeRecord, new: &NewVolume, kind: Kind) -> Option<String> {
    if existing.name != new.name {
        return Some(format!("under the name {:?} (the digests of both names are equal)", existing.name.as_str()));
    }
    if existing.origin != new.origin {
        return Some("it was made from another source".to_owned());
    }
    let size_matters = kind == Kind::Image || !new.range.is_open();
    if size_matters && !new.range.contains(existing.size) {
        return Some(format!("it has {} and {} was asked for", existing.size, new.range));
    }
    if existing.provisioning != new.provisioning || existing.context != new.context {
        return Some("its parameters differ".to_owned());
    }
    None
}

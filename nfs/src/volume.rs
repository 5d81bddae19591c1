//! Making and removing volumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hawser_host::beneath::Moved;
use hawser_host::step::Step;
use hawser_host::{Directory, removal};
use hawser_volume::record::now;
use hawser_volume::{Bytes, Error, Kind, NativeId, ObjectName, Origin, Result, SizeRange, SizeRule};

use crate::config::OnDelete;
use crate::layout::{self, ARCHIVED, HIDDEN, NEW, RETAINED, VOLUMES};
use crate::record::{FORMAT, Owner, SnapshotRecord, State, VolumeRecord};
use crate::tree::Tree;
use crate::versions::{self, Change};

/// What a new volume shall be.
#[derive(Debug, Clone)]
pub struct NewVolume {
    /// Its name; the same name with the same wishes is the same volume.
    pub name: ObjectName,
    /// Its size.
    pub range: SizeRange,
    /// Its place below the export, if it is to have one of its own.
    pub path: Option<PathBuf>,
    /// What it is made from.
    pub origin: Option<Origin>,
    /// What happens to its content when it is deleted.
    pub on_delete: OnDelete,
    /// Owner, group and mode of its directory.
    pub owner: Owner,
    /// What the node side needs to know.
    pub context: BTreeMap<String, String>,
}

/// The mode of a directory while it is made, before it has the one that was asked for.
const MAKING: u32 = 0o700;

/// Sizes that are taken for meant: a block, and more than any server has.
const SIZE_MIN: Bytes = Bytes::new(4096);
pub(crate) const SIZE_MAX: Bytes = Bytes::new(1 << 60);

/// The size of a volume for which none was asked.
const DEFAULT_SIZE: Bytes = Bytes::gib(1);

impl Tree {
    /// Makes a volume, or finds the one that was made by an earlier call with the same wishes. It may have to be filled.
    pub(crate) fn create_volume(&self, new: &NewVolume) -> Result<VolumeRecord> {
        let digest = new.name.digest();
        loop {
            match self.of_digest::<VolumeRecord>(&digest)? {
                Some(existing) if existing.state == State::Leaving => self.finish_removal(&existing)?,
                Some(existing) => {
                    return match difference(&existing, new) {
                        None => Ok(existing),
                        Some(difference) => Err(Error::already_exists(format!(
                            "volume {:?} exists already as {}, but {difference}; use another name",
                            new.name.as_str(),
                            self.label(&existing.id)?
                        ))),
                    };
                }
                None => {
                    if let Some(record) = self.try_create(new)? {
                        return Ok(record);
                    }
                }
            }
        }
    }

    fn try_create(&self, new: &NewVolume) -> Result<Option<VolumeRecord>> {
        let min = match &new.origin {
            None => Bytes::ZERO,
            Some(Origin::Volume(id)) => self.ready::<VolumeRecord>(id)?.size,
            Some(Origin::Snapshot(id)) => self.ready::<SnapshotRecord>(id)?.size,
        };
        let default = min.max(DEFAULT_SIZE);
        let rule = SizeRule { min: min.max(SIZE_MIN), max: SIZE_MAX, step: Bytes::new(1), default };
        let size = new.range.fit(&rule)?;
        let id = NativeId::fresh(&new.name);
        let must_be_filled = new.origin.is_some() || new.path.is_some();
        let mut record = VolumeRecord {
            format: FORMAT,
            id: id.to_string(),
            name: new.name.clone(),
            size,
            enforced: false,
            project: None,
            path: new.path.clone(),
            is_static: false,
            origin: new.origin.clone(),
            state: if must_be_filled { State::Filling } else { State::Ready },
            filler: None,
            on_delete: new.on_delete,
            owner: new.owner,
            created: now(),
            epoch: 0,
            attachments: Vec::new(),
            context: new.context.clone(),
        };
        let (draft, made) = self.draft()?;
        let data = layout::data(&id);
        made.make(&data, MAKING)?;
        let content = made.enter_existing(&data)?;
        content.give(new.owner.uid, new.owner.gid, new.owner.mode)?;
        content.sync()?;
        let below: PathBuf = [HIDDEN, NEW, &draft, &data].iter().collect();
        record.project = self.begin_limit(&record.id, &below, size)?;
        record.enforced = record.project.is_some();
        versions::first(&made, &record)?;
        self.reached(Step::VolumeRecorded)?;
        Ok(self.place(&draft, VOLUMES, &id.digest)?.then_some(record))
    }

    /// The record of an object that can be copied from.
    pub(crate) fn ready<R: crate::filling::Fillable>(&self, id: &str) -> Result<R> {
        let (_, record) = self.find::<R>(id)?;
        match record.progress().0 {
            State::Ready => Ok(record),
            State::Filling => {
                Err(Error::unavailable(format!("{} {}:{id} is not complete yet; repeat the call", R::NOUN, self.backend)))
            }
            State::Leaving => Err(Error::not_found(format!("{} {}:{id} is being deleted", R::NOUN, self.backend))),
        }
    }

    /// Removes a volume; success when it is gone already. `Precondition` while a node has it.
    pub(crate) fn delete_volume(&self, id: &str) -> Result<()> {
        let leave = self.change(id, |mut record: VolumeRecord| {
            if let Some(attachment) = record.attachments.first() {
                return Err(Error::precondition(format!(
                    "volume {} is attached to node {}; detach it before deleting it",
                    self.label(id)?,
                    attachment.node
                )));
            }
            if record.state == State::Leaving {
                return Ok(Change::Keep(record));
            }
            record.state = State::Leaving;
            Ok(Change::Write(record.clone(), record))
        });
        match leave {
            Ok(record) => {
                self.reached(Step::LeavingRecorded)?;
                self.finish_removal(&record)
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does what is left to do of a removal, as the record says.
    pub(crate) fn finish_removal(&self, record: &VolumeRecord) -> Result<()> {
        let id = layout::volume(&record.id);
        let Some(object) = self.root.volumes.enter(&id.digest)? else { return Ok(()) };
        let data = layout::data(&id);
        if let Some(path) = &record.path {
            if record.on_delete != OnDelete::Retain && !record.is_static {
                self.take_back(&object, record, path, &data)?;
            }
            self.reached(Step::ContentMoved)?;
            self.release(path, &record.id)?;
        }
        if record.on_delete != OnDelete::Delete {
            self.keep_number(record)?;
        }
        let shelf = match record.on_delete {
            OnDelete::Delete => None,
            OnDelete::Retain => Some(RETAINED),
            OnDelete::Archive => Some(ARCHIVED),
        };
        if let Some(shelf) = shelf
            && object.entry(&data)?.is_some()
        {
            let kept = self.root.base.make_all(shelf.as_ref(), 0o755)?;
            let name = layout::kept(&record.name, &id);
            if object.rename(&data, &kept, &name)? == Moved::Taken {
                return Err(Error::precondition(format!("{} is in the way; move it", kept.shown().join(name).display())));
            }
            kept.sync()?;
        }
        self.discard::<VolumeRecord>(&record.id)
    }

    /// Moves the content of a volume from its place back into its object, if it is what is there.
    fn take_back(&self, object: &Directory, record: &VolumeRecord, path: &Path, data: &str) -> Result<()> {
        let above = path.parent().unwrap_or(Path::new(""));
        let parent =
            if above.as_os_str().is_empty() { Some(self.root.base.try_clone()?) } else { self.root.base.enter(above)? };
        let (Some(parent), Some(leaf)) = (parent, path.file_name()) else { return Ok(()) };
        let mark = mark(object, &record.id)?;
        let is_ours = |found: Option<hawser_host::beneath::Entry>| found.is_some_and(|entry| Some(entry.inode) == mark);
        if !is_ours(parent.entry(leaf)?) {
            if parent.entry(leaf)?.is_some() && object.entry(data)?.is_none() {
                tracing::warn!(path = %path.display(), volume = record.id, "what is in the place of the volume is not its directory, and is left");
            }
            return Ok(());
        }
        if parent.rename(leaf, object, data)? == Moved::Done && !is_ours(object.entry(data)?) {
            // Another controller was faster, and this is somebody else's by now.
            object.rename(data, &parent, leaf)?;
        }
        parent.sync()?;
        object.sync()
    }

    /// Puts the content of a volume in its place. The same again is success.
    pub(crate) fn put_in_place(&self, object: &Directory, record: &VolumeRecord, path: &Path) -> Result<()> {
        self.claim(path, &record.id)?;
        self.reached(Step::PathClaimed)?;
        let data = layout::data(&layout::volume(&record.id));
        let Some(content) = object.entry(&data)? else { return Ok(()) };
        let above = path.parent().unwrap_or(Path::new(""));
        let parent =
            if above.as_os_str().is_empty() { self.root.base.try_clone()? } else { self.root.base.make_all(above, 0o755)? };
        let leaf = path.file_name().unwrap_or_default();
        if parent.entry(leaf)?.is_some() {
            return Err(Error::already_exists(format!(
                "there is a directory {} already, which is not a volume's; choose another sub-dir",
                path.display()
            )));
        }
        object.create(format!("{MARK}{}", content.inode), b"")?;
        object.sync()?;
        match object.rename(&data, &parent, leaf)? {
            Moved::Done | Moved::Gone => {}
            Moved::Taken => {
                return Err(Error::already_exists(format!(
                    "a directory {} has appeared; choose another sub-dir",
                    path.display()
                )));
            }
        }
        parent.sync()?;
        self.reached(Step::ContentMoved)
    }

    /// Takes the content of a volume that was removed meanwhile from its place, and gives up the claim. What is there is the volume's when
    /// it is the directory numbered `content`, and that number has not become another volume's.
    pub(crate) fn abandon(&self, record: &VolumeRecord, path: &Path, content: Option<u64>) -> Result<()> {
        let above = path.parent().unwrap_or(Path::new(""));
        let parent =
            if above.as_os_str().is_empty() { Some(self.root.base.try_clone()?) } else { self.root.base.enter(above)? };
        if let (Some(parent), Some(leaf), false) = (parent, path.file_name(), record.is_static)
            && content.is_some()
            && parent.entry(leaf)?.map(|entry| entry.inode) == content
            && !self.is_of_another(record, path, content)?
        {
            // Nobody looks for it any more; drafts are swept.
            let (_, draft) = self.draft()?;
            parent.rename(leaf, &draft, layout::data(&layout::volume(&record.id)))?;
            parent.sync()?;
        }
        self.release(path, &record.id)
    }

    /// Whether what is at `path`, the directory numbered `content`, is the content of another volume than `record`.
    fn is_of_another(&self, record: &VolumeRecord, path: &Path, content: Option<u64>) -> Result<bool> {
        let Some(owner) = self.owner_of(path)?.filter(|owner| *owner != record.id) else { return Ok(false) };
        match self.find::<VolumeRecord>(&owner) {
            Ok((object, _)) => Ok(mark(&object, &owner)? == content),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what is in the trash under this name.
    pub(crate) fn remove_for_good(&self, name: &str, workers: usize) -> Result<u64> {
        removal::remove(&self.root.trash, name, workers, &self.pulse)
    }
}

/// The beginning of the name of a file that says which directory a volume's content is, by its number.
const MARK: &str = "content-";

/// The number of the directory that is the content of a volume with a place of its own.
pub(crate) fn mark(object: &Directory, id: &str) -> Result<Option<u64>> {
    let names = object.names()?;
    let marks: Vec<u64> = names.iter().filter_map(|name| name.to_str()?.strip_prefix(MARK)?.parse().ok()).collect();
    match marks.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        _ => Err(Error::internal(format!("volume {id} has several marks of its content in {}", object.shown().display()))),
    }
}

/// In what an existing volume is not what is wanted now.
fn difference(existing: &VolumeRecord, new: &NewVolume) -> Option<String> {
    if existing.name != new.name {
        return Some(format!("under the name {:?} (the digests of both names are equal)", existing.name.as_str()));
    }
    if existing.origin != new.origin {
        return Some("it was made from another source".to_owned());
    }
    if !new.range.is_open() && !new.range.contains(existing.size) {
        return Some(format!("it has {} and {} was asked for", existing.size, new.range));
    }
    let is_same = existing.path == new.path
        && existing.on_delete == new.on_delete
        && existing.owner == new.owner
        && existing.context == new.context;
    (!is_same).then(|| "its parameters differ".to_owned())
}

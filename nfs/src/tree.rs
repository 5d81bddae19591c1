//! The tree below an export: opening it, and reading, adding and taking away its objects.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hawser_host::Directory;
use hawser_host::beneath::Moved;
use hawser_host::remote::Pulse;
use hawser_host::step::{self, Step};
use hawser_volume::{BackendName, Bytes, Error, NativeId, Result, VolumeId, native};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::NfsConfig;
use crate::layout::{self, CLAIMS, CLOCK, EXPORT, HIDDEN, NEW, NODES, SNAPSHOTS, TRASH, VOLUMES};
use crate::record::{FORMAT, PathClaim, SnapshotRecord, State, VolumeRecord};
use crate::versions::{self, Change, Seen};

/// What `export.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportRecord {
    format: u32,
    id: Uuid,
}

/// The kinds of objects that have a directory each.
pub(crate) trait Object: Serialize + DeserializeOwned {
    const SHELF: &'static str;
    const NOUN: &'static str;
    fn id(&self) -> &str;
    /// Where the object with this id is kept; `NotFound` for an id that none can have.
    fn native(id: &str) -> Result<NativeId>;
    /// Whether it is being removed.
    fn is_leaving(&self) -> bool;
}

impl Object for VolumeRecord {
    const SHELF: &'static str = VOLUMES;
    const NOUN: &'static str = "volume";
    fn id(&self) -> &str {
        &self.id
    }

    fn native(id: &str) -> Result<NativeId> {
        Ok(layout::volume(id))
    }

    fn is_leaving(&self) -> bool {
        self.state == State::Leaving
    }
}

impl Object for SnapshotRecord {
    const SHELF: &'static str = SNAPSHOTS;
    const NOUN: &'static str = "snapshot";
    fn id(&self) -> &str {
        &self.id
    }

    fn native(id: &str) -> Result<NativeId> {
        NativeId::of(Self::NOUN, id)
    }

    fn is_leaving(&self) -> bool {
        self.state == State::Leaving
    }
}

/// An open tree. What it does blocks, and is done behind the gate.
pub(crate) struct Tree {
    pub(crate) backend: BackendName,
    pub(crate) config: Arc<NfsConfig>,
    /// The process that works here.
    pub(crate) process: Uuid,
    pub(crate) pulse: Pulse,
    pub(crate) root: Arc<Folders>,
    #[cfg(test)]
    pub(crate) kill: Arc<tests::Kill>,
}

/// The directories that everything is found from.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) base: Directory,
    pub(crate) own: Directory,
    pub(crate) volumes: Directory,
    pub(crate) snapshots: Directory,
    pub(crate) claims: Directory,
    pub(crate) nodes: Directory,
    pub(crate) new: Directory,
    pub(crate) trash: Directory,
    pub(crate) projects: Directory,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Folders {
    /// Whether `own` says which tree it is; an error when it is one that this version does not understand.
    pub(crate) fn is_known(own: &Directory) -> Result<bool> {
        let Some(text) = own.read(EXPORT, Bytes::mib(1))? else { return Ok(false) };
        let record: ExportRecord = serde_json::from_slice(&text).map_err(|error| {
            Error::precondition(format!("{} is not of a version that this one understands", own.shown().join(EXPORT).display()))
                .caused_by(error)
        })?;
        if record.format > FORMAT {
            return Err(Error::precondition(format!(
                "{} was made by a newer version (format {}, this is {FORMAT})",
                own.shown().display(),
                record.format
            )));
        }
        Ok(true)
    }

    /// Whether the server knows all of them still.
    pub(crate) fn are_known(&self) -> bool {
        let Self { base, own, volumes, snapshots, claims, nodes, new, trash, projects } = self;
        [base, own, volumes, snapshots, claims, nodes, new, trash, projects].into_iter().all(|folder| folder.itself().is_ok())
    }

    /// Opens the tree below `base`, making it when there is none.
    pub(crate) fn open(base: &Directory) -> Result<Self> {
        let base = base.try_clone()?;
        let own = match base.enter(HIDDEN)? {
            Some(own) => own,
            None => {
                base.make(HIDDEN, 0o700)?;
                base.enter_existing(HIDDEN)?
            }
        };
        let open = |name: &str| match own.enter(name)? {
            Some(folder) => Ok(folder),
            None => {
                own.make(name, 0o700)?;
                own.enter_existing(name)
            }
        };
        let [volumes, snapshots, claims, nodes, new, trash, projects] = layout::ALL.map(open);
        if !Self::is_known(&own)? {
            let record = ExportRecord { format: FORMAT, id: Uuid::new_v4() };
            let text =
                serde_json::to_vec_pretty(&record).map_err(|e| Error::internal("encode the record of an export").caused_by(e))?;
            let aside = format!(".{EXPORT}.{}", record.id);
            own.create(&aside, &text)?;
            // Somebody else may have been faster; then theirs holds.
            own.link(&aside, &own, EXPORT)?;
            own.remove_file(&aside)?;
        }
        let folders = Self {
            volumes: volumes?,
            snapshots: snapshots?,
            claims: claims?,
            nodes: nodes?,
            new: new?,
            trash: trash?,
            projects: projects?,
            base,
            own,
        };
        folders.own.sync()?;
        folders.base.sync()?;
        Ok(folders)
    }
}

impl Tree {
    /// Says that a call has come to `step`.
    pub(crate) fn reached(&self, step: Step) -> Result<()> {
        self.pulse.beat();
        step::reached(step);
        #[cfg(test)]
        self.kill.at(step)?;
        Ok(())
    }

    pub(crate) fn label(&self, id: &str) -> Result<VolumeId> {
        VolumeId::new(self.backend.clone(), id)
    }

    fn shelf(&self, name: &str) -> &Directory {
        match name {
            VOLUMES => &self.root.volumes,
            SNAPSHOTS => &self.root.snapshots,
            CLAIMS => &self.root.claims,
            NODES => &self.root.nodes,
            NEW => &self.root.new,
            TRASH => &self.root.trash,
            _ => &self.root.own,
        }
    }

    /// The server's clock.
    pub(crate) fn server_time(&self) -> Result<SystemTime> {
        self.root.own.create(CLOCK, b"")?;
        self.root.own.touch(CLOCK)
    }

    /// What is wrong with a volume, if something is.
    pub(crate) fn trouble(&self, record: &VolumeRecord) -> Result<Option<String>> {
        self.pulse.beat();
        let path = content(record)?;
        let found = self.root.base.enter(&path)?;
        Ok(found.is_none().then(|| format!("its directory {} is missing", path.display())))
    }

    /// An object by its digest, with its record.
    fn enter<R: Object>(&self, digest: &str) -> Result<Option<(Directory, Seen<R>)>> {
        let Some(object) = self.shelf(R::SHELF).enter(digest)? else { return Ok(None) };
        Ok(versions::latest::<R>(&object)?.map(|seen| (object, seen)))
    }

    /// The record of an object by its digest.
    pub(crate) fn of_digest<R: Object>(&self, digest: &str) -> Result<Option<R>> {
        Ok(self.enter(digest)?.map(|(_, seen)| seen.record))
    }

    /// An object by its native id; `NotFound` when there is none, or another one of its name.
    pub(crate) fn find<R: Object>(&self, id: &str) -> Result<(Directory, R)> {
        let native = R::native(id)?;
        match self.enter::<R>(&native.digest)? {
            Some((object, Seen { record, .. })) if record.id() == id => Ok((object, record)),
            _ => Err(Error::not_found(format!("{} {}:{id} does not exist", R::NOUN, self.backend))),
        }
    }

    /// Changes the record of an object; `NotFound` when there is none, or another one of its name.
    pub(crate) fn change<R: Object, T>(&self, id: &str, mut decide: impl FnMut(R) -> Result<Change<R, T>>) -> Result<T> {
        let gone = || Error::not_found(format!("{} {}:{id} does not exist", R::NOUN, self.backend));
        let Some((object, seen)) = self.enter::<R>(&R::native(id)?.digest)? else { return Err(gone()) };
        let decide = |record: R| if record.id() == id { decide(record) } else { Err(gone()) };
        versions::change_seen(&object, seen, decide)?.ok_or_else(gone)
    }

    /// A directory for an object in the making: nobody else sees it, and it is swept if it is never placed.
    pub(crate) fn draft(&self) -> Result<(String, Directory)> {
        let name = Uuid::new_v4().to_string();
        self.root.new.make(&name, 0o700)?;
        let draft = self.root.new.enter_existing(&name)?;
        self.reached(Step::DraftMade)?;
        Ok((name, draft))
    }

    /// Gives a draft, which has its first record, its name; false when that is taken.
    pub(crate) fn place(&self, draft: &str, shelf: &str, name: &str) -> Result<bool> {
        let made = self.root.new.enter_existing(draft)?;
        made.sync()?;
        let placed = self.root.new.rename(draft, self.shelf(shelf), name)?;
        match placed {
            Moved::Done => {
                self.shelf(shelf).sync()?;
                self.root.new.sync()?;
            }
            Moved::Taken => {
                hawser_host::removal::remove(&self.root.new, draft, 1, &self.pulse)?;
            }
            Moved::Gone => return Err(Error::unavailable(format!("the draft of {shelf}/{name} has vanished; repeat the call"))),
        }
        self.reached(Step::ObjectPlaced)?;
        Ok(placed == Moved::Done)
    }

    /// Puts an object into the trash; success when it is not in its place any more.
    pub(crate) fn discard<R: Object>(&self, id: &str) -> Result<()> {
        let native = R::native(id)?;
        let shelf = self.shelf(R::SHELF);
        match self.of_digest::<R>(&native.digest)? {
            Some(record) if record.id() == id => {}
            _ => return Ok(()),
        }
        let name = layout::trashed(id, native.clone());
        if shelf.rename(&native.digest, &self.root.trash, &name)? != Moved::Done {
            return Ok(());
        }
        // Between the look and the rename another controller may have removed it and made a new one in its place.
        let trashed = self.root.trash.enter_existing(&name)?;
        if let Some(Seen { record, .. }) = versions::latest::<R>(&trashed)?
            && (record.id() != id || !record.is_leaving())
        {
            self.root.trash.rename(&name, shelf, &native.digest)?;
        }
        shelf.sync()?;
        self.root.trash.sync()?;
        self.reached(Step::ObjectTrashed)
    }

    /// One page of records in the order of their digests, those after `after` only.
    pub(crate) fn page<R: Object>(
        &self,
        after: Option<&str>,
        max: usize,
        is_listed: impl Fn(&R) -> bool,
    ) -> Result<(Vec<R>, Option<String>)> {
        let names = self.shelf(R::SHELF).names()?;
        let mut digests: Vec<String> =
            names.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| native::is_digest(name)).collect();
        digests.sort_unstable();
        let begin = after.map_or(0, |after| digests.partition_point(|digest| digest.as_str() <= after));
        let (mut items, mut last) = (Vec::new(), None);
        for digest in &digests[begin..] {
            self.pulse.beat();
            if items.len() == max {
                return Ok((items, last));
            }
            if let Some(record) = self.of_digest::<R>(digest)?
                && is_listed(&record)
            {
                items.push(record);
                last = Some(digest.clone());
            }
        }
        Ok((items, None))
    }

    /// Makes `path` the place of the volume `id`, and of nobody else. `AlreadyExists` when it is another volume's, or above or below
    /// one's.
    pub(crate) fn claim(&self, path: &Path, id: &str) -> Result<()> {
        let taken =
            |what: &str| Err(Error::already_exists(format!("the directory {} {what}; choose another sub-dir", path.display())));
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let entry = PathClaim::Above(above.to_owned());
            if let PathClaim::Volume(_, owner) = self.claim_one(above, &entry)? {
                return taken(&format!("is inside of volume {}:{owner}", self.backend));
            }
        }
        match self.claim_one(path, &PathClaim::Volume(path.to_owned(), id.to_owned()))? {
            PathClaim::Volume(_, owner) if owner == id => Ok(()),
            PathClaim::Volume(_, owner) => taken(&format!("is that of volume {}:{owner}", self.backend)),
            PathClaim::Above(_) | PathClaim::Free(_) => taken("has other volumes in it"),
        }
    }

    /// Writes a claim if there is none, or a free one; returns the one that holds.
    fn claim_one(&self, path: &Path, wanted: &PathClaim) -> Result<PathClaim> {
        let name = layout::claim(path);
        loop {
            if let Some(object) = self.root.claims.enter(&name)? {
                let held = versions::change(&object, |claim: PathClaim| {
                    Ok(match claim {
                        PathClaim::Free(_) => Change::Write(wanted.clone(), wanted.clone()),
                        held => Change::Keep(held),
                    })
                })?;
                if let Some(held) = held {
                    return Ok(held);
                }
            }
            let (draft, made) = self.draft()?;
            versions::first(&made, wanted)?;
            if self.place(&draft, CLAIMS, &name)? {
                return Ok(wanted.clone());
            }
        }
    }

    /// Gives up the claim of the volume `id`.
    pub(crate) fn release(&self, path: &Path, id: &str) -> Result<()> {
        if let Some(object) = self.root.claims.enter(layout::claim(path))? {
            versions::change(&object, |claim: PathClaim| {
                Ok(match claim {
                    PathClaim::Volume(path, owner) if owner == id => Change::Write(PathClaim::Free(path), ()),
                    _ => Change::Keep(()),
                })
            })?;
        }
        self.reached(Step::ClaimReleased)
    }

    /// The volume whose place `path` is.
    pub(crate) fn owner_of(&self, path: &Path) -> Result<Option<String>> {
        let Some(object) = self.root.claims.enter(layout::claim(path))? else { return Ok(None) };
        Ok(match versions::latest(&object)? {
            Some(Seen { record: PathClaim::Volume(_, owner), .. }) => Some(owner),
            _ => None,
        })
    }
}

/// The content of a volume, relative to the export.
pub(crate) fn content(record: &VolumeRecord) -> Result<PathBuf> {
    match &record.path {
        Some(path) => Ok(path.clone()),
        None => Ok(layout::content(&layout::volume(&record.id))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What happens at a step, at which, and how often that is passed before.
    type Meanwhile = (Step, usize, Box<dyn FnOnce() + Send>);

    /// Ends calls at a step, as a kill does, or has something happen there.
    #[derive(Default)]
    pub(crate) struct Kill(pub(crate) Mutex<Option<Step>>, pub(crate) Mutex<Option<Meanwhile>>);

    impl Kill {
        pub(crate) fn at(&self, step: Step) -> Result<()> {
            let meanwhile = self.1.lock().unwrap().take_if(|(at, passes, _)| {
                let now = *at == step && *passes == 0;
                *passes -= usize::from(*at == step && !now);
                now
            });
            if let Some((_, _, happen)) = meanwhile {
                happen();
            }
            let mut wanted = self.0.lock().unwrap();
            if *wanted == Some(step) {
                *wanted = None;
                return Err(Error::internal(format!("killed at {}", step.name())));
            }
            Ok(())
        }
    }
}

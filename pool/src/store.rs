//! Opening a pool, and reading, locking, adding and removing its objects.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hawser_host::lock::FileLock;
use hawser_host::step::{self, Step};
use hawser_host::{Host, MountEntry, copy, durable, space};
use hawser_volume::native::is_digest;
use hawser_volume::{BackendName, Bytes, Deadline, Error, NativeId, ObjectName, Result, Segments};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::capacity::{Ledger, STEP};
use crate::config::LocalConfig;
use crate::layout::{LOCK, Layout, ObjectPath, RECORD, Shelf, is_of_name};
use crate::record::{FORMAT, VolumeRecord};

/// What a volume of the pool is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A sparse file, attached as a loop device: any filesystem or a raw device, with a size that holds.
    #[default]
    Image,
    /// A directory, mounted as it is: no size limit, no snapshots.
    Directory,
}

/// A page of a listing, and the object to go on after.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The objects, by digest.
    pub items: Vec<T>,
    /// Where the next page begins; nothing when this was the last.
    pub next: Option<String>,
}

/// What `pool.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolRecord {
    pub(crate) format: u32,
    id: Uuid,
    pub(crate) kind: Kind,
}

/// An open pool. Its methods block.
#[derive(Debug)]
pub struct Pool {
    pub(crate) backend: BackendName,
    pub(crate) config: LocalConfig,
    pub(crate) layout: Layout,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) ledger: Ledger,
    pub(crate) max_image: Bytes,
    id: Uuid,
}

/// An object whose lock is held.
#[derive(Debug)]
pub(crate) struct Locked<R> {
    pub(crate) record: R,
    pub(crate) folder: PathBuf,
    _lock: FileLock,
}

/// Nothing to do: the lock goes with its file. But a type with a `drop` is moved as a whole; without one, a closure that uses
/// only the record takes only the record with it, and the lock is released while the closure still runs.
impl<R> Drop for Locked<R> {
    fn drop(&mut self) {}
}

impl<R> Locked<R> {
    pub(crate) fn new(record: R, folder: PathBuf, lock: FileLock) -> Self {
        Self { record, folder, _lock: lock }
    }
}

impl<R: Serialize> Locked<R> {
    /// Writes the record as it is now.
    pub(crate) fn save(&self) -> Result<()> {
        write_record(&self.folder, &self.record)
    }
}

/// An object in the making: visible to nobody, removed unless it is placed.
pub(crate) struct Draft {
    pub(crate) folder: PathBuf,
    placed: bool,
    _making: FileLock,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = durable::remove_tree(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), error = error.chain(), "could not remove an unfinished object; it will be swept");
        }
    }
}

pub(crate) fn io(what: impl std::fmt::Display, path: &Path, error: std::io::Error) -> Error {
    let text = format!("{what} {}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::exhausted(format!("{text}: no space left")).caused_by(error),
        ErrorKind::FileTooLarge => {
            Error::out_of_range(format!("{text}: the filesystem cannot hold a file of that size")).caused_by(error)
        }
        ErrorKind::NotFound => Error::not_found(text).caused_by(error),
        _ => Error::internal(text).caused_by(error),
    }
}

pub(crate) fn write_record(folder: &Path, record: &impl Serialize) -> Result<()> {
    let path = folder.join(RECORD);
    let text =
        serde_json::to_vec_pretty(record).map_err(|e| Error::internal(format!("encode {}", path.display())).caused_by(e))?;
    durable::write(&path, &text)
}

/// Reads the record in `folder`; nothing when there is none.
pub(crate) fn read_record<R: DeserializeOwned>(folder: &Path) -> Result<Option<R>> {
    let path = folder.join(RECORD);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", &path, error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        Error::internal(format!("{} is not a record that this version understands; it is left as it is", path.display()))
            .caused_by(error)
    })
}

impl Pool {
    /// Opens the pool at `config.root`, making it when the directory is missing or empty. A directory with other things in it
    /// is refused: Hawser does not move into somebody's home.
    pub fn open(backend: BackendName, config: LocalConfig, host: Arc<dyn Host>) -> Result<Self> {
        let root = &config.root;
        if !root.is_absolute() {
            return Err(Error::invalid(format!("root {} must be an absolute path", root.display())));
        }
        fs::create_dir_all(root).map_err(|e| io("make", root, e))?;
        let root = fs::canonicalize(root).map_err(|e| io("resolve", root, e))?;
        let layout = Layout::new(root);
        if !layout.pool_record().exists() {
            require_unused(layout.root())?;
        }
        let lock_path = layout.root().join(LOCK);
        let _opening = FileLock::acquire(&lock_path, Deadline::after(std::time::Duration::from_secs(30)))?;
        let record = match fs::read(layout.pool_record()) {
            Ok(text) => serde_json::from_slice::<PoolRecord>(&text).map_err(|error| {
                Error::internal(format!("{} is not a pool record", layout.pool_record().display())).caused_by(error)
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => create_pool(&layout, config.kind)?,
            Err(error) => return Err(io("read", &layout.pool_record(), error)),
        };
        if record.format > FORMAT {
            return Err(Error::precondition(format!(
                "{} was made by a newer version (format {}, this is {FORMAT})",
                layout.root().display(),
                record.format
            )));
        }
        if record.kind != config.kind {
            return Err(Error::precondition(format!(
                "{} holds volumes of kind {:?}; configure that kind or another root",
                layout.root().display(),
                record.kind
            )));
        }
        let max_image = space::largest_file(layout.root(), STEP)?;
        Ok(Self { backend, config, layout, host, ledger: Ledger::default(), max_image, id: record.id })
    }

    /// The id of the pool, the same for everybody who shares the root.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Where the pool is: whoever shares its root is in the same place. `prefix` is that of the plugin's topology keys.
    pub fn place(&self, prefix: &str) -> Segments {
        Segments::from([(format!("{prefix}/{}", self.backend), self.id.to_string())])
    }

    /// What volumes are made of.
    pub fn kind(&self) -> Kind {
        self.config.kind
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    /// The volume whose image or data directory is at `path` according to the kernel.
    pub fn volume_at(&self, path: &Path) -> Result<Option<String>> {
        match self.layout.volume_of(path) {
            None => Ok(None),
            Some(ObjectPath::Trashed(id)) => Ok(Some(id.to_string())),
            Some(ObjectPath::Current(digest)) => {
                let record: Option<VolumeRecord> = read_record(&self.layout.object(Shelf::Volumes, &digest))?;
                Ok(record.map(|record| record.id))
            }
        }
    }

    /// Whether the image or data directory at `path` is the volume's: what [`Pool::volume_at`] says, without reading the record of
    /// another one.
    pub fn is_at(&self, path: &Path, id: &str) -> Result<bool> {
        match self.layout.volume_of(path) {
            Some(ObjectPath::Current(digest)) if !is_of_name(id, &digest) => Ok(false),
            _ => Ok(self.volume_at(path)?.as_deref() == Some(id)),
        }
    }

    /// Whether `mount` shows the volume's directory: what [`Pool::volume_of_mount`] says, without looking where another one is.
    pub fn is_mounted_by(&self, mount: &MountEntry, id: &str) -> Result<bool> {
        let folder = mount.root.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        if !folder.is_some_and(|digest| is_of_name(id, digest)) {
            return Ok(false);
        }
        Ok(self.volume_of_mount(mount)?.as_deref() == Some(id))
    }

    /// The volume whose directory `mount` shows, in a pool of directories.
    pub fn volume_of_mount(&self, mount: &MountEntry) -> Result<Option<String>> {
        let Some(name) = mount.root.file_name().filter(|name| *name == crate::layout::DATA) else { return Ok(None) };
        let Some(digest) = mount.root.parent().and_then(Path::file_name).and_then(|digest| digest.to_str()) else {
            return Ok(None);
        };
        // The root of a mount is a path within its filesystem; it is ours if our path for that volume leads to the same place.
        let directory = self.layout.object(Shelf::Volumes, digest).join(name);
        match self.host.mounts()?.locate(&directory) {
            Some((device, root)) if device == mount.device && root == mount.root => self.volume_at(&directory),
            _ => Ok(None),
        }
    }

    /// Whether nothing was ever written to the image at `path`: a sparse file knows which of its blocks have data.
    pub fn is_blank(&self, path: &Path) -> Result<bool> {
        copy::is_hole(&File::open(path).map_err(|e| io("open", path, e))?)
    }

    /// Reads an object without locking it.
    pub(crate) fn read<R: DeserializeOwned>(&self, shelf: Shelf, id: &str, native: impl Fn(&R) -> &str) -> Result<R> {
        let parsed = NativeId::of(shelf.noun(), id)?;
        read_record(&self.layout.object(shelf, &parsed.digest))?
            .filter(|record| native(record) == id)
            .ok_or_else(|| self.missing(shelf, id))
    }

    /// Locks an object and reads it. Another process may have removed the object, and even made it again under another id, while
    /// this one waited; [`FileLock`] sees to it that the lock is that of what stands there now.
    pub(crate) fn lock<R: DeserializeOwned>(
        &self,
        shelf: Shelf,
        id: &str,
        native: impl Fn(&R) -> &str,
        deadline: Deadline,
    ) -> Result<Locked<R>> {
        let parsed = NativeId::of(shelf.noun(), id)?;
        let folder = self.layout.object(shelf, &parsed.digest);
        let lock = FileLock::acquire(&folder.join(LOCK), deadline)
            .map_err(|error| if error.kind() == hawser_volume::Kind::NotFound { self.missing(shelf, id) } else { error })?;
        let record = read_record(&folder)?.filter(|record| native(record) == id).ok_or_else(|| self.missing(shelf, id))?;
        Ok(Locked { record, folder, _lock: lock })
    }

    pub(crate) fn missing(&self, shelf: Shelf, id: &str) -> Error {
        Error::not_found(format!("{} {}:{id} does not exist", shelf.noun(), self.backend))
    }

    /// The object that has `name` now.
    pub(crate) fn named<R: DeserializeOwned>(&self, shelf: Shelf, name: &ObjectName) -> Result<Option<R>> {
        read_record(&self.layout.object(shelf, &name.digest()))
    }

    /// Begins an object. While a draft exists, nobody sweeps `new/`.
    pub(crate) fn draft(&self) -> Result<Draft> {
        let new = self.layout.new_objects();
        let making = FileLock::acquire_shared(&new.join(LOCK), Deadline::after(std::time::Duration::from_secs(30)))?;
        let folder = new.join(Uuid::new_v4().simple().to_string());
        durable::create_dir(&folder)?;
        let draft = Draft { folder, placed: false, _making: making };
        step::reached(Step::DraftMade);
        let lock = draft.folder.join(LOCK);
        File::create(&lock).map_err(|e| io("make", &lock, e))?;
        Ok(draft)
    }

    /// Gives a finished draft its name. Returns whether it got it: somebody else may have been faster.
    pub(crate) fn put(&self, mut draft: Draft, shelf: Shelf, digest: &str) -> Result<bool> {
        durable::sync_dir(&draft.folder)?;
        draft.placed = durable::rename_exclusive(&draft.folder, &self.layout.object(shelf, digest))?;
        step::reached(Step::ObjectPlaced);
        Ok(draft.placed)
    }

    /// Takes an object away: by one rename for everybody else, then for good.
    pub(crate) fn discard<R>(&self, object: Locked<R>, id: &str) -> Result<()> {
        let trash = self.layout.trash().join(id);
        if !durable::rename_exclusive(&object.folder, &trash)? {
            return Err(Error::internal(format!("{} is in the way; remove it", trash.display())));
        }
        step::reached(Step::ObjectTrashed);
        durable::remove_tree(&trash)
    }

    /// One page of records in the order of their digests, those after `after` only.
    pub(crate) fn page<R: DeserializeOwned>(&self, shelf: Shelf, after: Option<&str>, max: usize) -> Result<Page<R>> {
        let digests = self.digests(shelf)?;
        let begin = after.map_or(0, |after| digests.partition_point(|digest| digest.as_str() <= after));
        let mut items = Vec::new();
        let mut last = None;
        for digest in &digests[begin..] {
            if items.len() == max {
                return Ok(Page { items, next: last });
            }
            // An object that vanished since the directory was read is simply not listed.
            if let Some(record) = read_record(&self.layout.object(shelf, digest))? {
                items.push(record);
                last = Some(digest.clone());
            }
        }
        Ok(Page { items, next: None })
    }

    fn digests(&self, shelf: Shelf) -> Result<Vec<String>> {
        let folder = self.layout.shelf(shelf);
        let mut digests = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|e| io("list", &folder, e))? {
            let entry = entry.map_err(|e| io("list", &folder, e))?;
            // Whatever else somebody has put there is none of ours.
            if let Ok(name) = entry.file_name().into_string()
                && is_digest(&name)
            {
                digests.push(name);
            }
        }
        digests.sort_unstable();
        Ok(digests)
    }
}

/// Refuses a directory with things in it that are not of a pool which is just being made.
pub(crate) fn require_unused(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).map_err(|e| io("list", root, e))? {
        let name = entry.map_err(|e| io("list", root, e))?.file_name();
        let ours = ["new", "trash", "nodes", LOCK, "pool.json", "lost+found"].iter().any(|known| name == *known)
            || Shelf::ALL.iter().any(|shelf| name == shelf.folder())
            || durable::is_unfinished(&name);
        if !ours {
            return Err(Error::precondition(format!(
                "{} is not empty and not a pool (it has {}); give an empty or new directory as root",
                root.display(),
                name.display()
            )));
        }
    }
    Ok(())
}

fn create_pool(layout: &Layout, kind: Kind) -> Result<PoolRecord> {
    for folder in
        Shelf::ALL.iter().map(|shelf| layout.shelf(*shelf)).chain([layout.nodes(), layout.new_objects(), layout.trash()])
    {
        fs::create_dir_all(&folder).map_err(|e| io("make", &folder, e))?;
    }
    let record = PoolRecord { format: FORMAT, id: Uuid::new_v4(), kind };
    let text = serde_json::to_vec_pretty(&record).map_err(|e| Error::internal("encode the pool record").caused_by(e))?;
    durable::write(&layout.pool_record(), &text)?;
    Ok(record)
}

//! An export as a backend has it: every operation, behind the gate.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hawser_host::{Host, MountEntry, NfsMount, Usage, remote};
use hawser_volume::{
    Access, Attachment, BackendName, Bytes, Deadline, Error, Kind, NativeId, NodeId, ObjectName, Result, SizeRange,
};
use uuid::Uuid;

use crate::attachment::Claim;
use crate::capacity::Capacity;
use crate::config::NfsConfig;
use crate::connection::{Connection, Mounted};
use crate::filling::Fillable;
use crate::gate::{Gate, is_silence};
use crate::layout::{self, Shown};
use crate::options;
use crate::record::{SnapshotRecord, State, VolumeRecord};
use crate::tree::{Folders, Tree};
use crate::versions::Change;
use crate::volume::NewVolume;

/// How long work in the background may take.
const BACKGROUND: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often the export is swept, beside after each deletion.
const SWEEPING: Duration = Duration::from_secs(600);

/// How long CreateSnapshot waits for a copy before it says that it is not ready.
const SNAPSHOT: Duration = Duration::from_secs(5);

/// The pause before a look at what another controller is at work on.
const ELSEWHERE: Duration = Duration::from_millis(100);

/// A page of a listing, and the object to go on after.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Where the next page begins; nothing when this was the last.
    pub next: Option<String>,
}

/// A mount of the export, and what was opened in it.
type Opened = (Arc<Mounted>, Arc<Folders>);

/// An export. Its methods block, but not for longer than the gate is patient with a server that is silent.
pub struct Export {
    backend: BackendName,
    config: Arc<NfsConfig>,
    host: Arc<dyn Host>,
    process: Uuid,
    connection: Arc<Connection>,
    folders: Arc<Mutex<Option<Opened>>>,
    gate: Gate,
    fillings: Mutex<HashMap<String, Arc<Filling>>>,
    keeper: Arc<Keeper>,
    #[cfg(test)]
    kill: Arc<crate::tree::tests::Kill>,
}

/// An object that is being filled in the background.
#[derive(Default)]
struct Filling {
    result: Mutex<Option<Result<()>>>,
    done: Condvar,
}

/// Wakes the thread that sweeps.
#[derive(Default)]
struct Keeper {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    trash: bool,
    running: bool,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("backend", &self.backend).field("source", &self.source()).finish_non_exhaustive()
    }
}

impl Export {
    /// The export of `config`. Nothing is asked of the server yet.
    pub fn new(backend: BackendName, config: NfsConfig, host: Arc<dyn Host>) -> Result<Arc<Self>> {
        let connection = Connection::to(&config, &host)?;
        Ok(Self::over(backend, config, host, connection))
    }

    fn over(backend: BackendName, config: NfsConfig, host: Arc<dyn Host>, connection: Arc<Connection>) -> Arc<Self> {
        let folders: Arc<Mutex<Option<Opened>>> = Arc::default();
        let (probed, opened) = (Arc::clone(&connection), Arc::clone(&folders));
        let probe = move || {
            // What was opened may be what the server does not know any more.
            *opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
            probed.probe()
        };
        let name = format!("the NFS server {} of backend {backend}", config.server);
        Arc::new(Self {
            gate: Gate::new(name, config.patience(), probe),
            backend,
            config: Arc::new(config),
            host,
            process: Uuid::new_v4(),
            connection,
            folders,
            fillings: Mutex::default(),
            keeper: Arc::default(),
            #[cfg(test)]
            kill: Arc::default(),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &NfsConfig {
        &self.config
    }

    fn source(&self) -> String {
        self.mount_of(Path::new(""), Default::default()).source()
    }

    /// How a directory below the export is mounted.
    pub fn mount_of(&self, path: &Path, options: hawser_host::MountOptions) -> NfsMount {
        let path = if path.as_os_str().is_empty() { self.config.path.clone() } else { self.config.path.join(path) };
        NfsMount { server: self.config.server.clone(), path, options }
    }

    /// The options of a volume's mount: those of the configuration, then `flags`, then what is always so.
    pub fn mount_options(&self, flags: &[String]) -> Result<hawser_host::MountOptions> {
        let all: Vec<String> = self.config.mount_options.iter().chain(flags).cloned().collect();
        options::parse("mount options", &all)?;
        // A superblock of its own: what is done to one volume that hangs reaches no other.
        hawser_host::MountOptions::parse(&all.into_iter().chain(["nosharecache".to_owned()]).collect::<Vec<_>>())
    }

    /// `Unavailable` while the server is known to be silent.
    pub fn ask(&self) -> Result<()> {
        self.gate.ask()
    }

    /// Asks the server for a sign of life, now.
    pub fn ping(self: &Arc<Self>) -> Result<()> {
        let connection = Arc::clone(&self.connection);
        self.gate.pass(Deadline::after(self.config.patience() * 2), move |_| connection.probe())
    }

    fn folders(&self) -> Result<Arc<Folders>> {
        let mounted = self.connection.mounted()?;
        let slot = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, folders)) = &*slot()
            && Arc::ptr_eq(of, &mounted)
        {
            return Ok(Arc::clone(folders));
        }
        let folders = Arc::new(Folders::open(&mounted.root)?);
        *slot() = Some((mounted, Arc::clone(&folders)));
        Ok(folders)
    }

    fn tree(&self, pulse: &remote::Pulse) -> Result<Tree> {
        Ok(Tree {
            backend: self.backend.clone(),
            config: Arc::clone(&self.config),
            process: self.process,
            pulse: pulse.clone(),
            root: self.folders()?,
            #[cfg(test)]
            kill: Arc::clone(&self.kill),
        })
    }

    /// Does `work` in the tree.
    fn work<T: Send + 'static>(
        self: &Arc<Self>,
        deadline: Deadline,
        work: impl FnOnce(&Tree) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let export = Arc::clone(self);
        self.gate.pass(deadline, move |pulse| work(&export.tree(pulse)?))
    }

    /// A short piece of work.
    fn quick<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Tree) -> Result<T> + Send + 'static) -> Result<T> {
        self.work(Deadline::after(self.config.patience() * 6), work)
    }

    /// Fills an object in the background, and waits for it until `deadline`; false when it is at work then.
    fn fill<R: Fillable + 'static>(self: &Arc<Self>, id: &str, deadline: Deadline) -> Result<bool> {
        let filling = {
            let mut fillings = self.fillings.lock().unwrap_or_else(PoisonError::into_inner);
            match fillings.get(id) {
                Some(filling) => Arc::clone(filling),
                None => {
                    let filling = Arc::new(Filling::default());
                    let (export, own, key) = (Arc::clone(self), Arc::clone(&filling), id.to_owned());
                    let span = tracing::Span::current();
                    let run = move || {
                        let of = key.clone();
                        let result = span.in_scope(|| export.work(Deadline::after(BACKGROUND), move |tree| tree.fill::<R>(&of)));
                        if let Err(error) = &result {
                            tracing::warn!(
                                object = key,
                                error = error.chain(),
                                "it is not complete; the same call goes on with it"
                            );
                        }
                        export.fillings.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                        *own.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                        own.done.notify_all();
                    };
                    thread::Builder::new()
                        .name("nfs-fill".to_owned())
                        .spawn(run)
                        .map_err(|error| Error::unavailable("no thread for the copy").caused_by(error))?;
                    fillings.insert(id.to_owned(), Arc::clone(&filling));
                    filling
                }
            }
        };
        let mut result = filling.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*result {
                return result.clone().map(|()| true);
            }
            if deadline.passed() {
                return Ok(false);
            }
            (result, _) = filling.done.wait_timeout(result, deadline.remaining()).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes a volume, or finds the one that was made by an earlier call with the same wishes, and fills it.
    ///
    /// `AlreadyExists` when the name, or the place, is another volume's; `NotFound` for an unknown origin; `DeadlineExceeded` while it is
    /// being filled, which goes on.
    pub fn create_volume(self: &Arc<Self>, new: &NewVolume, deadline: Deadline) -> Result<VolumeRecord> {
        loop {
            let wanted = new.clone();
            let record = self.work(deadline, move |tree| tree.create_volume(&wanted))?;
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

    /// Records a larger size. Nothing enforces it.
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
                record.size = range.required();
                let size = record.size;
                Ok(Change::Write(record, size))
            })
        })
    }

    /// Grants a volume to a node: see [`hawser_volume::attachment::grant`].
    pub fn attach(
        self: &Arc<Self>,
        id: &str,
        node: &NodeId,
        access: &Access,
        read_only: bool,
        deadline: Deadline,
    ) -> Result<Attachment> {
        let (id, node, access) = (id.to_owned(), node.clone(), access.clone());
        self.work(deadline, move |tree| tree.attach(&id, &node, &access, read_only))
    }

    /// Withdraws a volume from a node, or from every node. `Precondition` while this machine has it mounted for that node.
    pub fn detach(self: &Arc<Self>, id: &str, node: Option<&NodeId>, deadline: Deadline) -> Result<()> {
        let (id, node, export) = (id.to_owned(), node.cloned(), Arc::clone(self));
        self.work(deadline, move |tree| tree.detach(&id, node.as_ref(), |record| export.is_mounted_here(record)))
    }

    fn is_mounted_here(&self, record: &VolumeRecord) -> Result<bool> {
        let source = self.mount_of(&crate::tree::content(record)?, Default::default()).source();
        Ok(self.host.mounts()?.entries().iter().any(|entry| remote::is_remote(entry) && entry.source == Path::new(&source)))
    }

    /// Takes for `node` what was granted to it. `Precondition`, naming who has the volume, when nothing was.
    pub fn take(self: &Arc<Self>, id: &str, node: &NodeId, deadline: Deadline) -> Result<Claim> {
        let (id, node) = (id.to_owned(), node.clone());
        self.work(deadline, move |tree| tree.take(&id, &node))
    }

    /// Whether `node` has the volume still, with this number of its attachment.
    pub fn still_granted(self: &Arc<Self>, id: &str, node: &NodeId, epoch: u64) -> Result<()> {
        let (id, node) = (id.to_owned(), node.clone());
        self.quick(move |tree| tree.still_granted(&id, &node, epoch))
    }

    /// Gives back what was taken.
    pub fn give_back(self: &Arc<Self>, id: &str, node: &NodeId, deadline: Deadline) -> Result<()> {
        let (id, node) = (id.to_owned(), node.clone());
        self.work(deadline, move |tree| tree.give_back(&id, &node))
    }

    /// Whether another node of this machine has taken the volume too.
    pub fn is_shared_here(self: &Arc<Self>, id: &str, node: &NodeId) -> Result<bool> {
        let (id, node) = (id.to_owned(), node.clone());
        let boot = hawser_host::machine::boot_id()?;
        self.quick(move |tree| match tree.find::<VolumeRecord>(&id) {
            Ok((_, record)) => Ok(record.attachments.iter().any(|a| a.node != node && a.taken.as_deref() == Some(&boot))),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Makes a node known, in the background until it has succeeded; waits for `patience` for that.
    pub fn register_node(self: &Arc<Self>, node: &NodeId, patience: Duration) {
        let (export, node) = (Arc::clone(self), node.clone());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let register = move || {
            loop {
                let id = node.clone();
                match export.quick(move |tree| tree.register_node(&id)) {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%node, error = error.chain(), "could not make the node known yet"),
                }
                thread::sleep(Duration::from_secs(2));
            }
            let _ = sender.send(());
        };
        match thread::Builder::new().name("nfs-register".to_owned()).spawn(register) {
            Ok(_) => drop(receiver.recv_timeout(patience)),
            Err(error) => tracing::error!(%error, "no thread to make the node known"),
        }
    }

    /// What a mount shows of this export, by the kernel's own table alone.
    pub fn shown(&self, mount: &MountEntry) -> Option<Shown> {
        if !remote::is_remote(mount) || mount.root != Path::new("/") {
            return None;
        }
        let source = mount.source.to_str()?;
        let below = source.strip_prefix(&self.source())?;
        let below = if self.config.path == Path::new("/") { below } else { below.strip_prefix('/')? };
        layout::shown(Path::new(below))
    }

    /// What a directory below the export shows.
    pub fn shown_at(&self, path: &Path) -> Option<Shown> {
        layout::shown(path)
    }

    /// The volume whose place below the export is `path`.
    pub fn owner_of(self: &Arc<Self>, path: &Path) -> Result<Option<NativeId>> {
        let path = path.to_owned();
        self.quick(move |tree| Ok(tree.owner_of(&path)?.and_then(|id| NativeId::parse(&id))))
    }

    /// Cuts a snapshot of a volume, or finds the one that an earlier call cut. The copy goes on when it takes longer than some seconds.
    pub fn create_snapshot(self: &Arc<Self>, name: &ObjectName, source: &str, deadline: Deadline) -> Result<SnapshotRecord> {
        let (wanted, of) = (name.clone(), source.to_owned());
        let record = self.work(deadline, move |tree| tree.create_snapshot(&wanted, &of))?;
        if record.state != State::Filling {
            return Ok(record);
        }
        let patience = Deadline::after(SNAPSHOT.min(deadline.remaining()));
        match self.fill::<SnapshotRecord>(&record.id, patience) {
            Ok(false) => Ok(record),
            Ok(true) => self.snapshot(&record.id),
            // Another controller is at work on it.
            Err(error) if error.kind() == Kind::Unavailable && !is_silence(&error) => Ok(record),
            Err(error) if error.kind() == Kind::NotFound => Err(Error::internal(format!(
                "snapshot {0}:{1} is not complete, and its volume is gone; delete it",
                self.backend, record.id
            ))
            .caused_by(error)),
            Err(error) => Err(error),
        }
    }

    /// Removes a snapshot; success when it is gone already.
    pub fn delete_snapshot(self: &Arc<Self>, id: &str, deadline: Deadline) -> Result<()> {
        let id = id.to_owned();
        self.work(deadline, move |tree| tree.delete_snapshot(&id))?;
        self.collect();
        Ok(())
    }

    /// A snapshot by native id.
    pub fn snapshot(self: &Arc<Self>, id: &str) -> Result<SnapshotRecord> {
        let id = id.to_owned();
        self.quick(move |tree| {
            let (_, record) = tree.find::<SnapshotRecord>(&id)?;
            if record.state == State::Leaving {
                Err(Error::not_found(format!("snapshot {id} does not exist")))
            } else {
                Ok(record)
            }
        })
    }

    /// One page of snapshots, after `after`, of volume `source` only if one is given.
    pub fn snapshots(self: &Arc<Self>, source: Option<&str>, after: Option<&str>, max: usize) -> Result<Page<SnapshotRecord>> {
        let (source, after) = (source.map(str::to_owned), after.map(str::to_owned));
        self.quick(move |tree| {
            let is_listed = |record: &SnapshotRecord| {
                record.state != State::Leaving && source.as_ref().is_none_or(|source| record.source == *source)
            };
            let (items, next) = tree.page(after.as_deref(), max, is_listed)?;
            Ok(Page { items, next })
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

    /// Has the trash emptied in the background.
    fn collect(&self) {
        self.keeper.wanted.lock().unwrap_or_else(PoisonError::into_inner).trash = true;
        self.keeper.changed.notify_all();
    }

    /// Sweeps now, after each deletion, and from time to time, on a thread of its own, for as long as the process lives.
    pub fn keep_clean(self: &Arc<Self>) {
        {
            let mut wanted = self.keeper.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::replace(&mut wanted.running, true) {
                return;
            }
        }
        let export = Arc::downgrade(self);
        let keep = move || {
            let mut all = true;
            loop {
                let Some(export) = export.upgrade() else { return };
                let sweep = move |tree: &Tree| if all { tree.sweep() } else { tree.empty_trash() };
                let swept = export.work(Deadline::after(BACKGROUND), sweep);
                match &swept {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(backend = %export.backend, removed, "removed what was deleted"),
                    Err(error) => {
                        tracing::warn!(backend = %export.backend, error = error.chain(), "could not remove everything yet")
                    }
                }
                let keeper = Arc::clone(&export.keeper);
                drop(export);
                // After a failure soon again.
                let pause = if swept.is_ok() { SWEEPING } else { Duration::from_secs(5) };
                let wanted = keeper.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let (mut wanted, waited) = keeper
                    .changed
                    .wait_timeout_while(wanted, pause, |wanted| !wanted.trash)
                    .unwrap_or_else(PoisonError::into_inner);
                wanted.trash = false;
                all = waited.timed_out();
            }
        };
        if let Err(error) = thread::Builder::new().name("nfs-keeper".to_owned()).spawn(keep) {
            tracing::error!(%error, "no thread to remove what is deleted; it stays in the trash until the next start");
        }
    }
}

#[cfg(test)]
mod tests;

//! An export as a backend has it: every operation, behind the gate.

mod background;
mod holders;
mod snapshots;
mod volumes;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hawser_host::{Host, MountEntry, NfsMount, remote};
use hawser_volume::{BackendName, Deadline, Error, Result};
use uuid::Uuid;

use crate::config::NfsConfig;
use crate::connection::{Connection, Mounted};
use crate::gate::Gate;
use crate::layout::{self, Shown};
use crate::options;
use crate::tree::{Folders, Tree};
use background::{Filling, Keeper};

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

    /// For how long the server has been silent; nothing while it answers. Never asks it.
    pub fn silent_for(&self) -> Option<Duration> {
        self.gate.closed_for()
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
        self.gate.pass(deadline, move |pulse| {
            let done = export.tree(pulse).and_then(|tree| work(&tree).map_err(|error| changed_meanwhile(&tree.root, error)));
            done.map_err(with_advice)
        })
    }

    /// A short piece of work.
    fn quick<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Tree) -> Result<T> + Send + 'static) -> Result<T> {
        self.work(Deadline::after(self.config.patience() * 6), work)
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
    pub fn owner_of(self: &Arc<Self>, path: &Path) -> Result<Option<String>> {
        let path = path.to_owned();
        self.quick(move |tree| tree.owner_of(&path))
    }
}

/// An error of which the server says that it does not know something any more, in other words if that is but what another controller has
/// removed meanwhile: the export is there, and the next call finds it as it is now.
fn changed_meanwhile(folders: &Folders, error: Error) -> Error {
    if !remote::is_stale(&error) || !folders.are_known() {
        return error;
    }
    Error::unavailable(format!("another controller removed what was worked on; repeat the call ({})", error.chain()))
}

/// Everything here is done as root; a server that refuses that has most likely been told to.
fn with_advice(error: Error) -> Error {
    if error.os_error().is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied) {
        return error.while_doing("the server refuses this machine's root; the export needs no_root_squash");
    }
    error
}

#[cfg(test)]
mod tests;

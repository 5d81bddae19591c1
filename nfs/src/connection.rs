//! The one mount by which a process works in an export, shared by all backends that have the same.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hawser_host::{Detached, Directory, Host, MountOptions, NfsMount};
use hawser_volume::{Deadline, Result};

use crate::config::NfsConfig;

/// How Hawser itself mounts an export. A server that is silent gives an error, not a wait for ever; nothing that another controller
/// changes is remembered; and what goes wrong here does not reach the mounts of volumes.
pub(crate) const OWN: [&str; 9] =
    ["softerr", "timeo=30", "retrans=1", "actimeo=0", "lookupcache=none", "nosharecache", "nosuid", "nodev", "noexec"];

/// How long mounting may take.
const MOUNT: Duration = Duration::from_secs(20);

/// The mounts of this process, by what they mount and how.
static SHARED: Mutex<Vec<(String, Weak<Connection>)>> = Mutex::new(Vec::new());

/// An export, mounted when it is needed, to no path.
pub(crate) struct Connection {
    how: How,
    mounted: Mutex<Option<Arc<Mounted>>>,
}

enum How {
    Mount(Arc<dyn Host>, NfsMount),
    /// A directory in place of an export.
    #[cfg(test)]
    Directory(std::path::PathBuf),
}

/// A mount, and its root.
pub(crate) struct Mounted {
    pub(crate) root: Directory,
    _mount: Option<Detached>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// The connection to the export of `config`; the same for all who ask with the same server, path and options.
    pub(crate) fn to(config: &NfsConfig, host: &Arc<dyn Host>) -> Result<Arc<Self>> {
        let flags: Vec<String> = OWN.iter().map(|flag| (*flag).to_owned()).chain(config.own_mount_options.clone()).collect();
        let mount = NfsMount { server: config.server.clone(), path: config.path.clone(), options: MountOptions::parse(&flags)? };
        let key = format!("{} {}", mount.source(), flags.join(","));
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|(_, connection)| connection.strong_count() > 0);
        if let Some(connection) = shared.iter().find(|(known, _)| *known == key).and_then(|(_, connection)| connection.upgrade())
        {
            return Ok(connection);
        }
        let connection = Arc::new(Self { how: How::Mount(Arc::clone(host), mount), mounted: Mutex::new(None) });
        shared.push((key, Arc::downgrade(&connection)));
        Ok(connection)
    }

    #[cfg(test)]
    pub(crate) fn directory(path: &std::path::Path) -> Arc<Self> {
        Arc::new(Self { how: How::Directory(path.to_owned()), mounted: Mutex::new(None) })
    }

    /// The mount, made if there is none. Blocks.
    pub(crate) fn mounted(&self) -> Result<Arc<Mounted>> {
        let mut slot = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mounted) = &*slot {
            return Ok(Arc::clone(mounted));
        }
        let mounted = match &self.how {
            How::Mount(host, mount) => {
                let detached = host.mount_nfs(mount, Deadline::after(MOUNT))?;
                tracing::info!(export = mount.source(), "mounted for this process");
                let root = Directory::of_mount(&detached, mount.source().as_ref())?;
                Mounted { root, _mount: Some(detached) }
            }
            #[cfg(test)]
            How::Directory(path) => Mounted { root: Directory::open(path)?, _mount: None },
        };
        let mounted = Arc::new(mounted);
        *slot = Some(Arc::clone(&mounted));
        Ok(mounted)
    }

    /// Asks the server for a sign of life. A mount whose root the server does not know any more is given up for a new one. Blocks.
    pub(crate) fn probe(&self) -> Result<()> {
        let mounted = self.mounted()?;
        let answer = mounted.root.itself();
        if answer.is_err() {
            *self.mounted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        answer.map(drop)
    }
}

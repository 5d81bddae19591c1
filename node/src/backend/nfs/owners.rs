//! Whose volume a mount shows, without asking the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hawser_host::{MountEntry, durable};
use hawser_nfs::{Export, Shown};
use hawser_volume::id::digest;
use hawser_volume::{BackendName, Error, Result, VolumeId};

/// Where this machine remembers whose a place below an export was when it was mounted. `/run` is as empty after a boot as the table
/// of mounts.
const PLACES: &str = "/run/hawser/nfs";

/// What tells the volume of a mount: the directory that the kernel's table has, and for a volume with a place of its own a file of this
/// machine.
#[derive(Debug, Clone)]
pub(super) struct Owners {
    name: BackendName,
    export: Arc<Export>,
    places: PathBuf,
}

impl Owners {
    pub(super) fn new(name: BackendName, export: Arc<Export>) -> Self {
        let places = Path::new(PLACES).join(name.as_str());
        Self { name, export, places }
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.places.join(digest(&path.display().to_string()))
    }

    /// Remembers whose a place is, before it is mounted.
    pub(super) fn remember(&self, path: &Path, volume: &VolumeId) -> Result<()> {
        fs::create_dir_all(&self.places)
            .map_err(|error| Error::internal(format!("make directory {}", self.places.display())).caused_by(error))?;
        durable::write(&self.place(path), volume.native().as_bytes())
    }

    /// Whose a mounted place is: what this machine remembers, else what the server says.
    fn owner(&self, path: &Path) -> Result<Option<String>> {
        match fs::read_to_string(self.place(path)) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.export.owner_of(path),
            Err(error) => Err(Error::internal(format!("read {}", self.place(path).display())).caused_by(error)),
        }
    }

    /// The volume that `mount` shows, or nothing if it is not one of this backend.
    pub(super) fn of(&self, mount: &MountEntry) -> Result<Option<VolumeId>> {
        let id = match self.export.shown(mount) {
            None => None,
            Some(Shown::Volume(id)) => Some(id.to_string()),
            Some(Shown::Place(path)) => self.owner(&path)?,
        };
        id.map(|id| VolumeId::new(self.name.clone(), id)).transpose()
    }
}

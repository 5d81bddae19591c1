//! What `hawser volume mount` made, so that `unmount` takes down that and nothing else.
//!
//! A directory for each volume, with the record, and the staging path beside it. The record is written before the first call and removed
//! after the last one: whatever is killed in between, what was made is never more than the record says, and every call may be repeated.
//! The directory is below `/run`, which ends with the mounts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hawser_bridge::driver::Context;
use hawser_host::lock::FileLock;
use hawser_host::{Host, Linux, durable};
use hawser_volume::id::digest;
use hawser_volume::{Access, Deadline, Error, Kind, Result};
use serde::{Deserialize, Serialize};

use super::find::Named;
use super::trace::{Mounts, Places};

/// The name of the record in a volume's directory, and of the staging path.
const RECORD: &str = "mount.json";
const STAGING: &str = "staging";

/// What was typed about the place of the records.
#[derive(Debug, Clone, clap::Args)]
pub struct State {
    /// Where it is written down what `mount` made, and where volumes are staged. To be the same for `mount` and `unmount`.
    #[arg(long = "state", env = "HAWSER_MOUNT_STATE", value_name = "DIR", default_value = "/run/hawser/mount")]
    root: PathBuf,
}

/// Whose the attachment to this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Attachment {
    /// Nobody had attached it: `unmount` detaches it.
    Mine,
    /// It was attached before, and stays so.
    Before,
    /// The driver cannot say who has a volume, so it stays attached.
    Unknown,
    /// The driver attaches nothing.
    None,
}

/// A directory that was there before something was mounted on it: CSI has the driver remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directory {
    mode: u32,
    uid: u32,
    gid: u32,
}

/// What was made for one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) driver: String,
    pub(super) volume: String,
    pub(super) name: Option<String>,
    pub(super) access: Access,
    pub(super) read_only: bool,
    pub(super) context: Context,
    pub(super) attachment: Attachment,
    pub(super) staging: PathBuf,
    /// Where it is mounted, or may be, with the directory that was there before.
    pub(super) paths: BTreeMap<PathBuf, Option<Directory>>,
}

impl Named for Record {
    fn id(&self) -> &str {
        &self.volume
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Record {
    pub(super) fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.volume),
            None => self.volume.clone(),
        }
    }

    /// All that may be mounted of it.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        std::iter::once(self.staging.clone()).chain(self.paths.keys().cloned()).collect()
    }

    /// `Precondition` when what is mounted at `path` is not what is staged.
    pub(super) fn refuse_foreign(&self, path: &Path, mounts: &Mounts) -> Result<()> {
        let (Some(there), Some(staged)) = (mounts.top(path), mounts.top(&self.staging)) else { return Ok(()) };
        if (there.device, &there.root) == (staged.device, &staged.root) {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "{} shows something else than volume {} ({} {}); whoever mounted that has to unmount it first",
            path.display(),
            self.words(),
            there.filesystem,
            there.source.display()
        )))
    }
}

impl Directory {
    /// The directory at `path` on which something is to be mounted; nothing when there is none yet. `Precondition` for anything but an
    /// empty directory on which nothing is mounted.
    pub(super) fn to_mount_on(path: &Path) -> Result<Option<Self>> {
        let failed = |error| Error::internal(format!("look at {}", path.display())).caused_by(error);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let refuse = |what: &str| Err(Error::precondition(format!("{} {what}", path.display())));
        if metadata.is_symlink() {
            return refuse("is a symbolic link; give the directory that it leads to");
        }
        if !metadata.is_dir() {
            return refuse("is not a directory; give one that is empty, or a path that is not there yet");
        }
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            return refuse("holds files, which a mount would hide; give an empty directory, or a path that is not there yet");
        }
        Ok(Some(Self { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() }))
    }

    /// Makes the directory as it was, unless there is one.
    fn restore(&self, path: &Path) -> Result<()> {
        let failed = |error| Error::internal(format!("make the directory {} as it was before", path.display())).caused_by(error);
        match fs::create_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            made => made.map_err(failed)?,
        }
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode)).map_err(failed)
    }
}

/// Leaves at `path` what was there before something was mounted.
pub(super) fn put_back(path: &Path, before: Option<&Directory>) -> Result<()> {
    match before {
        Some(directory) => directory.restore(path),
        // The driver removes it; one that does not leaves an empty directory.
        None => Linux.remove_target(path),
    }
}

impl State {
    fn directory(&self, driver: &str, volume: &str) -> PathBuf {
        self.root.join(digest(&format!("{driver}\0{volume}")))
    }

    /// The directory of the records as the kernel writes it: it is compared with what is mounted.
    pub(super) fn open(&self) -> Result<Self> {
        let failed = |error| Error::unavailable(format!("make the directory {}", self.root.display())).caused_by(error);
        fs::create_dir_all(&self.root).map_err(failed)?;
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(Self { root: fs::canonicalize(&self.root).map_err(failed)? })
    }

    /// Where a volume is staged.
    pub(super) fn staging(&self, driver: &str, volume: &str) -> PathBuf {
        self.directory(driver, volume).join(STAGING)
    }

    /// Keeps others from mounting and unmounting by these records.
    pub(super) fn lock(&self, deadline: Deadline) -> Result<FileLock> {
        let held = FileLock::acquire(&self.root.join("lock"), deadline);
        held.map_err(|error| error.while_doing("another `hawser volume mount` or `unmount` is at work"))
    }

    /// What was made for a volume.
    pub(super) fn of(&self, driver: &str, volume: &str) -> Result<Option<Record>> {
        read(&self.directory(driver, volume))
    }

    /// What was made for all volumes of a driver.
    pub(super) fn all(&self, driver: &str) -> Result<Vec<Record>> {
        let failed = |error| Error::internal(format!("list {}", self.root.display())).caused_by(error);
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            all.extend(read(&entry.map_err(failed)?.path())?.filter(|record| record.driver == driver));
        }
        all.sort_by(|a, b| a.volume.cmp(&b.volume));
        Ok(all)
    }

    /// Writes down what is about to be made, and makes the directory in which it is staged.
    pub(super) fn put(&self, record: &Record) -> Result<()> {
        let directory = self.directory(&record.driver, &record.volume);
        durable::create_dir(&directory)?;
        let text =
            serde_json::to_vec_pretty(record).map_err(|error| Error::internal("write down what is mounted").caused_by(error))?;
        durable::write(&directory.join(RECORD), &text)
    }

    /// Forgets what is no more. `Precondition` while something is mounted there.
    pub(super) fn forget(&self, record: &Record) -> Result<()> {
        durable::remove_tree(&self.directory(&record.driver, &record.volume))
    }

    /// What of a volume is known to be made by `hawser volume mount`.
    pub(super) fn places(&self, driver: &str, volume: &str) -> Result<Places> {
        let own = self.of(driver, volume)?.map(|record| record.places()).unwrap_or_default();
        Ok(Places { own, bridge: Vec::new() })
    }
}

fn read(directory: &Path) -> Result<Option<Record>> {
    let path = directory.join(RECORD);
    let text = match fs::read(&path) {
        Ok(text) => text,
        // Not begun, or not a volume's: the file that is locked.
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(
                Error::new(Kind::PermissionDenied, format!("read {}; run the command as root", path.display())).caused_by(error)
            );
        }
        Err(error) => return Err(Error::internal(format!("read {}", path.display())).caused_by(error)),
    };
    let record = serde_json::from_slice(&text).map_err(|error| {
        let mend = "was it written by another version of hawser? It says what that one mounted";
        Error::internal(format!("{} is not understood; {mend}", path.display())).caused_by(error)
    })?;
    Ok(Some(record))
}

/// A moment between two steps. In the build for the crash tests the process kills itself there, if it is told to.
pub(super) fn reached(step: &str) {
    #[cfg(feature = "faults")]
    if std::env::var("HAWSER_KILL_COMMAND_AT").is_ok_and(|at| at == step) {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
    }
    #[cfg(not(feature = "faults"))]
    let _ = step;
}

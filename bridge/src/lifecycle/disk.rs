//! Disks that a resource provider offers: volumes that Mesos finds at a path of its own rule, and never says it is done with.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hawser_host::beneath::Directory;
use hawser_host::remote::Pulse;
use hawser_host::{Host, Linux, removal};
use hawser_proto::csi;
use hawser_volume::queue::Key;
use hawser_volume::{Access, AccessKind, Deadline, Error, ObjectName, Result};

use super::hold::{Wanted, directory};
use super::named::folder;
use super::users::paths;
use super::{Inner, Lifecycle};
use crate::claim::{ClaimedVolume, ExistingVolume, VolumeClaim};
use crate::declaration::{Declaration, Form};
use crate::driver::{Context, Use};
use crate::finding::Place;
use crate::ledger::{Batch, Door, Holding, Made, Section};
use crate::mesos::AgentId;

/// The user of a disk that Mesos was told is there.
const SHOWN: &str = "disk";

/// How many directories are emptied at a time.
const WORKERS: usize = 4;

/// A disk that is to be where Mesos looks for it.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The volume's id.
    pub id: String,
    /// What its creator said of it.
    pub context: Context,
    /// As a filesystem or a device.
    pub access: Access,
    /// Where it is shown.
    pub target: PathBuf,
    /// The agent for whose containers.
    pub agent: AgentId,
}

impl Lifecycle {
    /// Makes a volume, or finds the one of this name, as [`Driver::create`](crate::driver::Driver::create) does.
    pub async fn make_disk(&self, name: &ObjectName, request: csi::CreateVolumeRequest) -> Result<Made> {
        let request = csi::CreateVolumeRequest { name: name.as_str().to_owned(), ..request };
        let volume = self.inner.driver.create(request, self.inner.deadline()).await?;
        Ok(Made { id: volume.volume_id, context: volume.volume_context })
    }

    /// Has the disk attached to this node and shown at its path. Success when it is there already.
    ///
    /// `Precondition` when another node has it, or when it is to be emptied and a process uses it.
    pub async fn show_disk(&self, disk: Disk, deadline: Deadline) -> Result<()> {
        let inner = self.inner.clone();
        let key = Key::new("target", disk.target.display().to_string());
        let said = format!("show {disk:?}");
        let work = async move { inner.show_disk(&disk).await };
        self.inner.undo.called("show").run([key], said.as_bytes(), deadline, work).await
    }

    /// Proves that this node can have the volume: it is attached, taken from a node that is dead if the fence allows it, and detached
    /// again. `Precondition` when it is used here already, or when another node has it that may be alive.
    pub async fn prove_disk(&self, made: &Made, access: Access, deadline: Deadline) -> Result<()> {
        let (inner, made) = (self.inner.clone(), made.clone());
        let key = Key::new("volume", made.id.clone());
        let said = format!("prove {made:?}");
        let work = async move { inner.prove_disk(&made, &access).await };
        self.inner.undo.called("prove").run([key], said.as_bytes(), deadline, work).await
    }

    /// Takes the disk off this node and deletes its volume. `Precondition` while a process uses it. Success when there is none.
    pub async fn delete_disk(&self, id: &str, deadline: Deadline) -> Result<()> {
        let (inner, owned) = (self.inner.clone(), id.to_owned());
        let key = Key::new("volume", id);
        let said = format!("delete disk {id}");
        let work = async move { inner.delete_disk(&owned).await };
        self.inner.undo.called("delete").run([key], said.as_bytes(), deadline, work).await
    }
}

impl Inner {
    async fn show_disk(&self, disk: &Disk) -> Result<()> {
        let deadline = self.deadline();
        let _guard = self.locks.lock(&disk.id).await;
        // Looked up now and nowhere else: what was emptied once has a new user's data since.
        let key = disk.id.clone();
        let leftovers = self.ledger(move |ledger| ledger.entry::<Option<u64>>(Section::Leftovers, &key)).await?;
        let has_leftovers = leftovers.is_some();
        if !has_leftovers && self.is_shown(disk).await? {
            return Ok(());
        }
        if has_leftovers && let Some(holding) = self.holding(&disk.id).await? {
            self.refuse_tenants(&disk.id, &holding).await?;
        }
        let place = Place { path: "$".to_owned(), line: None };
        let claim = VolumeClaim {
            volume: ClaimedVolume::Existing(ExistingVolume { id: disk.id.parse()?, context: disk.context.clone() }),
            backend: None,
            access: disk.access.clone(),
            read_only: false,
            takeover: None,
            declared: Declaration { form: Form::Disk, place, driver: None, container_path: None },
        };
        let wanted = Wanted {
            door: Door::Provider,
            name: disk.id.clone(),
            claim,
            patience: self.settings.patience,
            staging: self.settings.mounts.join(folder(&format!("{}\ndisk", disk.id))).join("staging"),
            asked: None,
        };
        let made = Made { id: disk.id.clone(), context: disk.context.clone() };
        let volume = self.stage(&made, &wanted, deadline).await?;
        let (agent, staging) = (disk.agent.clone(), wanted.staging.clone());
        let note = move |holding: &mut Holding| {
            if let Some(usage) = holding.uses.get_mut(&staging) {
                usage.agent = Some(agent);
            }
        };
        self.change(&disk.id, note).await?;
        directory(disk.target.parent().unwrap_or(Path::new("/"))).await?;
        // What is in it is nobody's before it was emptied.
        let user = if has_leftovers { None } else { Some(SHOWN) };
        self.publish(&volume, &disk.target, false, user, deadline).await?;
        if has_leftovers {
            if !matches!(disk.access.kind, AccessKind::Mount(_)) {
                return Err(Error::unsupported(format!(
                    "{} is a block disk with a destroyed volume's data, which is not overwritten here; use DESTROY_DISK",
                    disk.id
                )));
            }
            empty(&disk.target, leftovers.flatten()).await?;
            let mut batch = Batch::default();
            batch.remove(Section::Leftovers, &disk.id);
            self.ledger(move |ledger| ledger.write_together(&batch)).await?;
            self.publish(&volume, &disk.target, false, Some(SHOWN), deadline).await?;
        }
        Ok(())
    }

    async fn prove_disk(&self, made: &Made, access: &Access) -> Result<()> {
        let deadline = self.deadline();
        let _guard = self.locks.lock(&made.id).await;
        if self.holding(&made.id).await?.is_some_and(|holding| !holding.uses.is_empty()) {
            return Err(Error::precondition(format!("volume {} is used on this node through another door", made.id)));
        }
        let is_held = self.holding(&made.id).await?.is_some();
        let holders = self.driver.holders(&made.id, deadline).await?;
        if !is_held && holders.is_some_and(|holders| holders.contains(&self.driver.node_id)) {
            return Err(Error::precondition(format!("volume {} is attached to this node by somebody else", made.id)));
        }
        let (key, boot) = (made.id.clone(), self.settings.boot.clone());
        // Nobody uses it: if this process is killed now, it is released after the time of grace.
        let intend =
            move |there: &mut Option<Holding>| there.get_or_insert_with(|| Holding::about_to_attach(&boot)).survive(&boot);
        self.ledger(move |ledger| ledger.change_holding(&key, intend)).await?;
        let volume = Use {
            id: made.id.clone(),
            context: made.context.clone(),
            capability: access.into(),
            read_only: false,
            publish_context: Context::new(),
            staging: PathBuf::new(),
        };
        let attached = self.attach(&volume, None, self.settings.patience, deadline).await;
        // Also when it was refused: it may have been done unseen, and detaching what is not attached is no error.
        self.release(&made.id, deadline).await?;
        attached.map(drop)
    }

    async fn delete_disk(&self, id: &str) -> Result<()> {
        let deadline = self.deadline();
        let _guard = self.locks.lock(id).await;
        if let Some(holding) = self.holding(id).await? {
            self.refuse_tenants(id, &holding).await?;
            self.release(id, deadline).await?;
        }
        self.driver.delete(id, deadline).await?;
        let mut batch = Batch::default();
        batch.remove(Section::Leftovers, id);
        self.ledger(move |ledger| ledger.write_together(&batch)).await
    }

    /// Whether Mesos was told that the disk is there, in this boot, and it is.
    async fn is_shown(&self, disk: &Disk) -> Result<bool> {
        let Some(holding) = self.holding(&disk.id).await? else { return Ok(false) };
        let is_told = holding.uses.values().any(|usage| usage.targets.contains(&disk.target) && usage.users.contains(SHOWN));
        if !is_told {
            return Ok(false);
        }
        let target = disk.target.clone();
        let look = move || Ok(!Linux.mounts()?.at(&target).is_empty());
        match tokio::task::spawn_blocking(look).await {
            Ok(found) => found,
            Err(error) => Err(Error::internal("reading the table of mounts panicked; see the log").caused_by(error)),
        }
    }

    async fn refuse_tenants(&self, id: &str, holding: &Holding) -> Result<()> {
        match self.tenants(vec![paths(holding)]).await?.into_iter().flatten().next() {
            Some(who) => Err(Error::precondition(format!("disk {id} is in use on this node: {who}; stop what uses it first"))),
            None => Ok(()),
        }
    }
}

/// Removes everything in the filesystem at `path`, through no link and into no other mount. `lost+found` goes too: users write there,
/// and e2fsck makes another one.
///
/// `Precondition`, and nothing is removed, when a file is younger than `destroyed`, in seconds since 1970: this agent was away, and meanwhile
/// another one was given the disk, whose users' data it is. Nor may a task have the disk here then.
async fn empty(path: &Path, destroyed: Option<u64>) -> Result<()> {
    let path = path.to_owned();
    let work = move || {
        // A driver's word alone is not enough to remove what is here.
        if Linux.mounts()?.at(&path).is_empty() {
            return Err(Error::internal(format!("nothing is mounted at {}, where a disk was to be emptied", path.display())));
        }
        if let Some(destroyed) = destroyed
            && let Some(younger) = younger_file(&path, destroyed)
                .map_err(|error| Error::unavailable(format!("look into {}", path.display())).caused_by(error))?
        {
            return Err(Error::precondition(format!(
                "what a destroyed volume left at {} was to be removed, and {} was written since, by a user whom another agent gave the disk; \
                 it is left as it is: if it is nobody's, remove it, or give the disk back (DESTROY_DISK)",
                path.display(),
                younger.display()
            )));
        }
        let root = Directory::open(&path)?;
        for name in root.names()? {
            removal::remove(&root, name, WORKERS, &Pulse::default())?;
        }
        root.sync()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("emptying a disk panicked; see the log").caused_by(error)),
    }
}

/// A file in the filesystem at `root` that was changed after `time`, in seconds since 1970. Directories do not count, as a removal that was
/// cut short has changed them.
fn younger_file(root: &Path, time: u64) -> std::io::Result<Option<PathBuf>> {
    let device = std::fs::symlink_metadata(root)?.dev();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = std::fs::symlink_metadata(&path)?;
            if metadata.dev() != device {
                continue;
            }
            // The removal of another name of it changes a file's ctime, too; its content has a time that programs may set.
            let changed = if metadata.nlink() > 1 { metadata.mtime() } else { metadata.ctime() };
            if metadata.is_dir() {
                directories.push(path);
            } else if u64::try_from(changed).is_ok_and(|changed| changed > time) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_written_since_is_found_and_directories_are_not() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        assert_eq!(younger_file(place.path(), 0).unwrap(), None);
        let deep = place.path().join("a/b/letter");
        std::fs::write(&deep, "words").unwrap();
        assert_eq!(younger_file(place.path(), 0).unwrap().as_ref(), Some(&deep));
        let written = u64::try_from(std::fs::metadata(&deep).unwrap().ctime()).unwrap();
        assert_eq!(younger_file(place.path(), written).unwrap(), None, "in the same second it is the destroyed one's");
        assert_eq!(younger_file(place.path(), written - 1).unwrap(), Some(deep));
        std::os::unix::fs::symlink("/proc", place.path().join("link")).unwrap();
        assert!(younger_file(place.path(), u64::MAX).unwrap().is_none());
    }
}

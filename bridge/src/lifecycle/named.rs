//! Volumes by name: what the Docker volume plugin and dvdcli ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::queue::Key;
use hawser_volume::{Bytes, Deadline, Error, Kind, ObjectName, Result};
use sha2::{Digest, Sha256};

use super::hold::{Wanted, directory};
use super::{Inner, Lifecycle};
use crate::claim::VolumeClaim;
use crate::declare::docker;
use crate::ledger::{Door, Known, Made};

/// A volume as a door's user sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// The volume that the name came to, if that is known.
    pub id: Option<String>,
    /// Where it is mounted on this node, if it is.
    pub path: Option<PathBuf>,
    /// When it was declared here first, in seconds since 1970. Nothing for a volume that only the driver knows.
    pub since: Option<u64>,
    /// The size that was declared.
    pub size: Option<Bytes>,
}

impl Lifecycle {
    /// Notes what was declared under `name`, and makes the volume if it can be made and is not there.
    ///
    /// Declaring it again is success. A declaration that says less (a name alone, as `docker run -v` does) changes nothing; one
    /// that says something else is kept for the next time that the volume must be made.
    pub async fn declare(&self, name: &str, claim: VolumeClaim, deadline: Deadline) -> Result<()> {
        let inner = self.inner.clone();
        let owned = name.to_owned();
        let request = format!("declare {owned} {claim:?}");
        let work = async move { inner.declare(&owned, claim).await.map(drop) };
        self.inner.undo.called("declare").run([Key::new("claim", name)], request.as_bytes(), deadline, work).await
    }

    /// Has the volume mounted for `user`, and returns where. Another node's holding is waited for no longer than `patience`.
    ///
    /// `NotFound` when nobody knows the volume and it cannot be made; `Precondition`, naming the holder, when another node has
    /// it; `DeadlineExceeded` when it takes longer than the caller can wait; the work goes on then. Whoever drops the future, or
    /// gets an error, is no user of the volume: what was mounted for nobody is released after the time of grace.
    pub async fn mount(&self, name: &str, user: &str, patience: Duration, deadline: Deadline) -> Result<PathBuf> {
        loop {
            let inner = self.inner.clone();
            let owned = name.to_owned();
            let patience = patience.min(self.inner.settings.patience);
            let request = format!("mount {owned} {user} {patience:?}");
            let work = async move { inner.mount(&owned, patience).await };
            let path = self.inner.mount.run([Key::new("claim", name)], request.as_bytes(), deadline, work).await?;
            if self.inner.check_in(name, user).await? {
                return Ok(path);
            }
            // Its last user ended in between, and took it down.
        }
    }

    /// Says that `user` is done. When nobody else uses it, the volume is unmounted and leaves this node. Success when it was not
    /// mounted.
    pub async fn unmount(&self, name: &str, user: &str, deadline: Deadline) -> Result<()> {
        let inner = self.inner.clone();
        let (owned, user) = (name.to_owned(), user.to_owned());
        let request = format!("unmount {owned} {user}");
        let work = async move { inner.unmount(&owned, &user).await };
        self.inner.undo.called("unmount").run([Key::new("claim", name)], request.as_bytes(), deadline, work).await
    }

    /// Deletes the volume and forgets its name. `Precondition` while anybody uses it. A volume that was declared by its id, which
    /// somebody else made, is only forgotten.
    pub async fn remove(&self, name: &str, deadline: Deadline) -> Result<()> {
        let inner = self.inner.clone();
        let owned = name.to_owned();
        let request = format!("remove {owned}");
        let work = async move { inner.remove(&owned).await };
        self.inner.undo.called("remove").run([Key::new("claim", name)], request.as_bytes(), deadline, work).await
    }

    /// The volume called `name`, on whichever node it was declared; nothing when nobody knows it.
    ///
    /// A volume that the driver has listed is there while the driver is away. An error means that it could not be found out.
    pub async fn see(&self, name: &str, deadline: Deadline) -> Result<Option<Seen>> {
        if let Some(known) = self.inner.known(name).await? {
            return self.inner.seen(name, Some(known)).await.map(Some);
        }
        let of = |id| Some(Seen { name: name.to_owned(), id, path: None, since: None, size: None });
        match self.inner.find_by_name(name, deadline).await {
            Ok(Some(made)) => Ok(of(Some(made.id))),
            Ok(None) => Ok(None),
            Err(error) if self.inner.listed.has(name) => {
                tracing::warn!(name, error = error.chain(), "the driver does not answer; it has listed this volume before");
                Ok(of(None))
            }
            Err(error) => Err(error),
        }
    }

    /// Every volume that was declared on this node.
    pub async fn list(&self) -> Result<Vec<Seen>> {
        let known = self.inner.ledger(|ledger| ledger.all_known()).await?;
        let mut seen = Vec::with_capacity(known.len());
        for (name, known) in known {
            seen.push(self.inner.seen(&name, Some(known)).await?);
        }
        Ok(seen)
    }
}

impl Inner {
    pub(super) async fn known(&self, name: &str) -> Result<Option<Known>> {
        let key = name.to_owned();
        self.ledger(move |ledger| ledger.known(&key)).await
    }

    pub(super) async fn put_known(&self, name: &str, known: &Known) -> Result<()> {
        let (key, known) = (name.to_owned(), known.clone());
        self.ledger(move |ledger| ledger.put_known(&key, &known)).await
    }

    async fn forget(&self, name: &str) -> Result<()> {
        let key = name.to_owned();
        self.ledger(move |ledger| ledger.remove_known(&key)).await
    }

    async fn find_by_name(&self, name: &str, deadline: Deadline) -> Result<Option<Made>> {
        let Ok(object) = name.parse::<ObjectName>() else { return Ok(None) };
        match self.find(&object, None, deadline).await {
            // A driver that cannot list knows no more than this node's ledger.
            Err(error) if error.kind() == Kind::Unsupported => Ok(None),
            found => found,
        }
    }

    async fn seen(&self, name: &str, known: Option<Known>) -> Result<Seen> {
        let made = known.as_ref().and_then(|known| known.made.clone());
        let path = match &made {
            Some(made) => self.mounted(&made.id).await?,
            None => None,
        };
        let claim = known.as_ref().map(|known| &known.claim);
        Ok(Seen {
            name: name.to_owned(),
            id: made.map(|made| made.id),
            path,
            since: known.as_ref().map(|known| known.since),
            size: claim.and_then(VolumeClaim::named).and_then(|named| named.size),
        })
    }

    /// Where the volume is mounted for Docker's callers.
    async fn mounted(&self, id: &str) -> Result<Option<PathBuf>> {
        let places = Places::of(&self.settings.mounts, id);
        let holding = self.holding(id).await?;
        let is_mounted = holding.is_some_and(|holding| holding.is_used() && holding.has_target(&places.target));
        Ok(is_mounted.then(|| self.shown(&places.target)))
    }

    /// What of a mounted volume tasks are shown.
    fn shown(&self, target: &Path) -> PathBuf {
        self.settings.root_path.as_ref().map_or_else(|| target.to_owned(), |root| target.join(root))
    }

    async fn declare(&self, name: &str, claim: VolumeClaim) -> Result<Known> {
        let deadline = self.deadline();
        let before = self.known(name).await?;
        let says_nothing = claim.named().is_some_and(|named| named.size.is_none() && named.parameters.is_empty());
        let mut known = match before.clone() {
            Some(known) if says_nothing => known,
            Some(known) => Known { claim, ..known },
            None => Known { claim, made: None, slot: None, since: crate::ledger::now() },
        };
        // Which volume a pattern means is known when it is mounted.
        if known.claim.pattern().is_none() {
            known.made = Some(self.resolve(&known.claim, known.made.clone(), deadline).await?);
        }
        if before.as_ref() != Some(&known) {
            self.put_known(name, &known).await?;
        }
        Ok(known)
    }

    async fn mount(&self, name: &str, patience: Duration) -> Result<PathBuf> {
        let known = match self.known(name).await? {
            Some(known) => known,
            // Declared on another node, or never: what a name alone says.
            None => self.declare(name, docker::claim(name, &BTreeMap::new()).into_result()?.0).await?,
        };
        if let Some(pattern) = known.claim.pattern() {
            return self.mount_in_slot(name, &known, pattern).await;
        }
        match self.bring_up(name, &known, patience).await {
            // It was deleted behind our back. The declaration says whether it may be made again.
            Err(error) if error.kind() == Kind::NotFound && known.made.is_some() => {
                tracing::warn!(name, said = %error, "the volume that this name stood for is gone");
                let fresh = Known { made: None, ..known };
                self.put_known(name, &fresh).await?;
                let known = self.declare(name, fresh.claim).await?;
                self.bring_up(name, &known, patience).await
            }
            mounted => mounted,
        }
    }

    pub(super) async fn bring_up(&self, name: &str, known: &Known, patience: Duration) -> Result<PathBuf> {
        let deadline = self.deadline();
        let made = match &known.made {
            Some(made) => made.clone(),
            None => self.declare(name, known.claim.clone()).await?.made.ok_or_else(|| Error::internal("nothing was made"))?,
        };
        let _guard = self.locks.lock(&made.id).await;
        let places = Places::of(&self.settings.mounts, &made.id);
        let wanted = Wanted {
            door: Door::Docker,
            name: name.to_owned(),
            claim: known.claim.clone(),
            patience,
            staging: places.staging,
            asked: None,
        };
        let volume = self.stage(&made, &wanted, deadline).await?;
        directory(places.target.parent().unwrap_or(&places.target)).await?;
        self.publish(&volume, &places.target, known.claim.read_only, None, deadline).await?;
        let shown = self.shown(&places.target);
        if shown != places.target && !known.claim.read_only {
            // REX-Ray made this directory when it mounted (libstorage linux.go); volumes of its users have it.
            let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o755).create(&shown).await;
            made.map_err(|error| Error::unavailable(format!("make {}", shown.display())).caused_by(error))?;
        }
        Ok(shown)
    }

    async fn unmount(&self, name: &str, user: &str) -> Result<()> {
        let deadline = self.deadline();
        let Some(known) = self.known(name).await? else { return Ok(()) };
        let Some(made) = &known.made else { return Ok(()) };
        let _guard = self.locks.lock(&made.id).await;
        let places = Places::of(&self.settings.mounts, &made.id);
        match self.check_out(&made.id, user).await? {
            // Used by somebody else still.
            Some(1..) => return Ok(()),
            _ if self.holding(&made.id).await?.is_none() => return Ok(()),
            _ => self.unstage(&made.id, &places.staging, deadline).await?,
        }
        self.part(name, &known, deadline).await
    }

    /// What follows when nobody has the volume `id` any more: see [`Inner::part`]. For those who know nothing but the id.
    pub(super) async fn part_from(&self, id: &str, deadline: Deadline) -> Result<()> {
        if self.holding(id).await?.is_some() {
            return Ok(());
        }
        for (name, known) in self.ledger(|ledger| ledger.all_known()).await? {
            if known.made.as_ref().is_some_and(|made| made.id == id) {
                self.part(&name, &known, deadline).await?;
            }
        }
        Ok(())
    }

    /// Deletes the volume that was declared under `name` if it was to go with its task, and lets go of its number. To be called with
    /// the volume's lock, when it has left this node.
    async fn part(&self, name: &str, known: &Known, deadline: Deadline) -> Result<()> {
        let Some(made) = &known.made else { return Ok(()) };
        if known.claim.is_scratch() {
            self.driver.delete(&made.id, deadline).await?;
        }
        if known.claim.is_scratch() || known.slot.is_some() {
            self.put_known(name, &Known { made: None, slot: None, ..known.clone() }).await?;
        }
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let deadline = self.deadline();
        let made = match self.known(name).await? {
            Some(known) if known.claim.named().is_none() => return self.forget(name).await,
            // No volume has this name: those that have a number in its place are deleted one by one.
            Some(Known { made: None, claim, .. }) if claim.pattern().is_some() => return self.forget(name).await,
            Some(Known { made: Some(made), .. }) => Some(made),
            _ => self.find_by_name(name, deadline).await?,
        };
        let Some(made) = made else {
            self.forget(name).await?;
            return Err(Error::not_found(format!("there is no volume {name}")));
        };
        let _guard = self.locks.lock(&made.id).await;
        if let Some(holding) = self.holding(&made.id).await? {
            self.refuse_if_used(&made.id, name, &holding).await?;
            self.release(&made.id, deadline).await?;
        }
        self.driver.delete(&made.id, deadline).await?;
        self.forget(name).await
    }
}

/// Where a volume is mounted for doors that name no path.
pub(super) struct Places {
    pub(super) staging: PathBuf,
    pub(super) target: PathBuf,
}

impl Places {
    pub(super) fn of(mounts: &Path, id: &str) -> Self {
        let folder = mounts.join(folder(id));
        Self { staging: folder.join("staging"), target: folder.join("mount") }
    }
}

/// The name of the directory for a volume: an id may have any characters and be too long for a file name.
pub(super) fn folder(id: &str) -> String {
    Sha256::digest(id.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

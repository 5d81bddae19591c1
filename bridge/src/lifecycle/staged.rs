//! Volumes by the paths that a CO gives: what Mesos' `volume/csi` isolator asks for, which calls Node RPCs only.
//!
//! Mesos deletes recursively below its own directories as soon as an Unstage or Unpublish has said OK, through any mount that is
//! still there (facts of its `VolumeManager`: `removeVolume` after `os::rmdir`), and it sends the Unstage while a Stage that it
//! has given up on is still under way. So nothing is ever mounted at the staging path that it gives; volumes are staged in the
//! bridge's own directory, and appear below Mesos' directories only when they are published, which Unpublish waits for.

use std::path::{Path, PathBuf};

use hawser_volume::queue::Key;
use hawser_volume::{Deadline, Error, Kind, Result};

use super::hold::Wanted;
use super::named::folder;
use super::{Inner, Lifecycle};
use crate::claim::VolumeClaim;
use crate::driver::Use;
use crate::ledger::{Door, Holding};

/// The user of a volume that Mesos has been told is staged.
const STAGED: &str = "staged";

/// What NodeStageVolume and NodePublishVolume say.
#[derive(Debug, Clone)]
pub struct Request {
    /// The volume, as the caller calls it: its id, or a name.
    pub name: String,
    /// What the volume's context and capability say.
    pub claim: VolumeClaim,
    /// The staging path that the caller gives.
    pub staging: PathBuf,
}

impl Lifecycle {
    /// Makes the volume if need be, attaches it, and stages it where [`Lifecycle::publish`] finds it.
    pub async fn stage(&self, request: Request, deadline: Deadline) -> Result<()> {
        let (inner, wanted) = (self.inner.clone(), request.clone());
        let key = Key::new("staging", request.staging.display().to_string());
        let said = format!("stage {request:?}");
        let work = async move { inner.stage_for(&wanted).await };
        self.inner.undo.called("stage").run([key], said.as_bytes(), deadline, work).await?;
        // The caller is told in time. From now on its Unstage means what it says.
        self.inner.note_answered(&request.staging).await
    }

    /// Shows a staged volume at `target`.
    pub async fn publish(&self, request: Request, target: PathBuf, read_only: bool, deadline: Deadline) -> Result<()> {
        let inner = self.inner.clone();
        let key = Key::new("target", target.display().to_string());
        let said = format!("publish {request:?} {target:?} {read_only}");
        let work = async move { inner.publish_for(&request, &target, read_only).await };
        self.inner.undo.called("publish").run([key], said.as_bytes(), deadline, work).await
    }

    /// Takes a volume off `target`. Success when it is not there.
    pub async fn unpublish(&self, name: &str, target: &Path, deadline: Deadline) -> Result<()> {
        let (inner, owned, target) = (self.inner.clone(), name.to_owned(), target.to_owned());
        let key = Key::new("target", target.display().to_string());
        let said = format!("unpublish {owned} {target:?}");
        let work = async move { inner.unpublish_from(&owned, &target).await };
        self.inner.undo.called("unpublish").run([key], said.as_bytes(), deadline, work).await
    }

    /// Takes a volume off its staging path, and off this node when nothing else uses it here.
    ///
    /// A volume whose Stage was never answered in time is kept attached for a while: its caller gave up on it and may come back.
    pub async fn unstage(&self, name: &str, staging: &Path, deadline: Deadline) -> Result<()> {
        if self.inner.withdraw(staging).await? {
            return Ok(());
        }
        let (inner, owned, staging) = (self.inner.clone(), name.to_owned(), staging.to_owned());
        let key = Key::new("unstage", staging.display().to_string());
        let said = format!("unstage {owned} {staging:?}");
        let work = async move { inner.unstage_from(&owned, &staging).await };
        self.inner.undo.called("unstage").run([key], said.as_bytes(), deadline, work).await
    }
}

impl Inner {
    async fn stage_for(&self, request: &Request) -> Result<()> {
        let deadline = self.deadline();
        if !self.is_staged(&request.staging).await? && self.is_stale(request).await {
            return self.stage_in_word(request).await;
        }
        self.unstage_in_word(&request.staging).await?;
        let made = self.resolve(&request.claim, None, deadline).await?;
        let _guard = self.locks.lock(&made.id).await;
        let folder = folder(&format!("{}\n{}", made.id, request.staging.display()));
        let wanted = Wanted {
            door: Door::Isolator,
            name: request.name.clone(),
            claim: request.claim.clone(),
            patience: self.settings.patience,
            staging: self.settings.mounts.join(folder).join("staging"),
            asked: Some(request.staging.clone()),
        };
        self.stage(&made, &wanted, deadline).await.map(drop)
    }

    async fn publish_for(&self, request: &Request, target: &Path, read_only: bool) -> Result<()> {
        let deadline = self.deadline();
        if self.publish_in_word(&request.staging, target).await? {
            return Ok(());
        }
        let id = self.staged_for(&request.staging).await?.ok_or_else(|| {
            Error::precondition(format!(
                "volume {} is not staged at {}; NodeStageVolume comes first",
                request.name,
                request.staging.display()
            ))
        })?;
        let _guard = self.locks.lock(&id).await;
        // Noted in one step with the question whether it was unstaged: an Unstage comes before, or sees the target.
        let (asked, place) = (request.staging.clone(), target.to_owned());
        let begin = move |holding: &mut Holding| {
            let staging = holding.staged_for(&asked)?.clone();
            let usage = holding.uses.get_mut(&staging).filter(|usage| !usage.withdrawn)?;
            usage.targets.insert(place);
            Some((staging, holding.context.clone(), holding.publish_context.clone().unwrap_or_default()))
        };
        let Some((staging, context, publish_context)) = self.change(&id, begin).await?.flatten() else {
            return Err(Error::precondition(format!(
                "volume {} was unstaged from {} meanwhile",
                request.name,
                request.staging.display()
            )));
        };
        let volume = Use {
            id,
            context,
            capability: request.claim.capability(),
            read_only: request.claim.read_only,
            publish_context,
            staging,
        };
        let user = target.display().to_string();
        Inner::publish(self, &volume, target, read_only, Some(&user), deadline).await
    }

    async fn unpublish_from(&self, name: &str, target: &Path) -> Result<()> {
        let deadline = self.deadline();
        if self.unpublish_in_word(target).await? {
            return Ok(());
        }
        let holdings = self.ledger(|ledger| ledger.holdings()).await?;
        let Some((id, _)) = holdings.into_iter().find(|(_, holding)| holding.has_target(target)) else {
            // Never published by this bridge. If something is there all the same, the driver takes it away or says why not.
            return self.driver.unpublish(name, target, deadline).await.or_else(unknown_is_done);
        };
        let _guard = self.locks.lock(&id).await;
        let place = target.to_owned();
        let change = move |holding: &mut Holding| {
            for usage in holding.uses.values_mut().filter(|usage| usage.targets.contains(&place)) {
                usage.users.remove(&place.display().to_string());
            }
        };
        self.change(&id, change).await?;
        Inner::unpublish(self, &id, target, deadline).await
    }

    async fn unstage_from(&self, name: &str, asked: &Path) -> Result<()> {
        let deadline = self.deadline();
        if self.unstage_in_word(asked).await? {
            return Ok(());
        }
        let Some(id) = self.staged_for(asked).await? else {
            return self.driver.unstage(name, asked, deadline).await.or_else(unknown_is_done);
        };
        let _guard = self.locks.lock(&id).await;
        let holding = self.holding(&id).await?;
        let Some(staging) = holding.and_then(|holding| holding.staged_for(asked).cloned()) else { return Ok(()) };
        Inner::unstage(self, &id, &staging, deadline).await
    }

    /// Whether the Unstage of this path is done with noting it: its Stage is still under way, or was never answered. Nothing of the
    /// volume is below Mesos' directories then, and nothing will be before it is staged again.
    async fn withdraw(&self, asked: &Path) -> Result<bool> {
        if self.is_in_word(asked).await? {
            return Ok(false);
        }
        let Some(id) = self.staged_for(asked).await? else { return Ok(false) };
        let asked = asked.to_owned();
        let withdraw = move |holding: &mut Holding| {
            let staging = holding.staged_for(&asked)?.clone();
            let usage = holding.uses.get_mut(&staging)?;
            usage.withdrawn = usage.targets.is_empty() && !usage.users.contains(STAGED);
            Some(usage.withdrawn)
        };
        Ok(self.change(&id, withdraw).await?.flatten().unwrap_or(false))
    }

    async fn note_answered(&self, asked: &Path) -> Result<()> {
        let Some(id) = self.staged_for(asked).await? else { return Ok(()) };
        let asked = asked.to_owned();
        let note = move |holding: &mut Holding| {
            let staging = holding.staged_for(&asked)?.clone();
            let usage = holding.uses.get_mut(&staging)?;
            usage.users.insert(STAGED.to_owned());
            // Whoever unstaged it before gave up on a call that this one has joined.
            usage.withdrawn = false;
            Some(())
        };
        self.change(&id, note).await.map(drop)
    }

    /// Whether a volume is staged for the path `asked`, in this boot, and its caller was told so.
    async fn is_staged(&self, asked: &Path) -> Result<bool> {
        let Some(id) = self.staged_for(asked).await? else { return Ok(false) };
        let holding = self.holding(&id).await?;
        Ok(holding.is_some_and(|holding| {
            let usage = holding.staged_for(asked).and_then(|staging| holding.uses.get(staging));
            usage.is_some_and(|usage| usage.users.contains(STAGED))
        }))
    }

    /// The volume that was staged for the path `asked`.
    async fn staged_for(&self, asked: &Path) -> Result<Option<String>> {
        let holdings = self.ledger(|ledger| ledger.holdings()).await?;
        Ok(holdings.into_iter().find(|(_, holding)| holding.staged_for(asked).is_some()).map(|(id, _)| id))
    }
}

/// An id that is no id of the driver names nothing that could be mounted.
fn unknown_is_done(error: Error) -> Result<()> {
    match error.kind() {
        Kind::NotFound | Kind::Invalid => Ok(()),
        _ => Err(error),
    }
}

//! What this node holds, as the ledger has it, and how it comes to hold it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::{Deadline, Error, Kind, Result};

use super::Inner;
use crate::claim::VolumeClaim;
use crate::driver::{Context, Use};
use crate::ledger::{Door, Holding, Made, Usage};

/// A staging that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) door: Door,
    /// The door's name for the volume.
    pub(super) name: String,
    pub(super) claim: VolumeClaim,
    /// How long another node's holding is waited for.
    pub(super) patience: Duration,
    /// Where it is staged.
    pub(super) staging: PathBuf,
    /// The staging path that the door was given, if it was.
    pub(super) asked: Option<PathBuf>,
}

impl Inner {
    /// What the ledger has of the volume.
    pub(super) async fn holding(&self, id: &str) -> Result<Option<Holding>> {
        let (key, boot) = (id.to_owned(), self.settings.boot.clone());
        let holding = self.ledger(move |ledger| ledger.holding(&key)).await?;
        Ok(holding.map(|mut holding| {
            holding.survive(&boot);
            holding
        }))
    }

    /// Changes what the ledger has of the volume. Nothing when it has nothing.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Holding) -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let (key, boot) = (id.to_owned(), self.settings.boot.clone());
        let change = move |there: &mut Option<Holding>| {
            let holding = there.as_mut()?;
            holding.survive(&boot);
            let result = change(holding);
            holding.settle();
            Some(result)
        };
        self.ledger(move |ledger| ledger.change_holding(&key, change)).await
    }

    /// Forgets that this node held the volume.
    pub(super) async fn forget_holding(&self, id: &str) -> Result<()> {
        let key = id.to_owned();
        self.ledger(move |ledger| ledger.change_holding(&key, |there| *there = None)).await
    }

    /// Notes that the volume is about to be attached and staged as wanted; whether it was not held at all before.
    async fn intend(&self, made: &Made, wanted: &Wanted) -> Result<bool> {
        let (key, boot, context, wanted) = (made.id.clone(), self.settings.boot.clone(), made.context.clone(), wanted.clone());
        let intend = move |there: &mut Option<Holding>| {
            let is_new = there.is_none();
            let holding = there.get_or_insert_with(|| Holding::about_to_attach(&boot));
            holding.survive(&boot);
            holding.context = context;
            let new = || Usage::new(wanted.door, wanted.name, wanted.asked);
            let usage = holding.uses.entry(wanted.staging).or_insert_with(new);
            usage.withdrawn = false;
            usage.unused_since = None;
            is_new
        };
        self.ledger(move |ledger| ledger.change_holding(&key, intend)).await
    }

    /// Has the volume attached and staged. To be called with the volume's lock.
    pub(super) async fn stage(&self, made: &Made, wanted: &Wanted, deadline: Deadline) -> Result<Use> {
        let is_new = self.intend(made, wanted).await?;
        let mut volume = Use {
            id: made.id.clone(),
            context: made.context.clone(),
            capability: wanted.claim.capability(),
            read_only: wanted.claim.read_only,
            publish_context: Context::new(),
            staging: wanted.staging.clone(),
        };
        match self.attach(&volume, wanted.claim.takeover, wanted.patience, deadline).await {
            Ok(context) => volume.publish_context = context,
            Err(error) => {
                // What was refused is not held; what may have been done unseen is.
                let refused = !matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded | Kind::Internal);
                if is_new && refused {
                    self.forget_holding(&made.id).await?;
                }
                return Err(error);
            }
        }
        let context = volume.publish_context.clone();
        self.change(&made.id, move |holding| holding.publish_context = Some(context)).await?;
        if self.driver.can.stage {
            directory(&wanted.staging).await?;
        }
        self.driver.stage(&volume, deadline).await?;
        Ok(volume)
    }

    /// Has a staged volume published at `target`, for `user` if one is named. To be called with the volume's lock.
    pub(super) async fn publish(
        &self,
        volume: &Use,
        target: &Path,
        read_only: bool,
        user: Option<&str>,
        deadline: Deadline,
    ) -> Result<()> {
        self.use_of(volume, {
            let target = target.to_owned();
            move |usage| {
                usage.targets.insert(target);
            }
        })
        .await?;
        self.driver.publish(volume, target, read_only, deadline).await?;
        let user = user.map(str::to_owned);
        self.use_of(volume, move |usage| usage.users.extend(user)).await
    }

    /// Changes the one use of a volume that is staged. If nobody uses it, the time of grace begins anew.
    async fn use_of(&self, volume: &Use, change: impl FnOnce(&mut Usage) + Send + 'static) -> Result<()> {
        let staging = volume.staging.clone();
        let change = move |holding: &mut Holding| {
            holding.idle_since = None;
            holding.uses.get_mut(&staging).map(change)
        };
        let changed = self.change(&volume.id, change).await?.flatten();
        changed.ok_or_else(|| Error::precondition(format!("volume {} is not staged at {}", volume.id, volume.staging.display())))
    }
}

/// Makes a directory with everything above it, as a CO does for the paths that it gives to a plugin.
pub(super) async fn directory(path: &Path) -> Result<()> {
    let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o750).create(path).await;
    made.map_err(|error| Error::unavailable(format!("make the directory {}", path.display())).caused_by(error))
}

//! Records of Mesos that nobody stands behind any more.
//!
//! After a reboot an agent stages and publishes again whatever was published when the power went, before it finds out that the
//! containers are gone; also when the volume has moved to another node meanwhile. If that fails, the whole plugin is lost to the
//! agent. So what no container uses is staged in word only: nothing is attached or taken from anybody, Mesos is told that it is done,
//! and at the target an empty filesystem is mounted that takes no data. The next container that declares the volume has it staged
//! anew, in truth.
//!
//! A container that is starting is on Mesos' notes before it asks for its volumes ([`InUse::on`]), so it is never taken for nobody;
//! and when the agent cannot be asked, or is another one than the caller, the volume is staged as usual.

use std::path::{Path, PathBuf};

use hawser_host::{Shape, Target, mount};
use hawser_volume::{Kind, Result};

use super::Inner;
use super::staged::Request;
use crate::ledger::Placeholder;
use crate::mesos::InUse;

impl Inner {
    /// What the containers of this machine's agent use; nothing when there is no agent that could be asked.
    pub(super) async fn in_use(&self) -> Option<InUse> {
        let agent = self.settings.agent.as_ref()?;
        match InUse::on(agent, self.settings.booted_at).await {
            Ok(in_use) => Some(in_use),
            Err(error) => {
                tracing::debug!(error = error.chain(), "could not find out what the containers of the agent use");
                None
            }
        }
    }

    /// Whether `request`, for something that is not staged, comes from a record and not from a container.
    pub(super) async fn is_stale(&self, request: &Request) -> bool {
        let Some(in_use) = self.in_use().await else { return false };
        let name = request.name.clone();
        let nobody =
            tokio::task::spawn_blocking(move || !in_use.may_have_csi(&name) && in_use.has_record(&name).unwrap_or(false));
        nobody.await.unwrap_or(false)
    }

    /// Notes that `request` was staged in word only.
    pub(super) async fn stage_in_word(&self, request: &Request) -> Result<()> {
        tracing::warn!(
            volume = request.name,
            "Mesos asks for a volume of a container that is no more, from a record of a time before; it is not attached"
        );
        let (key, name, boot) = (text(&request.staging), request.name.clone(), self.settings.boot.clone());
        let note = move |there: &mut Option<Placeholder>| match there {
            Some(placeholder) if placeholder.boot == boot => {}
            // What was mounted in another boot is no more.
            there => *there = Some(Placeholder { name, boot, targets: Default::default() }),
        };
        self.ledger(move |ledger| ledger.change_placeholder(&key, note)).await
    }

    /// Whether `staging` is staged in word only.
    pub(super) async fn is_in_word(&self, staging: &Path) -> Result<bool> {
        let key = text(staging);
        Ok(self.ledger(move |ledger| ledger.placeholder(&key)).await?.is_some())
    }

    /// Whether `staging` is staged in word only; an empty filesystem is at `target` then.
    pub(super) async fn publish_in_word(&self, staging: &Path, target: &Path) -> Result<bool> {
        let (key, place, boot) = (text(staging), target.to_owned(), self.settings.boot.clone());
        let note = move |there: &mut Option<Placeholder>| {
            let placeholder = there.as_mut().filter(|placeholder| placeholder.boot == boot)?;
            Some(placeholder.targets.insert(place))
        };
        let Some(is_new) = self.ledger(move |ledger| ledger.change_placeholder(&key, note)).await? else { return Ok(false) };
        if is_new {
            let place = target.to_owned();
            let mounted = blocking(move || mount::empty(&Target::create(&place, Shape::Directory)?)).await;
            if let Err(error) = mounted {
                // Nobody is going to use it. Mesos would lose the plugin over it.
                tracing::warn!(target = %target.display(), error = error.chain(), "could not mount an empty filesystem");
            }
        }
        Ok(true)
    }

    /// Takes the empty filesystem off `target` if there is one of ours; whether there was.
    pub(super) async fn unpublish_in_word(&self, target: &Path) -> Result<bool> {
        let all = self.ledger(|ledger| ledger.placeholders()).await?;
        let Some((staging, placeholder)) = all.into_iter().find(|(_, placeholder)| placeholder.targets.contains(target)) else {
            return Ok(false);
        };
        self.take_off(&placeholder, target.to_owned()).await?;
        let place = target.to_owned();
        let forget = move |there: &mut Option<Placeholder>| {
            if let Some(placeholder) = there {
                placeholder.targets.remove(&place);
            }
        };
        self.ledger(move |ledger| ledger.change_placeholder(&staging, forget)).await?;
        Ok(true)
    }

    /// Ends what was staged in word only at `staging`, if anything was; whether there was.
    pub(super) async fn unstage_in_word(&self, staging: &Path) -> Result<bool> {
        let key = text(staging);
        let Some(placeholder) = self
            .ledger({
                let key = key.clone();
                move |ledger| ledger.placeholder(&key)
            })
            .await?
        else {
            return Ok(false);
        };
        for target in placeholder.targets.clone() {
            self.take_off(&placeholder, target).await?;
        }
        self.ledger(move |ledger| ledger.change_placeholder(&key, |there| *there = None)).await?;
        Ok(true)
    }

    async fn take_off(&self, placeholder: &Placeholder, target: PathBuf) -> Result<()> {
        if placeholder.boot != self.settings.boot {
            return Ok(());
        }
        match blocking(move || mount::unmount(&target)).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            taken => taken,
        }
    }
}

/// A path as a key of the ledger. Paths that come in CSI's messages are UTF-8.
fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(hawser_volume::Error::internal("a thread panicked; see the log").caused_by(error)),
    }
}

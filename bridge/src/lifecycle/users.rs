//! Who uses a volume through the Docker door, and whether they still live.
//!
//! dockerd and Podman say with Mount that a container begins and with Unmount that it has ended. A dockerd that is killed forgets the
//! containers that end meanwhile, and no Unmount ever comes for them. With live-restore, on the other hand, containers live while
//! dockerd is away. So neither what dockerd says nor that it is silent tells whether a volume is used; what tells is whether a process
//! has it mounted. A container gets its mount some time after the Mount was answered, so that nobody has it counts only when it
//! has been so for a while.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hawser_volume::{Deadline, Error, Result};

use super::named::Places;
use super::{Inner, Lifecycle, Report};
use crate::ledger::{Holding, Usage};

/// The length of the ids that dockerd and Podman give their callers, in hexadecimal digits.
const ID: usize = 64;

/// For how long after a Mount was answered a volume is not removed, whatever is seen of its container.
const STARTING: Duration = Duration::from_secs(10);

/// Who else on this machine sees what is mounted.
pub trait Tenants: Send + Sync + Debug {
    /// For each volume, given by the paths that it is mounted at here: who has it mounted at another path too, as a container has,
    /// in words. An error when not everybody could be asked. May block.
    fn elsewhere(&self, volumes: &[Vec<PathBuf>]) -> Result<Vec<Option<String>>>;
}

/// When somebody was known last to use a volume, by its id. In memory: after a restart the time begins anew.
#[derive(Debug, Default)]
pub(super) struct Life(Mutex<HashMap<String, Instant>>);

impl Life {
    /// Somebody uses the volume now.
    fn seen(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Instant::now());
    }

    /// For how long nobody was known to use the volume; none at all when nobody has looked before.
    fn silence(&self, id: &str) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_insert_with(Instant::now).elapsed()
    }

    /// The same, of a volume that nothing has to be known of.
    fn since_seen(&self, id: &str) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(Instant::elapsed)
    }

    fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| wanted(id));
    }
}

impl Lifecycle {
    /// Notes that `user` is done, and no more: [`Lifecycle::unmount`] or the next comparison does what follows from it. Success when
    /// it was no user.
    pub async fn check_out(&self, name: &str, user: &str) -> Result<()> {
        let Some(known) = self.inner.known(name).await? else { return Ok(()) };
        let Some(made) = &known.made else { return Ok(()) };
        self.inner.check_out(&made.id, user).await.map(drop)
    }
}

impl Inner {
    /// Notes that `user` was told where the volume is. Whether it still is there: somebody else's Unmount may have come in between.
    pub(super) async fn check_in(&self, name: &str, user: &str) -> Result<bool> {
        let Some(made) = self.known(name).await?.and_then(|known| known.made) else { return Ok(false) };
        let _guard = self.locks.lock(&made.id).await;
        let places = Places::of(&self.settings.mounts, &made.id);
        let user = user.to_owned();
        let enter = move |holding: &mut Holding| {
            let usage = holding.uses.get_mut(&places.staging).filter(|usage| usage.targets.contains(&places.target))?;
            usage.users.insert(user);
            Some(())
        };
        let entered = self.change(&made.id, enter).await?.flatten().is_some();
        if entered {
            self.life.seen(&made.id);
        }
        Ok(entered)
    }

    /// Notes that `user` is done; how many others are left, or nothing when the volume is not held for this door.
    pub(super) async fn check_out(&self, id: &str, user: &str) -> Result<Option<usize>> {
        let (staging, user) = (Places::of(&self.settings.mounts, id).staging, user.to_owned());
        let leave = move |holding: &mut Holding| {
            let usage = holding.uses.get_mut(&staging)?;
            usage.users.remove(&user);
            Some(usage.users.len())
        };
        self.change(id, leave).await.map(Option::flatten)
    }

    /// Refuses to remove a volume that is used: through another door, by a caller that counts for itself, or by a container that
    /// lives. Docker and Podman ask for it only when they have no container that needs the volume, so containers of theirs that are
    /// on record and that nobody sees are forgotten.
    pub(super) async fn refuse_if_used(&self, id: &str, name: &str, holding: &Holding) -> Result<()> {
        let in_use =
            |why: &str| Err(Error::precondition(format!("volume {name} is in use on this node{why}; stop what uses it first")));
        if !holding.is_used() {
            return Ok(());
        }
        let staging = Places::of(&self.settings.mounts, id).staging;
        if !is_of_engines(holding, &staging) {
            return in_use("");
        }
        if self.life.since_seen(id).is_some_and(|since| since < STARTING) {
            return in_use(" by a container that was just given it");
        }
        match self.tenants(vec![paths(holding)]).await {
            Ok(found) => match found.first() {
                Some(Some(who)) => in_use(&format!(": {who}")),
                _ => {
                    tracing::warn!(volume = id, "no container that was given this volume lives any more: removing it as asked");
                    Ok(())
                }
            },
            Err(error) => in_use(&format!(", and whether its containers still live could not be found out ({})", error.chain())),
        }
    }

    /// Releases volumes whose users, by the word of dockerd or Podman, are containers, none of which was seen for the time of grace.
    pub(super) async fn free_abandoned(&self, holdings: &[(String, Holding)], report: &mut Report, deadline: Deadline) {
        self.life.keep(|id| holdings.iter().any(|(held, _)| held == id));
        let claimed = |(id, holding): &&(String, Holding)| is_of_engines(holding, &Places::of(&self.settings.mounts, id).staging);
        let claimed: Vec<_> = holdings.iter().filter(claimed).collect();
        if claimed.is_empty() {
            return;
        }
        let found = match self.tenants(claimed.iter().map(|(_, holding)| paths(holding)).collect()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    error = error.chain(),
                    "whether the containers that use volumes still live could not be found out"
                );
                return;
            }
        };
        for ((id, _), tenant) in claimed.into_iter().zip(found) {
            if tenant.is_some() {
                self.life.seen(id);
            } else if self.life.silence(id) >= self.settings.grace
                && let Err(error) = self.free(id, report, deadline).await
            {
                tracing::warn!(volume = id, error = error.chain(), "could not take down a volume whose containers are gone");
                report.failed.insert(id.clone(), error.chain());
            }
        }
    }

    async fn free(&self, id: &str, report: &mut Report, deadline: Deadline) -> Result<()> {
        let Some(_guard) = self.locks.try_lock(id) else { return Ok(()) };
        let Some(holding) = self.holding(id).await? else { return Ok(()) };
        let staging = Places::of(&self.settings.mounts, id).staging;
        // Somebody may have been given it since it was looked at.
        if !is_of_engines(&holding, &staging) || self.life.silence(id) < self.settings.grace {
            return Ok(());
        }
        tracing::warn!(volume = id, "no container that was given this volume lives any more: releasing it");
        self.unstage(id, &staging, deadline).await?;
        report.released.push(id.to_owned());
        self.part_from(id, deadline).await
    }

    /// For each volume, by its paths: who has it mounted elsewhere, if anybody has.
    pub(super) async fn tenants(&self, volumes: Vec<Vec<PathBuf>>) -> Result<Vec<Option<String>>> {
        let (tenants, wanted) = (Arc::clone(&self.tenants), volumes.len());
        let found = tokio::task::spawn_blocking(move || tenants.elsewhere(&volumes)).await;
        let found = found.unwrap_or_else(|error| Err(Error::internal("look for containers").caused_by(error)))?;
        if found.len() == wanted { Ok(found) } else { Err(Error::internal("not every volume was looked for")) }
    }
}

/// Whether the volume is used, at `staging` alone, and by nobody but containers of dockerd and Podman, who come and go without us.
fn is_of_engines(holding: &Holding, staging: &Path) -> bool {
    let is_id = |user: &String| user.len() == ID && user.bytes().all(|byte| byte.is_ascii_hexdigit());
    let others = holding.uses.iter().any(|(path, usage)| path != staging && !usage.users.is_empty());
    let users = holding.uses.get(staging).map(|usage| &usage.users);
    !others && users.is_some_and(|users| !users.is_empty() && users.iter().all(is_id))
}

/// Everywhere that the volume is, or may be, mounted on this node.
pub(super) fn paths(holding: &Holding) -> Vec<PathBuf> {
    let of = |(staging, usage): (&PathBuf, &Usage)| usage.targets.iter().cloned().chain([staging.clone()]).collect::<Vec<_>>();
    holding.uses.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Door;

    fn used_by(users: &[&[&str]]) -> Holding {
        let mut holding = Holding::about_to_attach("boot");
        for (number, users) in users.iter().enumerate() {
            let mut usage = Usage::new(Door::Docker, "v1".to_owned(), None);
            usage.targets.insert(format!("/m/{number}/mount").into());
            usage.users = users.iter().map(|user| (*user).to_owned()).collect();
            holding.uses.insert(format!("/m/{number}/staging").into(), usage);
        }
        holding
    }

    #[test]
    fn only_ids_of_engines_may_be_given_up_for_dead() {
        let id = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2";
        for (users, expected) in [
            (&[&[id][..]][..], true),
            (&[&[id, &id.replace('2', "3")]], true),
            // Nobody, dvdcli, something else, and another door.
            (&[&[]], false),
            (&[&[id, ""]], false),
            (&[&[id, "container-1"]], false),
            (&[&[id], &["staged"]], false),
            (&[&[id], &[]], true),
        ] {
            assert_eq!(is_of_engines(&used_by(users), Path::new("/m/0/staging")), expected, "{users:?}");
        }
        assert_eq!(paths(&used_by(&[&[id]])), [Path::new("/m/0/mount"), Path::new("/m/0/staging")]);
    }

    #[test]
    fn silence_begins_when_somebody_looks_or_is_seen() {
        let life = Life::default();
        assert_eq!(life.since_seen("v1"), None);
        assert!(life.silence("v1") < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
        let before = life.silence("v1");
        assert!(before >= Duration::from_millis(20));
        life.seen("v1");
        assert!(life.silence("v1") < before);
        life.keep(|id| id != "v1");
        assert_eq!(life.since_seen("v1"), None);
    }
}

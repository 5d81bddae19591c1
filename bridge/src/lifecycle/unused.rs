//! Volumes that no container uses any more, and of which nobody said so.
//!
//! Mesos forgets: what it published from a stale record is never unpublished, and the Unmount of a container that ended while the bridge
//! was away is not repeated. So the containers of the agent are asked about ([`InUse`]), and what none of them has used for
//! the time of grace, on two looks at least, is taken down, unless a process has it mounted all the same. Only what was for Mesos: a
//! volume that dockerd or a person has mounted is nobody's business here.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use hawser_volume::{Deadline, Result};

use super::users::paths;
use super::{Inner, Report};
use crate::ledger::{Door, Holding, Usage, now};
use crate::mesos::InUse;

impl Inner {
    /// Ends the uses of the volume `id` that no container stands behind. To be called with the volume's lock.
    pub(super) async fn end_unused(&self, id: &str, in_use: &InUse, report: &mut Report, deadline: Deadline) -> Result<()> {
        let Some(holding) = self.holding(id).await? else { return Ok(()) };
        let recorded = recorded(&holding, in_use).await?;
        let (look, grace) = (in_use.clone(), self.settings.grace);
        let note = move |holding: &mut Holding| {
            let uses = holding.uses.iter_mut();
            uses.filter_map(|(staging, usage)| {
                is_over(usage, &look, recorded.contains(staging), grace, now()).then(|| staging.clone())
            })
            .collect::<Vec<_>>()
        };
        let over = self.change(id, note).await?.unwrap_or_default();
        if over.is_empty() {
            return Ok(());
        }
        if let Some(who) = self.tenants(vec![paths(&holding)]).await?.into_iter().flatten().next() {
            tracing::warn!(
                volume = id,
                who,
                "no container of the agent is known to use this volume, and it is used all the same"
            );
            return Ok(());
        }
        for staging in over {
            tracing::warn!(volume = id, staging = %staging.display(), "no container uses this volume any more: taking it down");
            self.unstage(id, &staging, deadline).await?;
            report.released.push(id.to_owned());
        }
        self.part_from(id, deadline).await
    }
}

/// The uses of which the agent has a record of its own.
async fn recorded(holding: &Holding, in_use: &InUse) -> Result<BTreeSet<PathBuf>> {
    let of_isolator = holding.uses.iter().filter(|(_, usage)| usage.door == Door::Isolator);
    let names: Vec<(PathBuf, String)> = of_isolator.map(|(staging, usage)| (staging.clone(), usage.name.clone())).collect();
    let in_use = in_use.clone();
    let look = move || {
        let mut recorded = BTreeSet::new();
        for (staging, name) in names {
            if in_use.has_record(&name)? {
                recorded.insert(staging);
            }
        }
        Ok(recorded)
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(recorded) => recorded,
        Err(error) => Err(hawser_volume::Error::internal("a thread panicked; see the log").caused_by(error)),
    }
}

/// Notes whether a container uses it, and says whether none has for long enough.
fn is_over(usage: &mut Usage, in_use: &InUse, recorded: bool, grace: Duration, now: u64) -> bool {
    let used = match usage.door {
        Door::Isolator => in_use.has_csi(&usage.name),
        Door::Docker => in_use.has_docker(&usage.name),
        Door::Provider => in_use.has_disk(&usage.name),
    };
    if used || recorded {
        usage.agent = Some(in_use.agent.clone());
    }
    // dockerd says who its users are; dvdcli does not, as Mesos counts them.
    let by_others = usage.door == Door::Docker && usage.users.iter().any(|user| !user.is_empty());
    if used || by_others || usage.agent.is_none() {
        usage.unused_since = None;
        return false;
    }
    match usage.unused_since {
        None => {
            usage.unused_since = Some(now);
            false
        }
        Some(since) => now.saturating_sub(since) >= grace.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::mesos::DeclaredVolume;

    const GRACE: Duration = Duration::from_secs(60);

    fn look(volumes: impl IntoIterator<Item = DeclaredVolume>) -> InUse {
        InUse::for_tests("A-S1", Path::new("/nowhere"), volumes)
    }

    fn docker(name: &str) -> DeclaredVolume {
        DeclaredVolume::Docker { driver: "hawser".into(), name: name.into() }
    }

    #[test]
    fn what_mesos_used_ends_after_the_time_of_grace() {
        let mut usage = Usage::new(Door::Docker, "db0".into(), None);
        usage.users.insert(String::new());
        // Mounted by hand, as far as anybody can tell.
        assert!(!is_over(&mut usage, &look([]), false, GRACE, 0) && !is_over(&mut usage, &look([]), false, GRACE, 1000));
        assert!(!is_over(&mut usage, &look([docker("db0")]), false, GRACE, 1000));
        assert_eq!(usage.agent.as_ref().map(|agent| agent.as_str()), Some("A-S1"));
        assert!(!is_over(&mut usage, &look([docker("db1")]), false, GRACE, 2000));
        assert!(!is_over(&mut usage, &look([]), false, GRACE, 2059));
        // Used again meanwhile: the time begins anew.
        assert!(!is_over(&mut usage, &look([docker("db0")]), false, GRACE, 2060));
        assert!(!is_over(&mut usage, &look([]), false, GRACE, 3000) && is_over(&mut usage, &look([]), false, GRACE, 3060));
        // One of dockerd's containers has it too.
        usage.users.insert("4be1".into());
        assert!(!is_over(&mut usage, &look([]), false, GRACE, 9000));
    }

    #[test]
    fn what_the_agent_has_on_record_ends_though_no_container_was_ever_seen() {
        let mut usage = Usage::new(Door::Isolator, "local:a".into(), Some("/mnt/a/staging".into()));
        assert!(!is_over(&mut usage, &look([]), false, GRACE, 0) && !is_over(&mut usage, &look([]), false, GRACE, 1000));
        assert!(!is_over(&mut usage, &look([]), true, GRACE, 2000) && is_over(&mut usage, &look([]), true, GRACE, 2060));
        let used = DeclaredVolume::Csi { plugin: "another.name".into(), id: "local:a".into() };
        assert!(!is_over(&mut usage, &look([used]), true, GRACE, 3000));
    }
}

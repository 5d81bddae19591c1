//! Snapshots.
//!
//! EC2 takes no token for a snapshot, so two controllers that are asked at once may both cut one. Each then looks again: the oldest of
//! the name counts for both, and who cut another one removes it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hawser_ebs::refusal::{Class, Refusal};
use hawser_ebs::snapshot::{Lock, Snapshot as Found, SnapshotState, is_snapshot_id};
use hawser_ebs::{Outpost, label};
use hawser_volume::error::shown;
use hawser_volume::{Bytes, Deadline, Error, Kind, ObjectName, Result, SnapshotId, VolumeId, parameters};
use serde::Deserialize;
use tokio::time::Instant;

use super::list::{self, Cursor};
use super::template::{self, fields};
use super::wishes::split;
use super::{Ebs, READING};
use crate::provision::{NewSnapshot, Page, Snapshot};

/// Most requests of one call.
const ATTEMPTS_MAX: u32 = 10;

/// Parameters of a VolumeSnapshotClass, under the names of aws-ebs-csi-driver.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SnapshotParameters {
    fast_snapshot_restore_availability_zones: Option<String>,
    outpost_arn: Option<String>,
    lock_mode: Option<LockMode>,
    lock_duration: Option<u32>,
    lock_expiration_date: Option<String>,
    lock_cool_off_period: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LockMode {
    Governance,
    Compliance,
}

/// What is wished of a snapshot, checked.
#[derive(Debug)]
struct Wishes {
    zones: Vec<String>,
    outpost: Option<Outpost>,
    lock: Option<Lock>,
    tags: BTreeMap<String, String>,
}

impl Wishes {
    fn read(new: &NewSnapshot) -> Result<Self> {
        let wrong = |text: &str| Error::invalid(format!("parameters: {text}"));
        let (tags, rest) = split(&new.parameters, "tagspecification");
        let read: SnapshotParameters = parameters::read("parameters", &rest)?;
        let zones = read.fast_snapshot_restore_availability_zones.unwrap_or_default();
        let zones = zones.split(',').map(|zone| zone.trim().to_owned()).filter(|zone| !zone.is_empty()).collect();
        let detail = read.lock_duration.is_some() || read.lock_expiration_date.is_some() || read.lock_cool_off_period.is_some();
        let lock = match read.lock_mode {
            None if detail => return Err(wrong("\"lockDuration\" and such need \"lockMode\": governance or compliance")),
            None => None,
            Some(mode) => {
                if read.lock_duration.is_some() == read.lock_expiration_date.is_some() {
                    return Err(wrong("\"lockMode\" needs one of \"lockDuration\" and \"lockExpirationDate\""));
                }
                if read.lock_cool_off_period.is_some() && mode == LockMode::Governance {
                    return Err(wrong("\"lockCoolOffPeriod\" needs \"lockMode\": compliance"));
                }
                let mode = if mode == LockMode::Governance { "governance" } else { "compliance" };
                Some(Lock {
                    mode: mode.to_owned(),
                    days: read.lock_duration,
                    until: read.lock_expiration_date,
                    cool_off_hours: read.lock_cool_off_period,
                })
            }
        };
        let outpost =
            read.outpost_arn.map(|arn| arn.parse()).transpose().map_err(|error: Error| error.while_doing("parameters"))?;
        Ok(Self { zones, outpost, lock, tags: template::tags(tags.iter(), &fields(&new.labels))? })
    }
}

impl Ebs {
    pub(super) async fn create_snapshot(&self, name: &ObjectName, source: &str, new: NewSnapshot) -> Result<Snapshot> {
        let wishes = Wishes::read(&new)?;
        let deadline = new.deadline;
        let named = label::named(&self.config.cluster, name);
        let doing = format!("cut snapshot {} of volume {source}", shown(name.as_str()));
        let mut tags = BTreeMap::from([(label::NAME.to_owned(), name.as_str().to_owned())]);
        tags.extend(self.config.tags.clone());
        tags.extend(wishes.tags.clone());
        tags.extend([
            (label::SNAPSHOT.to_owned(), named.clone()),
            (label::SNAPSHOT_NAME.to_owned(), name.as_str().to_owned()),
            (label::MANAGED.0.to_owned(), label::MANAGED.1.to_owned()),
        ]);
        label::count(&tags)?;
        let (found, own) = self.one_snapshot(&named, source, &wishes, &tags, &doing, deadline).await?;
        if found.volume != source {
            return Err(Error::already_exists(format!(
                "snapshot {} is there as {}, of volume {}; use another name",
                shown(name.as_str()),
                found.id,
                found.volume
            )));
        }
        match self.keep(&found, &wishes, &doing, deadline).await {
            Ok(()) => self.snapshot_of(&found),
            // What this call cut, and nobody knows of, would be left behind; what may yet be done is done by the next call.
            Err(error) if own && !matches!(error.kind(), Kind::Unavailable) => {
                self.remove_snapshot(&found.id, deadline).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The snapshot of the name, and whether this call cut it.
    async fn one_snapshot(
        &self,
        named: &str,
        source: &str,
        wishes: &Wishes,
        tags: &BTreeMap<String, String>,
        doing: &str,
        deadline: Deadline,
    ) -> Result<(Found, bool)> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(found) = self.snapshots_named(named, doing, deadline).await?.into_iter().next() {
                return Ok((found, false));
            }
            // An id that EC2 cannot have given is not asked for.
            self.look(source, deadline).await?;
            match self.account.ec2.create_snapshot(source, wishes.outpost.as_ref(), tags, deadline).await {
                Ok(cut) => {
                    let first = self.first_of(named, &cut.id, doing, deadline).await?;
                    if first.id == cut.id {
                        return Ok((first, true));
                    }
                    self.remove_snapshot(&cut.id, deadline).await?;
                    return Ok((first, false));
                }
                Err(refusal) if refusal.is_uncertain() && !deadline.passed() => {
                    // Looked for until it would be listed, and only then cut again.
                    if let Some(found) = self.until_snapshot_listed(named, doing, deadline).await? {
                        return Ok((found, false));
                    }
                }
                Err(refusal) => return Err(refusal.while_doing(doing)),
            }
        }
        Err(Error::unavailable(format!("{doing}: the answers were lost again and again; try again")))
    }

    /// The oldest snapshot of the name, once `own` is listed among them.
    async fn first_of(&self, named: &str, own: &str, doing: &str, deadline: Deadline) -> Result<Found> {
        let mut pause = Duration::from_millis(100);
        loop {
            let all = self.snapshots_named(named, doing, deadline).await?;
            if all.iter().any(|found| found.id == own)
                && let Some(first) = all.into_iter().next()
            {
                return Ok(first);
            }
            if deadline.passed() {
                return Err(Error::unavailable(format!("{doing}: {own} is cut and not listed yet; try again")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn until_snapshot_listed(&self, named: &str, doing: &str, deadline: Deadline) -> Result<Option<Found>> {
        let until = Instant::now() + self.listed_within();
        let mut pause = Duration::from_millis(200);
        loop {
            if let Some(found) = self.snapshots_named(named, doing, deadline).await?.into_iter().next() {
                return Ok(Some(found));
            }
            if Instant::now() >= until || deadline.passed() {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// The snapshots of the name, the oldest first.
    async fn snapshots_named(&self, named: &str, doing: &str, deadline: Deadline) -> Result<Vec<Found>> {
        let found = self.account.snapshots_by_tag.get(named, deadline).await.map_err(|refusal| refusal.while_doing(doing))?;
        let mut all = found.unwrap_or_default();
        all.retain(|found| found.state != SnapshotState::Error);
        all.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        Ok(all)
    }

    /// What is to be done with a snapshot that is there. Done again it changes nothing.
    async fn keep(&self, found: &Found, wishes: &Wishes, doing: &str, deadline: Deadline) -> Result<()> {
        let failed = |refusal: Refusal| refusal.while_doing(doing);
        if !wishes.zones.is_empty() {
            self.account.ec2.enable_fast_restore(&found.id, &wishes.zones, deadline).await.map_err(failed)?;
        }
        if let Some(lock) = &wishes.lock {
            self.account.ec2.lock_snapshot(&found.id, lock, deadline).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(super) async fn remove_snapshot(&self, native: &str, deadline: Deadline) -> Result<()> {
        if !is_snapshot_id(native) {
            return Ok(());
        }
        match self.account.ec2.delete_snapshot(native, deadline).await {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.class() == Class::NotFound => Ok(()),
            Err(refusal) => Err(refusal.while_doing(format_args!("delete snapshot {native}"))),
        }
    }

    pub(super) async fn look_at_snapshot(&self, native: &str) -> Result<Snapshot> {
        let unknown = || Error::not_found(format!("snapshot {native} does not exist"));
        if !is_snapshot_id(native) {
            return Err(unknown());
        }
        let found = self.account.snapshots.get(native, Deadline::after(READING)).await;
        let found = found.map_err(|refusal| refusal.while_doing(format_args!("look at snapshot {native}")))?;
        self.snapshot_of(&found.ok_or_else(unknown)?)
    }

    pub(super) async fn list_own_snapshots(
        &self,
        source: Option<&VolumeId>,
        after: Option<&str>,
        max: usize,
    ) -> Result<Page<Snapshot>> {
        let nothing = Page { items: Vec::new(), next: None };
        let by_name = format!("tag:{}", label::SNAPSHOT);
        let own = label::any_of(&self.config.cluster);
        let mut filters = vec![(by_name.as_str(), own.as_str())];
        if let Some(source) = source {
            if *source.backend() != self.name {
                return Ok(nothing);
            }
            filters.push(("volume-id", source.native()));
        }
        let deadline = Deadline::after(READING);
        let filters = filters.as_slice();
        let (found, next) = list::page(
            Cursor::parse(after)?,
            max,
            |snapshot: &Found| &snapshot.id,
            |size, token| async move { self.account.ec2.list_snapshots(filters, size, token.as_deref(), deadline).await },
        )
        .await
        .map_err(|error| error.while_doing("list snapshots"))?;
        let items = found.iter().map(|found| self.snapshot_of(found)).collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    fn snapshot_of(&self, found: &Found) -> Result<Snapshot> {
        Ok(Snapshot {
            id: SnapshotId::new(self.name.clone(), &*found.id)?,
            source: self.id(&found.volume)?,
            size: Bytes::gib(found.size),
            created: found.started.unwrap_or(SystemTime::UNIX_EPOCH),
            ready: found.state == SnapshotState::Completed,
            group: None,
        })
    }
}

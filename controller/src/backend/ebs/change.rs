//! Changing volumes: size, type and speed in one request.
//!
//! EC2 allows one change in some six hours. What is asked for at the same time, a larger size and another type, therefore goes together:
//! a call that waits in the volume's line has announced what it wants ([`Changes`]), and the call that runs takes it along. When the
//! other one's turn comes it finds that done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hawser_ebs::label;
use hawser_ebs::refusal::Class;
use hawser_ebs::volume::{Change, Modification, ModificationState, Volume as Found};
use hawser_volume::{Bytes, Deadline, Error, Result, SizeRange};

use super::Ebs;
use super::create::kind_of;
use super::kind::VolumeType;
use super::template::fields;
use super::wishes::Properties;
use crate::provision::{Announced, Ticket};

/// Most requests of one call.
const ATTEMPTS_MAX: u32 = 5;

/// What is asked of a volume.
#[derive(Debug, Clone, Default)]
struct Wanted {
    range: Option<SizeRange>,
    properties: Properties,
}

/// What calls that wait in line want, by volume.
#[derive(Debug, Default)]
pub(super) struct Changes(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    waiting: BTreeMap<String, BTreeMap<u64, Wanted>>,
    number: u64,
}

/// An announcement, which ends when it is dropped.
struct Announcement {
    board: Arc<Mutex<Board>>,
    volume: String,
    number: u64,
}

impl Changes {
    /// Notes what a call wants; nothing when that cannot be, which the call itself will say.
    pub(super) fn announce(&self, volume: &str, change: &Announced) -> Option<Ticket> {
        let wanted = match change {
            Announced::Size(range) => Wanted { range: Some(*range), ..Wanted::default() },
            Announced::Properties(map) => Wanted { range: None, properties: Properties::read(map).ok()? },
        };
        let mut board = lock(&self.0);
        board.number += 1;
        let number = board.number;
        board.waiting.entry(volume.to_owned()).or_default().insert(number, wanted);
        Some(Box::new(Announcement { board: Arc::clone(&self.0), volume: volume.to_owned(), number }))
    }

    fn waiting(&self, volume: &str) -> Vec<Wanted> {
        lock(&self.0).waiting.get(volume).into_iter().flat_map(|waiting| waiting.values().cloned()).collect()
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let mut board = lock(&self.board);
        if let Some(waiting) = board.waiting.get_mut(&self.volume) {
            waiting.remove(&self.number);
            if waiting.is_empty() {
                board.waiting.remove(&self.volume);
            }
        }
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wanted {
    /// What must change of `volume` for this; nothing when it is so already. `Invalid` and `OutOfRange` for what cannot be.
    fn change(&self, volume: &Found) -> Result<Change> {
        let Properties { kind, iops, iops_per_gib, keep, throughput, .. } = &self.properties;
        let now = kind_of(volume);
        let then = kind.unwrap_or(now);
        let size = match &self.range {
            Some(range) => range.required().max(Bytes::gib(volume.size)),
            None => Bytes::gib(volume.size),
        };
        let size = match &self.range {
            Some(range) if !range.contains(Bytes::gib(volume.size)) => {
                if range.limit().is_some_and(|limit| limit < Bytes::gib(volume.size)) {
                    return Err(Error::out_of_range(format!(
                        "volume {} has {} and cannot become smaller; ask for at least that",
                        volume.id,
                        Bytes::gib(volume.size)
                    )));
                }
                range.fit(&then.rule(volume.size))?
            }
            _ => size,
        };
        let size = u32::try_from(size.get() / Bytes::gib(1).get()).unwrap_or(u32::MAX);
        let kept =
            volume.tags.get(label::IOPS_PER_GIB).and_then(|text| text.parse::<u32>().ok()).filter(|_| *keep != Some(false));
        let wanted = iops.or_else(|| iops_per_gib.or(kept.filter(|_| size > volume.size)).map(|each| each.saturating_mul(size)));
        if wanted.is_some() && !then.has_operations() && iops.or(*iops_per_gib).is_some() {
            return Err(Error::invalid(format!("mutable_parameters: {then} has no operations to choose; leave \"iops\" out")));
        }
        if throughput.is_some() && then != VolumeType::Gp3 {
            return Err(Error::invalid(format!(
                "mutable_parameters: {then} has no throughput to choose; leave \"throughput\" out"
            )));
        }
        let wanted = wanted.and_then(|wanted| then.fit_operations(wanted, size, true));
        Ok(Change {
            size: (size > volume.size).then_some(size),
            volume_type: kind.map(|kind| kind.to_string()).filter(|kind| *kind != volume.volume_type),
            iops: wanted.filter(|wanted| Some(*wanted) != volume.iops),
            throughput: throughput.filter(|wanted| Some(*wanted) != volume.throughput),
        })
    }
}

/// `own`, and of `other` what does not contradict it.
fn together(own: Change, other: Change) -> Change {
    Change {
        size: own.size.max(other.size),
        volume_type: own.volume_type.or(other.volume_type),
        iops: own.iops.or(other.iops),
        throughput: own.throughput.or(other.throughput),
    }
}

fn is_nothing(change: &Change) -> bool {
    *change == Change::default()
}

impl Ebs {
    pub(super) async fn expand_volume(&self, native: &str, range: SizeRange, deadline: Deadline) -> Result<Bytes> {
        let wanted = Wanted { range: Some(range), ..Wanted::default() };
        self.change_volume(native, &wanted, deadline).await.map(|volume| Bytes::gib(volume.size))
    }

    pub(super) async fn modify_volume(&self, native: &str, map: &BTreeMap<String, String>, deadline: Deadline) -> Result<()> {
        let properties = Properties::read(map)?;
        let volume = self.look(native, deadline).await?;
        // Everything is checked before anything is changed.
        let created_for = volume.tags.iter().filter_map(|(key, value)| {
            Some((format!("csi.storage.k8s.io/{}", key.strip_prefix("kubernetes.io/created-for/")?), value.clone()))
        });
        let mut tags = properties.tags(&fields(&created_for.collect()))?;
        let wanted = Wanted { range: None, properties };
        wanted.change(&volume)?;
        self.change_volume(native, &wanted, deadline).await?;
        let Properties { iops_per_gib, keep, gone, .. } = wanted.properties;
        let each = iops_per_gib.filter(|_| keep == Some(true)).map(|each| each.to_string());
        let mut gone: Vec<String> = gone.into_iter().filter(|key| volume.tags.contains_key(key)).collect();
        if keep == Some(false) && volume.tags.contains_key(label::IOPS_PER_GIB) {
            gone.push(label::IOPS_PER_GIB.to_owned());
        }
        tags.extend(each.map(|each| (label::IOPS_PER_GIB.to_owned(), each)));
        tags.retain(|key, value| volume.tags.get(key) != Some(value));
        if !tags.is_empty() {
            let done = self.account.ec2.create_tags(native, &tags, deadline).await;
            done.map_err(|refusal| refusal.while_doing(format_args!("write tags on volume {native}")))?;
        }
        if !gone.is_empty() {
            let done = self.account.ec2.delete_tags(native, &gone, deadline).await;
            done.map_err(|refusal| refusal.while_doing(format_args!("take tags off volume {native}")))?;
        }
        Ok(())
    }

    /// Changes a volume as it is wanted, together with what else waits; gives it as it is then.
    async fn change_volume(&self, native: &str, own: &Wanted, deadline: Deadline) -> Result<Found> {
        let doing = format!("change volume {native}");
        let mut waited = Duration::from_millis(self.config.modify_window_milliseconds).is_zero();
        for _ in 0..ATTEMPTS_MAX {
            let volume = self.look(native, deadline).await?;
            let latest = self.account.modifications.get(native, deadline).await;
            let latest = latest.map_err(|refusal| refusal.while_doing(&doing))?;
            if latest.is_some_and(|latest| latest.state == ModificationState::Modifying) {
                // Its values may be listed before it is done.
                self.until_modified(native, &doing, deadline).await?;
                continue;
            }
            let change = own.change(&volume)?;
            if is_nothing(&change) {
                return Ok(volume);
            }
            if !waited {
                waited = true;
                tokio::time::sleep(Duration::from_millis(self.config.modify_window_milliseconds).min(deadline.remaining())).await;
                continue;
            }
            // A wish that cannot be is its own call's to answer for.
            let others = self.changes.waiting(native).into_iter().filter_map(|other| other.change(&volume).ok());
            let change = others.fold(change, together);
            let sent_at = SystemTime::now();
            match self.account.ec2.modify_volume(native, &change, deadline).await {
                Ok(_) => {
                    self.until_modified(native, &doing, deadline).await?;
                    return self.until_listed_as(native, own, &doing, deadline).await;
                }
                Err(refusal) if refusal.is_uncertain() && !deadline.passed() => {
                    tracing::info!(volume = native, %refusal, ?sent_at, "an answer was lost; the volume's changes are looked at");
                    self.account
                        .watch_modifications
                        .until(native, deadline, |_| Some(()))
                        .await
                        .map_err(|refusal| refusal.while_doing(&doing))?;
                }
                // Another change is under way; it is waited for above when it is one of that kind.
                Err(refusal) if refusal.code() == "IncorrectModificationState" => {
                    let latest = self.account.watch_modifications.until(native, deadline, |latest| Some(latest.cloned())).await;
                    let latest = latest.map_err(|refusal| refusal.while_doing(&doing))?;
                    if latest.is_none_or(|latest| latest.state != ModificationState::Modifying) {
                        return Err(refusal.while_doing(format!(
                            "{doing}: EC2 still works on an earlier change and allows the next one some six hours after it; try later"
                        ))
                        .with_kind(hawser_volume::Kind::Exhausted));
                    }
                }
                Err(refusal) if refusal.class() == Class::ObjectRate => {
                    return Err(refusal.while_doing(format!("{doing}: EC2 allows one change in some six hours; try later")));
                }
                Err(refusal) => return Err(refusal.while_doing(doing)),
            }
        }
        Err(Error::unavailable(format!("{doing}: others change it, too; try again")))
    }

    /// Waits until no change is in its first part, after which the volume has its new size.
    async fn until_modified(&self, native: &str, doing: &str, deadline: Deadline) -> Result<()> {
        let judge = |latest: Option<&Modification>| match latest {
            Some(Modification { state: ModificationState::Modifying | ModificationState::Unknown, .. }) => None,
            Some(Modification { state: ModificationState::Failed, message, .. }) => {
                let why = message.as_deref().unwrap_or("EC2 does not say why");
                Some(Err(Error::unavailable(format!("{doing}: the change has failed: {why}"))))
            }
            _ => Some(Ok(())),
        };
        self.account
            .watch_modifications
            .until(native, deadline, judge)
            .await
            .unwrap_or_else(|refusal| Err(refusal.while_doing(doing)))
    }

    /// The volume once it is listed with what is wanted; a change that is done is listed soon.
    async fn until_listed_as(&self, native: &str, own: &Wanted, doing: &str, deadline: Deadline) -> Result<Found> {
        let first = self.look(native, deadline).await?;
        if is_nothing(&own.change(&first)?) {
            return Ok(first);
        }
        let deadline = deadline.earlier(Deadline::after(self.listed_within()));
        let judge =
            |volume: Option<&Found>| volume.filter(|volume| own.change(volume).is_ok_and(|change| is_nothing(&change))).cloned();
        let listed = self.account.watch.until(native, deadline, judge).await;
        listed.map_err(|refusal| refusal.while_doing(format!("{doing}: it is done and not listed yet")))
    }
}

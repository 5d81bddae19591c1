//! What a volume is made from: nothing, a snapshot, a copy that EC2 makes of a volume, or a snapshot that is cut for it.
//!
//! EC2 copies a volume within its zone and under its key only, and not everywhere. Otherwise a snapshot is cut, which a tag says to be
//! for the volume of that name; a call that comes again finds it by that, and it is removed when the volume is there.

use std::collections::BTreeMap;

use hawser_ebs::refusal::Class;
use hawser_ebs::snapshot::{Snapshot, SnapshotState, is_snapshot_id};
use hawser_ebs::volume::Volume as Found;
use hawser_ebs::{Place, label};
use hawser_volume::error::shown;
use hawser_volume::{Bytes, Deadline, Error, Result};

use super::{Plan, kind_of};
use crate::backend::ebs::kind::VolumeType;
use crate::backend::ebs::wishes::Wishes;
use crate::backend::ebs::{Ebs, place_of};
use crate::provision::{NewVolume, Source};

/// What a volume is made from.
#[derive(Debug)]
pub(super) enum Origin {
    Nothing,
    Snapshot {
        id: String,
        size: u32,
    },
    Copy {
        volume: Box<Found>,
    },
    /// A snapshot that was cut for it.
    Cut {
        volume: Box<Found>,
        snapshot: String,
    },
}

impl Origin {
    /// A copy is where its source is; that this is allowed was looked at when it was chosen.
    pub(super) fn restrict(&self, places: &mut Vec<Place>) {
        if let Self::Copy { volume } = self {
            *places = vec![place_of(volume)];
        }
    }

    /// The size of the new volume, in GiB.
    pub(super) fn size(&self, plan: &Plan) -> Result<u32> {
        let least = match self {
            Self::Nothing => 0,
            Self::Snapshot { size, .. } => *size,
            Self::Copy { volume, .. } | Self::Cut { volume, .. } => volume.size,
        };
        let kind = self.kind(&plan.wishes).unwrap_or_default();
        let mut rule = kind.rule(least);
        if least > 0 {
            rule.default = rule.min;
        }
        let size = plan.range.fit(&rule)?;
        let size = u32::try_from(size.get() / Bytes::gib(1).get()).unwrap_or(u32::MAX);
        plan.wishes.operations(kind, size)?;
        Ok(size)
    }

    /// The type of the new volume; nothing when this program does not know the source's.
    pub(super) fn kind(&self, wishes: &Wishes) -> Option<VolumeType> {
        wishes.kind.or_else(|| match self {
            Self::Nothing | Self::Snapshot { .. } => Some(VolumeType::default()),
            Self::Copy { volume, .. } | Self::Cut { volume, .. } => VolumeType::named(&volume.volume_type),
        })
    }

    /// The name of the source's type.
    pub(super) fn kind_name(&self) -> String {
        match self {
            Self::Nothing | Self::Snapshot { .. } => VolumeType::default().to_string(),
            Self::Copy { volume, .. } | Self::Cut { volume, .. } => volume.volume_type.clone(),
        }
    }

    /// The operations a second that a copy has from its source, where EC2 does not see to it.
    pub(super) fn operations(&self, wishes: &Wishes) -> Option<u32> {
        match self {
            Self::Cut { volume, .. } if wishes.kind.is_none() && kind_of(volume).has_operations() => volume.iops,
            _ => None,
        }
    }

    /// The snapshot.
    pub(super) fn snapshot(&self) -> Option<&str> {
        match self {
            Self::Snapshot { id, .. } => Some(id),
            Self::Cut { snapshot, .. } => Some(snapshot),
            Self::Nothing | Self::Copy { .. } => None,
        }
    }
}

impl Ebs {
    /// What the volume of `plan` is made from; waits until it can be.
    pub(super) async fn origin(&self, new: &NewVolume, plan: &Plan, deadline: Deadline) -> Result<Origin> {
        match &new.source {
            None => Ok(Origin::Nothing),
            Some(Source::Snapshot(id)) => {
                let snapshot = self.complete(id.native(), plan, deadline).await?;
                Ok(Origin::Snapshot { id: snapshot.id, size: snapshot.size })
            }
            Some(Source::Volume(id)) => {
                let volume = self.look(id.native(), deadline).await?;
                if volume.encrypted && plan.wishes.encrypted == Some(false) {
                    return Err(Error::invalid(format!(
                        "parameters: {id} is encrypted, and so are its copies; leave \"encrypted\" out"
                    )));
                }
                let places = self.places(&new.name, &plan.wishes, plan.allowed.as_deref(), deadline).await?;
                let required = plan.allowed.is_some() || plan.wishes.zone.is_some() || plan.wishes.outpost.is_some();
                let same_place = !required || places.contains(&place_of(&volume));
                let same_key = plan.wishes.key.as_ref().is_none_or(|key| volume.key.as_ref() == Some(key));
                let same_encryption = plan.wishes.encrypted.is_none_or(|encrypted| encrypted == volume.encrypted);
                if same_place && same_key && same_encryption && self.can_copy(&volume, plan, deadline).await? {
                    return Ok(Origin::Copy { volume: Box::new(volume) });
                }
                let snapshot = self.cut_for(plan, &volume, deadline).await?;
                Ok(Origin::Cut { volume: Box::new(volume), snapshot })
            }
        }
    }

    /// The snapshot when it is complete.
    async fn complete(&self, id: &str, plan: &Plan, deadline: Deadline) -> Result<Snapshot> {
        let unknown = || Error::not_found(format!("snapshot {id} does not exist"));
        if !is_snapshot_id(id) {
            return Err(unknown());
        }
        let doing = format!("make volume {} from snapshot {id}", shown(&plan.name));
        let found = self.account.snapshots.get(id, deadline).await.map_err(|refusal| refusal.while_doing(&doing))?;
        let found = found.ok_or_else(unknown)?;
        self.when_complete(found, &doing, deadline).await
    }

    async fn when_complete(&self, found: Snapshot, doing: &str, deadline: Deadline) -> Result<Snapshot> {
        let judge = |snapshot: &Snapshot| match snapshot.state {
            SnapshotState::Completed => Some(Ok(snapshot.clone())),
            SnapshotState::Error => {
                let why = snapshot.message.as_deref().unwrap_or("EC2 does not say why");
                Some(Err(Error::precondition(format!("{doing}: the snapshot has failed: {why}"))))
            }
            SnapshotState::Recoverable => {
                Some(Err(Error::precondition(format!("{doing}: the snapshot is in the recycle bin; restore it"))))
            }
            SnapshotState::Pending | SnapshotState::Recovering | SnapshotState::Unknown => None,
        };
        if let Some(end) = judge(&found) {
            return end;
        }
        let mut progress = found.progress.clone();
        let waited = self.account.watch_snapshots.until(&found.id, deadline, |snapshot| {
            let snapshot = snapshot?;
            progress.clone_from(&snapshot.progress);
            judge(snapshot)
        });
        waited.await.unwrap_or_else(|_| {
            let progress = progress.as_deref().unwrap_or("an unknown part");
            Err(Error::unavailable(format!("{doing}: the snapshot is not complete ({progress}); the same call goes on waiting")))
        })
    }

    /// Whether EC2 copies this volume. Where it does not, it says so to a trial.
    async fn can_copy(&self, volume: &Found, plan: &Plan, deadline: Deadline) -> Result<bool> {
        let trial = hawser_ebs::volume::NewCopy {
            source: volume.id.clone(),
            size: volume.size,
            tags: plan.tags.clone(),
            ..Default::default()
        };
        match self.account.ec2.may_copy_volume(&trial, deadline).await {
            Ok(()) => Ok(true),
            // A policy that was made before there were copies does not name them.
            Err(refusal) if matches!(refusal.class(), Class::Unsupported | Class::Denied) => {
                tracing::info!(volume = volume.id, %refusal, "EC2 does not copy this volume; a snapshot is cut for it");
                Ok(false)
            }
            Err(refusal) => Err(refusal.while_doing(format_args!("copy volume {} for {}", volume.id, shown(&plan.name)))),
        }
    }

    /// The snapshot that was cut for the volume of `plan`, complete; it is cut if there is none.
    async fn cut_for(&self, plan: &Plan, volume: &Found, deadline: Deadline) -> Result<String> {
        let doing = format!("copy volume {} for {}", volume.id, shown(&plan.name));
        let mut tags: BTreeMap<String, String> = self.config.tags.clone();
        tags.extend([
            (label::COPYING.to_owned(), plan.named.clone()),
            (label::SNAPSHOT_NAME.to_owned(), plan.name.clone()),
            (label::MANAGED.0.to_owned(), label::MANAGED.1.to_owned()),
        ]);
        label::count(&tags)?;
        loop {
            let mut cuts = self.cuts_for(&plan.named, deadline).await?;
            cuts.retain(|cut| cut.volume == volume.id && cut.state != SnapshotState::Error);
            cuts.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
            if let Some(cut) = cuts.into_iter().next() {
                return self.when_complete(cut, &doing, deadline).await.map(|snapshot| snapshot.id);
            }
            match self.account.ec2.create_snapshot(&volume.id, None, &tags, deadline).await {
                Ok(cut) => return self.when_complete(cut, &doing, deadline).await.map(|snapshot| snapshot.id),
                Err(refusal) if refusal.is_uncertain() && !deadline.passed() => {
                    // It is listed by then if it was cut.
                    tokio::time::sleep(self.listed_within().min(deadline.remaining())).await;
                }
                Err(refusal) => return Err(refusal.while_doing(&doing)),
            }
        }
    }

    /// Removes the snapshots that were cut for the volume of a name.
    pub(super) async fn remove_cuts_for(&self, named: &str, deadline: Deadline) -> Result<()> {
        for cut in self.cuts_for(named, deadline).await? {
            match self.account.ec2.delete_snapshot(&cut.id, deadline).await {
                Ok(()) => {}
                Err(refusal) if refusal.class() == Class::NotFound => {}
                Err(refusal) => return Err(refusal.while_doing(format_args!("remove snapshot {}, cut for a copy", cut.id))),
            }
        }
        Ok(())
    }

    async fn cuts_for(&self, named: &str, deadline: Deadline) -> Result<Vec<Snapshot>> {
        let filter = format!("tag:{}", label::COPYING);
        let found = self.account.ec2.describe_snapshots(&filter, &[named.to_owned()], deadline).await;
        found.map_err(|refusal| refusal.while_doing("look for snapshots that were cut for a copy"))
    }
}

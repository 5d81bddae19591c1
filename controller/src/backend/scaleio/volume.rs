//! Making, removing and growing volumes.

use std::time::Duration;

use hawser_scaleio::volume::{self as sio, Volume as Found};
use hawser_scaleio::{Class, Gateways, Refusal, name};
use hawser_volume::{Bytes, Deadline, Error, Result, SizeRange, VolumeId};

use super::array::Array;
use super::place::{STEP, ScaleIoParameters, rule};
use super::{Native, ScaleIo};
use crate::provision::{Expanded, NewVolume, Source, Volume};

/// Between two looks at what is going.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is there under a name has to be, to be what is asked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    name: &'a str,
    range: SizeRange,
    pool: &'a str,
    /// `ThinProvisioned` or `ThickProvisioned`; nothing for what is cut, which is neither.
    kind: Option<&'a str>,
    source: Option<&'a str>,
}

impl Wanted<'_> {
    /// `AlreadyExists` with all in which `found` is something else.
    fn compare(&self, found: &Found) -> Result<()> {
        let mut other = Vec::new();
        if !self.range.contains(found.size()) {
            other.push(format!("has {}, and {} is asked for", found.size(), self.range));
        }
        if found.storage_pool_id != self.pool {
            other.push(format!("is in storage pool {}, not in {}", found.storage_pool_id, self.pool));
        }
        match (self.source, found.is_cut()) {
            _ if found.is_snapshot() => other.push("is a snapshot".to_owned()),
            (None, true) => other.push("has another source: it was made from a volume or a snapshot".to_owned()),
            (Some(_), false) => other.push("has another source: it was made from nothing".to_owned()),
            (Some(source), true) if found.ancestor_volume_id.as_deref() != Some(source) => {
                other.push(format!(
                    "has another source: it was made from {}, not from {source}",
                    found.ancestor_volume_id.as_deref().unwrap_or("what is gone")
                ));
            }
            _ => {}
        }
        if let Some(kind) = self.kind.filter(|kind| !found.is_cut() && found.volume_type != *kind) {
            other.push(format!("is {}, not {kind}", found.volume_type));
        }
        if other.is_empty() {
            return Ok(());
        }
        Err(Error::already_exists(format!("a volume {} is there, and {}; use another name", self.name, other.join(", "))))
    }
}

/// Whether what came of a call can only be seen by looking: it was done earlier, or nobody knows.
pub(super) fn must_look(refusal: &Refusal) -> bool {
    refusal.class() == Class::NameInUse || refusal.is_uncertain()
}

/// What was just made, or made before, under `name`. `Unavailable` when there is nothing: it was not made, or has gone again.
pub(super) async fn look(gateways: &Gateways, name: &str, last: Option<Refusal>, deadline: Deadline) -> Result<Found> {
    let found =
        gateways.volume_by_name(name, deadline).await.map_err(|refusal| refusal.while_doing(format_args!("look for {name}")))?;
    found.ok_or_else(|| match last {
        Some(refusal) if refusal.class() != Class::NameInUse => refusal.while_doing(format_args!("make {name}")),
        // The name is taken in another spelling, or its volume is going.
        _ => {
            Error::unavailable(format!("the array has the name {name} in use and no volume of it; it may be going, so try again"))
        }
    })
}

impl ScaleIo {
    pub(super) async fn create_volume(&self, new: NewVolume) -> Result<Volume> {
        let wishes = ScaleIoParameters::read(&new.parameters)?;
        let limits = wishes.limits()?;
        let made = match &new.source {
            None => self.make(&new, &wishes).await?,
            Some(source) => self.make_from(&new, &wishes, source).await?,
        };
        let mut context = new.context;
        limits.into_context(&mut context);
        Ok(Volume {
            id: self.volume_id(&made.0, &made.1.id)?,
            size: made.1.size(),
            context,
            source: new.source,
            topology: Vec::new(),
        })
    }

    async fn make(&self, new: &NewVolume, wishes: &ScaleIoParameters) -> Result<(String, Found)> {
        let deadline = new.deadline;
        let array = self.array_for(wishes, deadline).await?;
        let system = array.system(deadline).await?.id.clone();
        let size = new.range.fit(&rule(STEP, array.volume_max(deadline).await?))?;
        let pool = self.pool_for(&array, wishes, deadline).await?;
        let name = name::volume(&self.config.name_prefix, &new.name);
        let provisioning = wishes.thin_or_thick.unwrap_or(self.config.provisioning);
        let wanted = Wanted { name: &name, range: new.range, pool: &pool.id, kind: Some(provisioning.as_str()), source: None };
        let order = sio::NewVolume {
            name: name.clone(),
            size,
            pool: pool.id.clone(),
            domain: pool.protection_domain_id.clone(),
            provisioning,
        };
        let last = match array.gateways.create_volume(&order, deadline).await {
            Ok(_) => None,
            Err(refusal) if must_look(&refusal) => Some(refusal),
            Err(refusal) => return Err(refusal.while_doing(format_args!("make volume {name} of {size}"))),
        };
        let found = look(&array.gateways, &name, last, deadline).await?;
        wanted.compare(&found)?;
        Ok((system, found))
    }

    async fn make_from(&self, new: &NewVolume, wishes: &ScaleIoParameters, source: &Source) -> Result<(String, Found)> {
        let deadline = new.deadline;
        let (noun, text, is_snapshot) = match source {
            Source::Snapshot(id) => ("snapshot", id.native(), true),
            Source::Volume(id) => ("volume", id.native(), false),
        };
        let native = Native::of(noun, &self.name, text)?;
        let array = self.array(&native.system, deadline).await?;
        if wishes.system.is_some() && self.array_for(wishes, deadline).await?.system(deadline).await?.id != native.system {
            return Err(Error::invalid(format!(
                "parameters: \"systemID\" must be that of the {noun}, {}, or left out",
                native.system
            )));
        }
        if wishes.thin_or_thick == Some(hawser_scaleio::config::Provisioning::Thick) {
            return Err(Error::invalid("parameters: a volume that is made from another one is thin; leave \"thinOrThick\" out"));
        }
        let from = array.gateways.volume(&native.object, deadline).await;
        let from = from.map_err(|refusal| refusal.while_doing(format_args!("look at {noun} {native}")))?;
        let from = from
            .filter(|from| from.is_snapshot() == is_snapshot)
            .ok_or_else(|| Error::not_found(format!("{noun} {}:{text} does not exist", self.name)))?;
        if wishes.storage_pool.is_some()
            && !self.pools_for(&array, wishes, deadline).await?.iter().any(|pool| pool.id == from.storage_pool_id)
        {
            return Err(Error::invalid(format!(
                "parameters: the storage pool must be that of the {noun}, {}, or left out",
                from.storage_pool_id
            )));
        }
        let mut rule = rule(from.size(), array.volume_max(deadline).await?);
        rule.default = from.size();
        let name = name::volume(&self.config.name_prefix, &new.name);
        let wanted = Wanted { name: &name, range: new.range, pool: &from.storage_pool_id, kind: None, source: Some(&from.id) };
        let size = match new.range.fit(&rule) {
            // What was made when the source was smaller is as it was asked for.
            Err(error) => {
                let found = array.gateways.volume_by_name(&name, deadline).await;
                let found = found.map_err(|refusal| refusal.while_doing(format_args!("look for {name}")))?;
                let made = found.filter(|found| wanted.compare(found).is_ok());
                return made.map(|found| (native.system, found)).ok_or(error);
            }
            size => size?,
        };
        let cut = array.gateways.snapshot_volumes(&native.system, &[(from.id.clone(), name.clone())], true, deadline).await;
        let last = match cut {
            Ok(_) => None,
            Err(refusal) if must_look(&refusal) => Some(refusal),
            Err(refusal) if refusal.class() == Class::NotFound => {
                return Err(Error::not_found(format!("{noun} {}:{text} does not exist", self.name)));
            }
            Err(refusal) => return Err(refusal.while_doing(format_args!("make volume {name} from {noun} {native}"))),
        };
        let mut found = look(&array.gateways, &name, last, deadline).await?;
        // A call that ended between the two steps left it as large as its source was then, which may have grown since.
        let is_made = Wanted { range: SizeRange::at_least(Bytes::ZERO), ..wanted };
        is_made.compare(&found)?;
        if found.size() <= from.size() && found.size() < size {
            found = self.grow(&array, &found.id, size, deadline).await?;
        }
        wanted.compare(&found)?;
        Ok((native.system, found))
    }

    /// Makes a volume as large as `size` and looks at it.
    async fn grow(&self, array: &Array, id: &str, size: Bytes, deadline: Deadline) -> Result<Found> {
        let what = || format!("make volume {id} as large as {size}");
        let last = match array.gateways.set_volume_size(id, size.get() >> 30, deadline).await {
            Ok(()) => None,
            // Another controller may have made it larger still.
            Err(refusal) if refusal.is_uncertain() || refusal.class() == Class::Shrink => Some(refusal),
            Err(refusal) => return Err(refusal.while_doing(what())),
        };
        let found = array.gateways.volume(id, deadline).await.map_err(|refusal| refusal.while_doing(what()))?;
        let found = found.ok_or_else(|| Error::not_found(format!("volume {id} does not exist")))?;
        match last {
            _ if found.size() >= size => Ok(found),
            Some(refusal) => Err(refusal.while_doing(what())),
            None => Err(Error::unavailable(format!("{}: the array still says {}; try again", what(), found.size()))),
        }
    }

    pub(super) async fn expand_volume(&self, id: &VolumeId, range: SizeRange, deadline: Deadline) -> Result<Expanded> {
        let (array, found) = self.found(id, deadline).await?;
        let done = |size| Ok(Expanded { size, node_must_follow: true });
        if range.contains(found.size()) {
            return done(found.size());
        }
        // Smaller it cannot become, and the rule says so with the sizes that it can have.
        let size = range.fit(&rule(found.size(), array.volume_max(deadline).await?))?;
        done(self.grow(&array, &found.id, size, deadline).await?.size())
    }

    /// A volume that must exist, and its array.
    pub(super) async fn found(&self, id: &VolumeId, deadline: Deadline) -> Result<(std::sync::Arc<Array>, Found)> {
        let native = Native::of("volume", &self.name, id.native())?;
        let array = self.array(&native.system, deadline).await?;
        let found = array.gateways.volume(&native.object, deadline).await;
        let found = found.map_err(|refusal| refusal.while_doing(format_args!("look at volume {id}")))?;
        match found.filter(|found| !found.is_snapshot()) {
            Some(found) => Ok((array, found)),
            None => Err(Error::not_found(format!("volume {id} does not exist"))),
        }
    }

    pub(super) async fn delete_volume(&self, id: &VolumeId, deadline: Deadline) -> Result<()> {
        let (array, found) = match self.found(id, deadline).await {
            Err(error) if error.kind() == hawser_volume::Kind::NotFound => return Ok(()),
            found => found?,
        };
        let all = array
            .gateways
            .volumes(deadline)
            .await
            .map_err(|refusal| refusal.while_doing(format_args!("look for snapshots of {id}")))?;
        let cut = |other: &&Found| other.is_snapshot() && other.ancestor_volume_id.as_deref() == Some(&found.id);
        let snapshots: Vec<&str> = all.iter().filter(cut).map(|snapshot| snapshot.id.as_str()).collect();
        if !snapshots.is_empty() {
            return Err(Error::precondition(format!(
                "volume {id} has snapshots ({}), which would lose what they are of; remove them first",
                snapshots.join(", ")
            )));
        }
        self.remove(&array.gateways, "volume", &found, deadline).await
    }

    /// Removes a volume or snapshot, and waits until it has gone: its name is free then.
    pub(super) async fn remove(&self, gateways: &Gateways, noun: &str, found: &Found, deadline: Deadline) -> Result<()> {
        let what = || format!("remove {noun} {}", found.id);
        let held = |found: &Found| {
            let holders: Vec<String> = found.mapped_sdc_info.iter().map(sio::Mapping::describe).collect();
            Error::precondition(format!("{}: {} has it; detach it there first", what(), holders.join(", ")))
        };
        if !found.mapped_sdc_info.is_empty() {
            return Err(held(found));
        }
        match gateways.remove_volume(&found.id, deadline).await {
            Ok(()) => {}
            Err(refusal) if refusal.class() == Class::NotFound => return Ok(()),
            Err(refusal) if refusal.class() == Class::Mapped => {
                let now = gateways.volume(&found.id, deadline).await.map_err(|refusal| refusal.while_doing(what()))?;
                return now.map_or(Ok(()), |now| Err(held(&now)));
            }
            Err(refusal) if refusal.class() == Class::Removing => {}
            Err(refusal) => return Err(refusal.while_doing(what())),
        }
        while gateways.volume(&found.id, deadline).await.map_err(|refusal| refusal.while_doing(what()))?.is_some() {
            if deadline.remaining() < LOOK_EVERY {
                return Err(Error::deadline_exceeded(format!("{}: the array is still at it; the same call goes on", what())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

//! Making volumes: one for each name, whoever asks, however often.
//!
//! ```text
//! look by the name's tag ── found ─▶ wait until it is available ─▶ compare
//!   │ none                                ▲
//!   ▼                                     │ made
//! CreateVolume with token(name, n) ───────┤
//!   ▲                │ refused: token of other parameters ─▶ look by the tag until it must be listed ── found ─▶ compare
//!   └─── n + 1 ◀─────┴── its volume has gone ◀──────────────────────────────────── none
//! ```
//!
//! The token is made of the name, not of the parameters: two callers who ask under one name for different volumes must not both get
//! one, and only EC2 can decide between them. A token is used up for good, also by a volume that was deleted since or that EC2 took
//! back (a key that cannot be used); then the next number is tried. All come to the same number, as they all see the same.

mod origin;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hawser_ebs::refusal::{Class, Refusal};
use hawser_ebs::volume::{NewCopy, NewVolume as Request, Volume as Found, VolumeState};
use hawser_ebs::{Place, label};
use hawser_volume::error::shown;
use hawser_volume::id::digest;
use hawser_volume::{Bytes, Deadline, Error, Result, SizeRange};
use tokio::time::Instant;

use self::origin::Origin;
use super::kind::VolumeType;
use super::template::fields;
use super::wishes::Wishes;
use super::{Ebs, is_there};
use crate::provision::{NewVolume, Source, Volume};

/// Most tokens of one name that one call tries.
const TOKENS_MAX: u32 = 50;

/// A volume that is this old by EC2's clock, and is not listed, has gone; the clocks may differ by half of it.
const SURELY_OLD: Duration = Duration::from_secs(600);

/// A volume that is younger may have been made by this call.
const YOUNG: Duration = Duration::from_secs(60);

/// After so many young volumes that were never listed EC2 takes them back: others would have been deleted in the same minute.
const VANISHED_MAX: u32 = 3;

/// What a volume of this name must be.
#[derive(Debug)]
struct Plan {
    /// The name, for messages.
    name: String,
    /// The value of the tag that names it.
    named: String,
    wishes: Wishes,
    asked: String,
    range: SizeRange,
    source: Option<String>,
    /// Where it may be; anywhere if nothing is said.
    allowed: Option<Vec<Place>>,
    tags: BTreeMap<String, String>,
}

/// What became of a volume that EC2 began to make.
#[derive(Debug)]
enum Arrival {
    There(Box<Found>),
    /// It had gone before.
    Gone,
    /// EC2 took it back.
    TakenBack,
}

impl Ebs {
    pub(super) async fn create_volume(&self, new: NewVolume) -> Result<Volume> {
        let deadline = new.deadline;
        let plan = self.plan(&new, deadline).await?;
        let volume = self.one_of_the_name(&new, &plan, deadline).await?;
        if let (Some(Source::Volume(_)), Some(_)) = (&new.source, &volume.snapshot) {
            self.remove_cuts_for(&plan.named, deadline).await?;
        }
        plan.compare(&volume)?;
        self.volume_of(&volume)
    }

    async fn plan(&self, new: &NewVolume, deadline: Deadline) -> Result<Plan> {
        let wishes = Wishes::read(&new.parameters, &new.accesses, &fields(&new.labels), &self.config)?;
        let named = label::named(&self.config.cluster, &new.name);
        let source = new.source.as_ref().map(|source| match source {
            Source::Snapshot(id) => format!("snapshot/{}", id.native()),
            Source::Volume(id) => format!("volume/{}", id.native()),
        });
        // Who says what is the default asks for the same.
        let kind = wishes.kind.or_else(|| source.is_none().then(VolumeType::default));
        let asked = digest(&format!("{} {kind:?} {:?} {source:?}", wishes.asked, new.context));
        let mut tags = BTreeMap::from([(label::NAME.to_owned(), new.name.as_str().to_owned())]);
        tags.extend(wishes.tags.clone());
        // What only the CO knows of it, under the names that aws-ebs-csi-driver uses.
        for (key, value) in &new.labels {
            if let Some(of) = key.strip_prefix("csi.storage.k8s.io/").filter(|of| of.starts_with("pvc/") || of.starts_with("pv/"))
            {
                tags.insert(format!("kubernetes.io/created-for/{of}"), value.clone());
            }
        }
        let own = [
            (label::VOLUME.to_owned(), named.clone()),
            (label::ASKED.to_owned(), asked.clone()),
            (label::VOLUME_NAME.to_owned(), new.name.as_str().to_owned()),
            (label::MANAGED.0.to_owned(), label::MANAGED.1.to_owned()),
        ];
        tags.extend(own);
        tags.extend(wishes.proportion());
        tags.extend(source.iter().map(|source| (label::SOURCE.to_owned(), source.clone())));
        tags.extend(new.context.iter().map(|(key, value)| (format!("{}{key}", label::CONTEXT), value.clone())));
        label::count(&tags)?;
        Ok(Plan {
            name: new.name.as_str().to_owned(),
            named,
            wishes,
            asked,
            range: new.range,
            source,
            allowed: self.allowed(&new.topology, deadline).await?,
            tags,
        })
    }

    /// The volume of the name, which is made if there is none.
    async fn one_of_the_name(&self, new: &NewVolume, plan: &Plan, deadline: Deadline) -> Result<Found> {
        if let Some(found) = self.named(plan, deadline).await?
            && let Arrival::There(volume) = self.arrive_listed(found, plan, deadline).await?
        {
            return Ok(*volume);
        }
        let origin = self.origin(new, plan, deadline).await?;
        let mut places = self.places(&new.name, &plan.wishes, plan.allowed.as_deref(), deadline).await?;
        origin.restrict(&mut places);
        let size = origin.size(plan)?;
        let mut places = places.into_iter();
        let mut place = places.next().ok_or_else(|| Error::internal("there is no place to try"))?;
        let first = self.memory.first_token(&plan.named);
        let mut number = first;
        let mut vanished = 0;
        while number < first + TOKENS_MAX {
            let token = digest(&format!("{} {number}", plan.named));
            match self.send(&origin, plan, &place, size, token, deadline).await {
                Ok(made) => {
                    self.memory.belongs(&plan.named, number, &made.id);
                    // Made in this call, as far as can be known.
                    let fresh = !self.memory.has_gone(&made.id) && age(&made) < YOUNG;
                    match self.arrive(made, plan, deadline).await? {
                        Arrival::There(volume) => return Ok(*volume),
                        Arrival::Gone => vanished += u32::from(fresh),
                        Arrival::TakenBack => vanished = VANISHED_MAX,
                    }
                    if vanished >= VANISHED_MAX {
                        self.memory.burn(&plan.named, number + 1);
                        return Err(plan.taken_back());
                    }
                }
                // Nothing of a volume that has gone is waited for.
                Err(refusal) if refusal.class() == Class::TokenMismatch && self.memory.is_spent(&plan.named, number) => {}
                Err(refusal) if refusal.class() == Class::TokenMismatch => {
                    if let Some(found) = self.until_listed(plan, deadline).await?
                        && let Arrival::There(volume) = self.arrive_listed(found, plan, deadline).await?
                    {
                        return Ok(*volume);
                    }
                }
                // The volume of the token has gone. Nothing else of a new volume can be a volume that does not exist.
                Err(refusal) if refusal.code() == "InvalidVolume.NotFound" && !matches!(origin, Origin::Copy { .. }) => {}
                // EC2 looks at limits before it looks at tokens, and at sources too: it may be there all the same.
                Err(refusal) if matches!(refusal.class(), Class::Quota | Class::NotFound) => {
                    return match self.named(plan, deadline).await? {
                        Some(found) => match self.arrive_listed(found, plan, deadline).await? {
                            Arrival::There(volume) => Ok(*volume),
                            Arrival::Gone | Arrival::TakenBack => Err(plan.refused(refusal)),
                        },
                        None => Err(plan.refused(refusal)),
                    };
                }
                Err(refusal) if is_of_the_zone(&refusal) => match places.next() {
                    Some(next) => {
                        tracing::info!(volume = plan.name, zone = place.zone, %refusal, "the next zone is tried");
                        place = next;
                        continue;
                    }
                    None => return Err(plan.refused(refusal)),
                },
                Err(refusal) if is_no_zone(&refusal) => return Err(self.no_zone(plan, &place.zone)),
                Err(refusal) => return Err(plan.refused(refusal)),
            }
            number += 1;
            self.memory.burn(&plan.named, number);
        }
        Err(Error::unavailable(format!(
            "make volume {}: {TOKENS_MAX} earlier volumes of this name have gone; try again, or use another name",
            shown(&plan.name)
        )))
    }

    /// The refusal of a zone that EC2 does not know, with who names it.
    fn no_zone(&self, plan: &Plan, zone: &str) -> Error {
        let named_by = if plan.allowed.is_some() {
            "accessibility_requirements"
        } else if plan.wishes.zone.is_some() {
            "parameters: \"availabilityZone\""
        } else {
            "the backend's \"zone\" in the configuration"
        };
        Error::invalid(format!(
            "make volume {}: {named_by}: zone {} does not exist in this region",
            shown(&plan.name),
            shown(zone)
        ))
    }

    /// The volume of the name. If there are several, the one that everybody takes.
    async fn named(&self, plan: &Plan, deadline: Deadline) -> Result<Option<Found>> {
        let found = self.account.volumes_by_tag.get(&plan.named, deadline).await;
        let found = found.map_err(|refusal| refusal.while_doing(format_args!("look for volume {}", shown(&plan.name))))?;
        let mut all: Vec<Found> = found.unwrap_or_default();
        all.retain(|volume| is_there(volume) && volume.state != VolumeState::Error);
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        if all.len() > 1 {
            let ids: Vec<&str> = all.iter().map(|volume| volume.id.as_str()).collect();
            tracing::warn!(volume = plan.name, volumes = ids.join(", "), "several volumes have one name; the oldest is used");
        }
        Ok(all.into_iter().next())
    }

    /// The volume of the name, waited for as long as EC2 may take to list it.
    async fn until_listed(&self, plan: &Plan, deadline: Deadline) -> Result<Option<Found>> {
        let until = Instant::now() + self.listed_within();
        let mut pause = Duration::from_millis(200);
        loop {
            if let Some(found) = self.named(plan, deadline).await? {
                return Ok(Some(found));
            }
            if Instant::now() >= until || deadline.passed() {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// The same for a volume that is listed.
    async fn arrive_listed(&self, volume: Found, plan: &Plan, deadline: Deadline) -> Result<Arrival> {
        match volume.state {
            VolumeState::Available | VolumeState::InUse => Ok(Arrival::There(Box::new(volume))),
            _ => self.arrive(volume, plan, deadline).await,
        }
    }

    /// Waits until a volume that is being made is there, or is known not to come. What CreateVolume answered is no proof that it is:
    /// to a token that was used before, EC2 answers with the volume of then.
    async fn arrive(&self, volume: Found, plan: &Plan, deadline: Deadline) -> Result<Arrival> {
        if self.memory.has_gone(&volume.id) {
            return Ok(Arrival::Gone);
        }
        let patience = if age(&volume) > SURELY_OLD { Duration::ZERO } else { self.listed_within() };
        let mut last = Instant::now();
        let mut seen = false;
        let judge = |found: Option<&Found>| match found {
            Some(volume) => {
                (last, seen) = (Instant::now(), true);
                match volume.state {
                    VolumeState::Available | VolumeState::InUse => Some(Arrival::There(Box::new(volume.clone()))),
                    VolumeState::Deleting | VolumeState::Deleted => Some(Arrival::Gone),
                    VolumeState::Error => Some(Arrival::TakenBack),
                    VolumeState::Creating | VolumeState::Unknown => None,
                }
            }
            None if last.elapsed() < patience => None,
            None if seen => Some(Arrival::TakenBack),
            None => Some(Arrival::Gone),
        };
        let arrival = self.account.watch.until_done(&volume.id, &self.paces.create, deadline, judge).await;
        let arrival =
            arrival.map_err(|refusal| refusal.while_doing(format_args!("make volume {} ({})", shown(&plan.name), volume.id)))?;
        if !matches!(arrival, Arrival::There(_)) {
            self.memory.is_gone(&volume.id);
        }
        Ok(arrival)
    }

    async fn send(
        &self,
        origin: &Origin,
        plan: &Plan,
        place: &Place,
        size: u32,
        token: String,
        deadline: Deadline,
    ) -> Result<Found, Refusal> {
        let wishes = &plan.wishes;
        let kind = origin.kind(wishes);
        // The wish was checked when the size was decided.
        let iops = kind.and_then(|kind| wishes.operations(kind, size).ok().flatten()).or_else(|| origin.operations(wishes));
        let throughput = wishes.throughput.or_else(|| origin.throughput(wishes));
        let volume_type = Some(kind.map_or_else(|| origin.kind_name(), |kind| kind.to_string()));
        if let Origin::Copy { volume } = origin {
            let copy = NewCopy {
                client_token: token,
                source: volume.id.clone(),
                size,
                volume_type,
                iops,
                throughput,
                multi_attach: wishes.shared,
                tags: plan.tags.clone(),
            };
            return self.account.ec2.copy_volume(&copy, deadline).await;
        }
        let request = Request {
            client_token: token,
            zone: place.zone.clone(),
            size,
            volume_type,
            iops,
            throughput,
            encrypted: wishes.encrypted,
            key: wishes.key.clone(),
            multi_attach: wishes.shared,
            snapshot: origin.snapshot().map(str::to_owned),
            initialization_rate: wishes.initialization_rate.filter(|_| origin.snapshot().is_some()),
            outpost: place.outpost.as_ref().map(ToString::to_string),
            tags: plan.tags.clone(),
        };
        self.account.ec2.create_volume(&request, deadline).await
    }
}

/// How old a volume is, by EC2's clock and ours.
fn age(volume: &Found) -> Duration {
    volume.created.and_then(|created| SystemTime::now().duration_since(created).ok()).unwrap_or_default()
}

/// Whether another zone may have what this one has not.
fn is_of_the_zone(refusal: &Refusal) -> bool {
    refusal.class() == Class::Capacity || refusal.code() == "VolumeTypeNotAvailableInZone"
}

/// Whether there is no such zone.
fn is_no_zone(refusal: &Refusal) -> bool {
    matches!(refusal.code(), "InvalidZone.NotFound" | "InvalidAvailabilityZone")
}

impl Plan {
    /// Refuses a volume of the name that is not what is asked for now.
    fn compare(&self, volume: &Found) -> Result<()> {
        let other = |why: String| {
            Err(Error::already_exists(format!("volume {} is there as {}, {why}; use another name", shown(&self.name), volume.id)))
        };
        let size = Bytes::gib(volume.size);
        if !self.range.contains(size) {
            return other(format!("and has {size}, where {} is asked for", self.range));
        }
        if volume.tags.get(label::SOURCE) != self.source.as_ref() {
            let made = volume.tags.get(label::SOURCE).map_or("nothing", String::as_str);
            return other(format!("and its source is {made}, not {}", self.source.as_deref().unwrap_or("nothing")));
        }
        let asked = volume.tags.get(label::ASKED).map(String::as_str);
        if asked != Some(self.asked.as_str()) && asked != Some(label::ADOPTED) {
            return other("and was asked for with other parameters or for another use".to_owned());
        }
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|place| place.zone == volume.zone)) {
            return other(format!("in zone {}, which accessibility_requirements exclude", volume.zone));
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> Error {
        refusal.while_doing(format_args!("make volume {}", shown(&self.name)))
    }

    fn taken_back(&self) -> Error {
        let name = shown(&self.name);
        match &self.wishes.key {
            Some(key) => Error::invalid(format!(
                "make volume {name}: EC2 began and took it back, most likely because key {} cannot be used; check that it exists and is \
                 enabled, and that the credentials may use it (kms:CreateGrant, kms:GenerateDataKeyWithoutPlaintext)",
                shown(key)
            )),
            None => Error::unavailable(format!("make volume {name}: EC2 began and took it back; try again")),
        }
    }
}

/// The type by its name, for sizes and operations; a newer one is like gp3 as far as can be known.
pub(super) fn kind_of(volume: &Found) -> VolumeType {
    VolumeType::named(&volume.volume_type).unwrap_or_default()
}

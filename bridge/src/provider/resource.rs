//! Arithmetic of resources, as Mesos does it (src/common/resources.cpp, resources_utils.cpp): what an operation consumes is taken from the
//! totals, what it converts that to is added. An agent does the same with the same operation and aborts when the two differ.

use hawser_proto::mesos::v1::offer::Operation;
use hawser_proto::mesos::v1::offer::operation::Type;
use hawser_proto::mesos::v1::resource::disk_info;
use hawser_proto::mesos::v1::{Resource, ResourceProviderId, value};
use hawser_volume::{Bytes, Error, Result};

/// What something becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conversion {
    pub(super) consumed: Resource,
    pub(super) converted: Option<Resource>,
}

/// Resources that are allocated to nobody; no two of them could be one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Totals(Vec<Resource>);

impl Totals {
    /// All of them.
    pub(super) fn all(&self) -> &[Resource] {
        &self.0
    }

    /// Adds a resource, allocated or not.
    pub(super) fn add(&mut self, resource: &Resource) {
        let resource = unallocated(resource);
        match self.0.iter_mut().find(|there| is_divisible(there) && is_alike(there, &resource)) {
            Some(there) => set_amount(there, amount(there).saturating_add(amount(&resource))),
            None => self.0.push(resource),
        }
    }

    /// Whether the resource is there. `Precondition` when it is not.
    pub(super) fn check(&self, resource: &Resource) -> Result<()> {
        self.place(&unallocated(resource)).map(drop)
    }

    /// Takes a resource away. `Precondition` when it is not there, and nothing is changed.
    pub(super) fn subtract(&mut self, resource: &Resource) -> Result<()> {
        let resource = unallocated(resource);
        let place = self.place(&resource)?;
        let left = amount(&self.0[place]) - amount(&resource);
        if left > 0 {
            set_amount(&mut self.0[place], left);
        } else {
            self.0.remove(place);
        }
        Ok(())
    }

    /// Where an unallocated resource is.
    fn place(&self, resource: &Resource) -> Result<usize> {
        let wanted = amount(resource);
        let is_it = |there: &Resource| {
            is_alike(there, resource) && if is_divisible(there) { amount(there) >= wanted } else { amount(there) == wanted }
        };
        self.0
            .iter()
            .position(is_it)
            .filter(|_| wanted > 0)
            .ok_or_else(|| Error::precondition(format!("{} is not among what this provider has", described(resource))))
    }

    /// Takes away space of the kinds that are not `wanted`.
    pub(super) fn retain_space(&mut self, wanted: impl Fn(&disk_info::Source) -> bool) {
        self.0.retain(|there| source(there).is_none_or(|source| source.id.is_some() || wanted(source)));
    }

    /// Sees to it that there is this much space like `space`, whoever has reserved parts of it. What is reserved otherwise than `space` is
    /// stays so; only the rest is more or less.
    pub(super) fn set_space(&mut self, space: &Resource, wanted: value::Scalar) {
        let profile = |resource: &Resource| source(resource).and_then(|source| source.profile.clone());
        let is_space = |there: &&Resource| disk_id(there).is_none() && profile(there) == profile(space);
        let others: i64 = self.0.iter().filter(is_space).filter(|there| !is_alike(there, space)).map(amount).sum();
        let rest = amount(&Resource { scalar: Some(wanted), ..space.clone() }).saturating_sub(others);
        // In its place: the same resources in another order would look like a change, and each change takes back all offers.
        match self.0.iter().position(|there| is_alike(there, space)) {
            Some(place) if rest > 0 => set_amount(&mut self.0[place], rest),
            Some(place) => drop(self.0.remove(place)),
            None if rest > 0 => {
                let mut space = unallocated(space);
                set_amount(&mut space, rest);
                self.0.push(space);
            }
            None => {}
        }
    }

    /// Does all of `conversions`, or none.
    pub(super) fn apply(&mut self, conversions: &[Conversion]) -> Result<()> {
        if let [conversion] = conversions {
            // Nothing is changed when the first step fails, and the second one cannot. With many disks a copy is not cheap.
            self.subtract(&conversion.consumed)?;
            conversion.converted.iter().for_each(|converted| self.add(converted));
            return Ok(());
        }
        let mut after = self.clone();
        for conversion in conversions {
            after.subtract(&conversion.consumed)?;
            conversion.converted.iter().for_each(|converted| after.add(converted));
        }
        *self = after;
        Ok(())
    }
}

/// What the four operations do that agent and master have done already when they ask for them. `Invalid` when the operation is another
/// one or says what no valid one says.
pub(super) fn conversions(info: &Operation) -> Result<Vec<Conversion>> {
    let pair = |consumed: Resource, converted: Resource| Conversion { consumed, converted: Some(converted) };
    let lacks = |what: &str| Error::invalid(format!("the operation has no {what}"));
    Ok(match info.r#type() {
        Type::Reserve => {
            let reserve = info.reserve.as_ref().ok_or_else(|| lacks("reserve"))?;
            if reserve.source.is_empty() {
                let each = reserve.resources.iter().map(|after| Ok(pair(less_reserved(after)?, after.clone())));
                each.collect::<Result<_>>()?
            } else if reserve.source.len() == reserve.resources.len() {
                reserve.source.iter().cloned().zip(reserve.resources.iter().cloned()).map(|(from, to)| pair(from, to)).collect()
            } else {
                return Err(Error::invalid("reserve.source and reserve.resources are not of the same number"));
            }
        }
        Type::Unreserve => {
            let unreserve = info.unreserve.as_ref().ok_or_else(|| lacks("unreserve"))?;
            let each = unreserve.resources.iter().map(|before| Ok(pair(before.clone(), less_reserved(before)?)));
            each.collect::<Result<_>>()?
        }
        Type::Create => {
            let create = info.create.as_ref().ok_or_else(|| lacks("create"))?;
            create.volumes.iter().map(|volume| pair(not_persistent(volume), volume.clone())).collect()
        }
        Type::Destroy => {
            let destroy = info.destroy.as_ref().ok_or_else(|| lacks("destroy"))?;
            destroy.volumes.iter().map(|volume| pair(volume.clone(), not_persistent(volume))).collect()
        }
        other => return Err(Error::invalid(format!("{} is no operation on reservations or volumes", other.as_str_name()))),
    })
}

/// The disk's source, if it is one of a provider.
pub(super) fn source(resource: &Resource) -> Option<&disk_info::Source> {
    resource.disk.as_ref()?.source.as_ref()
}

/// The id of the disk; space has none.
pub(super) fn disk_id(resource: &Resource) -> Option<&str> {
    source(resource)?.id.as_deref()
}

/// The same resource with another source.
pub(super) fn with_source(resource: &Resource, source: disk_info::Source) -> Resource {
    let mut resource = resource.clone();
    resource.disk.get_or_insert_default().source = Some(source);
    resource
}

/// Refuses resources that are another provider's.
pub(super) fn check_owner(resource: &Resource, provider: &str) -> Result<()> {
    match &resource.provider_id {
        Some(ResourceProviderId { value }) if value == provider => Ok(()),
        _ => Err(Error::invalid(format!("{} is not of this provider", described(resource)))),
    }
}

/// Its size. Disks are counted in MiB, and Mesos counts in thousandths; of a part of a MiB nothing can be made.
pub(super) fn size(resource: &Resource) -> Result<Bytes> {
    let thousandths = amount(resource);
    match u64::try_from(thousandths) {
        Ok(amount) if amount > 0 && amount % 1000 == 0 => Ok(Bytes::new((amount / 1000) << 20)),
        _ => Err(Error::invalid(format!("{} has no size in whole MiB", described(resource)))),
    }
}

/// The scalar for a size; what is not a whole MiB is left out.
pub(super) fn mebibytes(size: Bytes) -> value::Scalar {
    #[expect(clippy::cast_precision_loss, reason = "2^52 MiB are more than a volume can have")]
    let value = (size.get() >> 20) as f64;
    value::Scalar { value }
}

/// What it is, for messages.
pub(super) fn described(resource: &Resource) -> String {
    let size = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
    let reserved: Vec<&str> = resource.reservations.iter().filter_map(|step| step.role.as_deref()).collect();
    let reserved = reserved.last().map_or_else(String::new, |role| format!(" reserved for {role}"));
    match source(resource) {
        Some(source) => {
            let name = source.id.as_deref().or(source.profile.as_deref()).unwrap_or("without a profile");
            format!("{} disk {name} of {size} MiB{reserved}", source.r#type().as_str_name())
        }
        None => format!("{} of {size}{reserved}", resource.name),
    }
}

/// How much of it there is, in thousandths.
fn amount(resource: &Resource) -> i64 {
    let value = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
    #[expect(clippy::cast_possible_truncation, reason = "`as` gives the nearest there is, and nothing for what is no number")]
    let thousandths = (value * 1000.0).round() as i64;
    thousandths
}

fn set_amount(resource: &mut Resource, thousandths: i64) {
    #[expect(clippy::cast_precision_loss, reason = "Mesos counts in doubles")]
    let value = thousandths as f64 / 1000.0;
    resource.scalar = Some(value::Scalar { value });
}

/// Whether a part of it is of the same kind: space from which disks can be made is, a disk is not (`isExclusive`).
fn is_divisible(resource: &Resource) -> bool {
    source(resource).is_none_or(|source| source.r#type() == disk_info::source::Type::Raw && source.id.is_none())
        && resource.disk.as_ref().is_none_or(|disk| disk.persistence.is_none())
}

/// Whether both are the same in everything but how much there is.
fn is_alike(one: &Resource, other: &Resource) -> bool {
    let shape = |resource: &Resource| Resource { scalar: None, ..resource.clone() };
    disk_id(one) == disk_id(other) && shape(one) == shape(other)
}

fn unallocated(resource: &Resource) -> Resource {
    Resource { allocation_info: None, ..resource.clone() }
}

/// Without its innermost reservation.
fn less_reserved(resource: &Resource) -> Result<Resource> {
    let mut resource = resource.clone();
    match resource.reservations.pop() {
        Some(_) => Ok(resource),
        None => Err(Error::invalid(format!("{} is not reserved", described(&resource)))),
    }
}

/// What a persistent volume is made of.
fn not_persistent(volume: &Resource) -> Resource {
    let mut resource = Resource { shared: None, ..volume.clone() };
    if let Some(disk) = &mut resource.disk {
        disk.persistence = None;
        disk.volume = None;
    }
    resource
}

#[cfg(test)]
mod tests;

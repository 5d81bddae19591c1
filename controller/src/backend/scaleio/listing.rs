//! What there is, how it is, and how much more there can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_scaleio::sdc::Sdc;
use hawser_scaleio::volume::Volume as Found;
use hawser_volume::{Bytes, Deadline, Error, Result, VolumeId};

use super::array::Array;
use super::place::{STEP, ScaleIoParameters};
use super::{Native, ScaleIo};
use crate::provision::{Capacity, CapacityQuery, Page, Volume, VolumeStatus};

/// What the array says of its parts, by which volumes are judged.
struct Look {
    sdcs: Vec<Sdc>,
    /// What is wrong with a pool, by its id.
    pools: BTreeMap<String, String>,
}

impl Look {
    async fn at(array: &Array, deadline: Deadline) -> Result<Self> {
        let told = |refusal: hawser_scaleio::Refusal| refusal.while_doing("look at the array");
        let gateways = &array.gateways;
        let sdcs = gateways.sdcs(deadline).await.map_err(told)?;
        let domains = gateways.domains(deadline).await.map_err(told)?;
        let mut pools = BTreeMap::new();
        for pool in gateways.pools(deadline).await.map_err(told)? {
            let name = pool.name.as_deref().unwrap_or(&pool.id);
            let domain = domains.iter().find(|domain| domain.id == pool.protection_domain_id);
            let state = domain.and_then(|domain| domain.protection_domain_state.as_deref()).filter(|state| *state != "Active");
            let trouble = match state {
                Some(state) => Some(format!("the protection domain is {state}")),
                None => gateways.pool_statistics(&pool.id, deadline).await.map_err(told)?.trouble(),
            };
            if let Some(trouble) = trouble {
                pools.insert(pool.id.clone(), format!("storage pool {name}: {trouble}"));
            }
        }
        Ok(Self { sdcs, pools })
    }

    /// What is wrong with a volume, if something is.
    fn trouble(&self, found: &Found) -> Option<String> {
        if let Some(trouble) = self.pools.get(&found.storage_pool_id) {
            return Some(trouble.clone());
        }
        let lost =
            |mapping: &&hawser_scaleio::volume::Mapping| self.sdcs.iter().any(|sdc| sdc.id == mapping.sdc_id && sdc.is_lost());
        let lost = found.mapped_sdc_info.iter().find(lost)?;
        Some(format!("the array has lost {}, which has the volume", lost.describe()))
    }
}

/// A page of what is sorted by its id.
pub(super) fn page<T>(mut all: Vec<(Native, T)>, after: Option<&str>, max: usize) -> Result<Page<(Native, T)>> {
    let after = match after {
        None => None,
        Some(text) => {
            let wrong = || Error::bad_token(format!("starting_token {text:?} is not one of ours; start over"));
            Some(Native::parse(text).ok_or_else(wrong)?)
        }
    };
    all.retain(|(native, _)| after.as_ref().is_none_or(|after| native > after));
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let more = all.len() > max;
    all.truncate(max);
    let next = if more { all.last().map(|(native, _)| native.to_string()) } else { None };
    Ok(Page { items: all, next })
}

impl ScaleIo {
    fn status(&self, system: &str, found: &Found, look: &Look) -> Result<VolumeStatus> {
        let volume = Volume {
            id: self.volume_id(system, &found.id)?,
            size: found.size(),
            context: BTreeMap::new(),
            // What it was cut from may have gone, and the array then names what that was cut from.
            source: None,
            topology: Vec::new(),
        };
        let nodes = found.mapped_sdc_info.iter().map(|mapping| self.node_of(mapping, &look.sdcs)).collect::<Result<_>>()?;
        Ok(VolumeStatus { volume, nodes, trouble: look.trouble(found) })
    }

    pub(super) async fn volume_status(&self, id: &VolumeId, deadline: Deadline) -> Result<VolumeStatus> {
        let (array, found) = self.found(id, deadline).await?;
        let look = Look::at(&array, deadline).await?;
        self.status(&array.system(deadline).await?.id, &found, &look)
    }

    /// All volumes and snapshots of all systems that can be on a page after `after`, each once: two entries of the configuration may
    /// be one system.
    pub(super) async fn everything(&self, deadline: Deadline) -> Result<Vec<(Native, Arc<Array>, Found)>> {
        let mut all: BTreeMap<Native, (Arc<Array>, Found)> = BTreeMap::new();
        for array in &self.arrays {
            let system = array.system(deadline).await?.id.clone();
            let volumes = array
                .gateways
                .volumes(deadline)
                .await
                .map_err(|refusal| refusal.while_doing(format_args!("list system {system}")))?;
            for found in volumes {
                all.insert(Native { system: system.clone(), object: found.id.clone() }, (Arc::clone(array), found));
            }
        }
        Ok(all.into_iter().map(|(native, (array, found))| (native, array, found)).collect())
    }

    pub(super) async fn list_volumes(&self, after: Option<&str>, max: usize, deadline: Deadline) -> Result<Page<VolumeStatus>> {
        let all = self.everything(deadline).await?;
        let volumes = all.into_iter().filter(|(_, _, found)| !found.is_snapshot());
        let page = page(volumes.map(|(native, array, found)| (native, (array, found))).collect(), after, max)?;
        let mut looks: BTreeMap<String, Look> = BTreeMap::new();
        let mut items = Vec::new();
        for (native, (array, found)) in page.items {
            if !looks.contains_key(&native.system) {
                looks.insert(native.system.clone(), Look::at(&array, deadline).await?);
            }
            items.push(self.status(&native.system, &found, &looks[&native.system])?);
        }
        Ok(Page { items, next: page.next })
    }

    pub(super) async fn free(&self, query: &CapacityQuery, deadline: Deadline) -> Result<Capacity> {
        let wishes = ScaleIoParameters::read(&query.parameters)?;
        wishes.limits()?;
        let array = self.array_for(&wishes, deadline).await?;
        let mut available = Bytes::ZERO;
        for pool in self.pools_for(&array, &wishes, deadline).await? {
            if !self.is_allowed(&pool, &wishes) {
                continue;
            }
            let told = array.gateways.pool_statistics(&pool.id, deadline).await;
            let told = told.map_err(|refusal| refusal.while_doing(format_args!("ask pool {} for its capacity", pool.id)))?;
            let free =
                told.available().ok_or_else(|| Error::unavailable(format!("pool {} does not say what it has left", pool.id)))?;
            available = available.saturating_add(free);
        }
        let max = array.volume_max(deadline).await?;
        Ok(Capacity { available, min_volume: Some(STEP), max_volume: Some(max) })
    }
}

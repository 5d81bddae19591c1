//! Parameters of a volume, and where it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_scaleio::config::Provisioning;
use hawser_scaleio::pool::{ProtectionDomain, StoragePool};
use hawser_volume::{Bytes, Deadline, Error, Result, SizeRule, parameters};
use serde::Deserialize;

use super::ScaleIo;
use super::array::Array;

/// Every size is a multiple of it ("Volume size must be in 8 GB blocks", error 225).
pub(super) const STEP: Bytes = Bytes::gib(8);

/// The size of a volume for which none is asked: that of csi-powerflex and REX-Ray.
const DEFAULT: Bytes = Bytes::gib(16);

/// The keys of the limits, in parameters and in the volume context.
pub(super) const BANDWIDTH: &str = "bandwidthLimitInKbps";
pub(super) const IOPS: &str = "iopsLimit";

/// Fewest operations a second that the array bounds to.
const IOPS_MIN: u64 = 11;

/// Parameters of a StorageClass, profile or task for a ScaleIO backend, under the names of csi-powerflex and of REX-Ray.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ScaleIoParameters {
    /// The storage pool, by id or name.
    #[serde(alias = "storagePoolName", alias = "storagePoolID", alias = "type")]
    pub(super) storage_pool: Option<String>,
    /// Its protection domain, by id or name.
    #[serde(alias = "protectionDomainName", alias = "protectionDomainID", alias = "availabilityZone")]
    protection_domain: Option<String>,
    /// The system, by id or name.
    #[serde(rename = "systemID", alias = "systemName", alias = "system")]
    pub(super) system: Option<String>,
    /// KiB a second that a node may have of it.
    #[serde(rename = "bandwidthLimitInKbps")]
    bandwidth: Option<u64>,
    /// Operations a second that a node may have of it.
    iops_limit: Option<u64>,
    /// `ThinProvisioned` or `ThickProvisioned`.
    #[serde(alias = "provisioning")]
    pub(super) thin_or_thick: Option<Provisioning>,
    /// Also in a pool that does not write zeros first.
    unpadded_pool: Option<bool>,
}

/// What a node may have of a volume; zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub(super) kbps: u64,
    pub(super) iops: u64,
}

impl Limits {
    fn new(kbps: Option<u64>, iops: Option<u64>) -> Result<Self> {
        let limits = Self { kbps: kbps.unwrap_or_default(), iops: iops.unwrap_or_default() };
        // The array counts it in MiB.
        if !limits.kbps.is_multiple_of(1024) {
            let down = limits.kbps / 1024 * 1024;
            return Err(Error::invalid(format!(
                "{BANDWIDTH} is {}; it must be a multiple of 1024, such as {}",
                limits.kbps,
                down + 1024
            )));
        }
        if (1..IOPS_MIN).contains(&limits.iops) {
            return Err(Error::invalid(format!("{IOPS} is {}; it must be at least {IOPS_MIN}, or 0 for no limit", limits.iops)));
        }
        Ok(limits)
    }

    /// What the volume's creator said.
    pub(super) fn of_context(context: &BTreeMap<String, String>) -> Result<Self> {
        let read = |key: &str| match context.get(key) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Error::invalid(format!("volume_context: {key} is {text:?}, which is no number"))),
        };
        Self::new(read(BANDWIDTH)?, read(IOPS)?).map_err(|error| error.while_doing("volume_context"))
    }

    pub(super) fn into_context(self, context: &mut BTreeMap<String, String>) {
        for (key, value) in [(BANDWIDTH, self.kbps), (IOPS, self.iops)] {
            if value > 0 {
                context.insert(key.to_owned(), value.to_string());
            }
        }
    }
}

impl ScaleIoParameters {
    pub(super) fn read(parameters: &BTreeMap<String, String>) -> Result<Self> {
        parameters::read("parameters", parameters)
    }

    pub(super) fn limits(&self) -> Result<Limits> {
        Limits::new(self.bandwidth, self.iops_limit).map_err(|error| error.while_doing("parameters"))
    }
}

/// The sizes that a system makes, the smallest being `min`.
pub(super) fn rule(min: Bytes, max: Bytes) -> SizeRule {
    SizeRule { default: DEFAULT, min: min.max(STEP), max, step: STEP }
}

impl ScaleIo {
    /// The array that the parameters ask for.
    pub(super) async fn array_for(&self, wishes: &ScaleIoParameters, deadline: Deadline) -> Result<Arc<Array>> {
        match &wishes.system {
            // What they name wrongly can only be mended there.
            Some(wanted) => self.array(wanted, deadline).await.map_err(|error| match error.kind() {
                hawser_volume::Kind::Precondition => {
                    error.with_kind(hawser_volume::Kind::Invalid).while_doing("parameters: \"systemID\"")
                }
                _ => error,
            }),
            None => self.arrays.first().cloned().ok_or_else(|| Error::internal("a backend without systems")),
        }
    }

    /// The pools that the parameters, or else the configuration, allow; one, if they name one.
    pub(super) async fn pools_for(
        &self,
        array: &Array,
        wishes: &ScaleIoParameters,
        deadline: Deadline,
    ) -> Result<Vec<StoragePool>> {
        let told = |refusal: hawser_scaleio::Refusal| refusal.while_doing("find the storage pool");
        let pools = array.gateways.pools(deadline).await.map_err(told)?;
        let domains = array.gateways.domains(deadline).await.map_err(told)?;
        // A domain that is named goes with a pool that is named in the same place.
        let (pool, domain) = match (&wishes.storage_pool, &wishes.protection_domain) {
            (None, None) => (array.config.storage_pool.as_deref(), array.config.protection_domain.as_deref()),
            (Some(pool), None) => (Some(pool.as_str()), array.config.protection_domain.as_deref()),
            (pool, Some(domain)) => (pool.as_deref().or(array.config.storage_pool.as_deref()), Some(domain.as_str())),
        };
        let domain = domain.map(|wanted| self.domain(&domains, wanted)).transpose()?;
        let fits = |candidate: &StoragePool| {
            domain.is_none_or(|domain| candidate.protection_domain_id == domain.id)
                && pool
                    .is_none_or(|wanted| candidate.id.eq_ignore_ascii_case(wanted) || candidate.name.as_deref() == Some(wanted))
        };
        let (found, others): (Vec<_>, Vec<_>) = pools.into_iter().partition(fits);
        match (pool, found.len()) {
            (Some(wanted), 0) => Err(Error::invalid(format!(
                "storage pool {wanted:?} does not exist{}; there are {}",
                domain
                    .map(|domain| format!(" in protection domain {}", domain.name.as_deref().unwrap_or(&domain.id)))
                    .unwrap_or_default(),
                names(&others, &domains)
            ))),
            (Some(wanted), 2..) => Err(Error::invalid(format!(
                "there are several storage pools {wanted:?}: {}; say which with \"protectiondomain\"",
                names(&found, &domains)
            ))),
            _ => Ok(found),
        }
    }

    /// The pool of a new volume: one that shows no old data, unless that is allowed.
    pub(super) async fn pool_for(&self, array: &Array, wishes: &ScaleIoParameters, deadline: Deadline) -> Result<StoragePool> {
        let mut pools = self.pools_for(array, wishes, deadline).await?;
        let pool = match (pools.pop(), pools.len()) {
            (Some(pool), 0) => pool,
            (None, _) => return Err(Error::invalid("the system has no storage pool")),
            _ => {
                let why =
                    "parameters: \"storagepool\" is required, as the system has several and the backend has no `storage-pool`";
                return Err(Error::invalid(why));
            }
        };
        if !self.is_allowed(&pool, wishes) {
            return Err(Error::invalid(format!(
                "storage pool {} does not write zeros first, so a new volume would show what was there before: turn zero padding on, or \
                 allow it with the parameter \"unpaddedPool\" or `unpadded-pools` of the backend",
                pool.name.as_deref().unwrap_or(&pool.id)
            )));
        }
        Ok(pool)
    }

    /// Whether volumes are made in the pool. One that does not say what it does is taken for one that does not.
    pub(super) fn is_allowed(&self, pool: &StoragePool, wishes: &ScaleIoParameters) -> bool {
        pool.zero_padding_enabled == Some(true) || wishes.unpadded_pool.unwrap_or(self.config.unpadded_pools)
    }

    fn domain<'a>(&self, domains: &'a [ProtectionDomain], wanted: &str) -> Result<&'a ProtectionDomain> {
        domains.iter().find(|domain| domain.id.eq_ignore_ascii_case(wanted) || domain.name.as_deref() == Some(wanted)).ok_or_else(
            || {
                let all: Vec<&str> = domains.iter().map(|domain| domain.name.as_deref().unwrap_or(&domain.id)).collect();
                Error::invalid(format!("protection domain {wanted:?} does not exist; there are {}", all.join(", ")))
            },
        )
    }
}

fn names(pools: &[StoragePool], domains: &[ProtectionDomain]) -> String {
    let name = |pool: &StoragePool| {
        let domain =
            domains.iter().find(|domain| domain.id == pool.protection_domain_id).and_then(|domain| domain.name.as_deref());
        format!("{} of {}", pool.name.as_deref().unwrap_or(&pool.id), domain.unwrap_or(&pool.protection_domain_id))
    };
    if pools.is_empty() { "none".to_owned() } else { pools.iter().map(name).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use hawser_volume::SizeRange;
    use proptest::prelude::*;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ScaleIoParameters> {
        ScaleIoParameters::read(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_names_of_both_predecessors_are_read() {
        let theirs = read(&[
            ("storagepool", "p"),
            ("protectiondomain", "d"),
            ("systemID", "s"),
            ("bandwidthLimitInKbps", "2048"),
            ("iopsLimit", "11"),
        ])
        .unwrap();
        assert_eq!(
            (theirs.storage_pool.as_deref(), theirs.protection_domain.as_deref(), theirs.system.as_deref()),
            (Some("p"), Some("d"), Some("s"))
        );
        assert_eq!(theirs.limits().unwrap(), Limits { kbps: 2048, iops: 11 });
        let older = read(&[
            ("storagePoolName", "p"),
            ("protectionDomainID", "d"),
            ("systemName", "s"),
            ("thinOrThick", "ThickProvisioned"),
        ])
        .unwrap();
        assert_eq!((older.storage_pool.as_deref(), older.thin_or_thick), (Some("p"), Some(Provisioning::Thick)));
        assert_eq!(read(&[("type", "p"), ("availabilityZone", "d")]).unwrap().protection_domain.as_deref(), Some("d"));
        for wrong in [
            [("storagePoolName", "a"), ("storagePoolID", "b")],
            [("iopsLimit", "many"), ("type", "p")],
            [("zzz", "1"), ("type", "p")],
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
        for wrong in [("iopsLimit", "10"), ("bandwidthLimitInKbps", "1000")] {
            assert!(read(&[wrong]).unwrap().limits().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_size_is_what_was_asked_or_refused(required in 0_i64..1 << 52, room in prop_oneof![Just(None), (0_i64..1 << 36).prop_map(Some)]) {
            let range = SizeRange::new(required, room.map_or(0, |room| required + room)).unwrap();
            match range.fit(&rule(STEP, Bytes::gib(1 << 20))) {
                Ok(size) => prop_assert!(range.contains(size) && size >= STEP && size.get() % STEP.get() == 0),
                Err(error) => prop_assert!(error.kind() == hawser_volume::Kind::OutOfRange && error.to_string().contains("nearest: ")),
            }
        }

        #[test]
        fn limits_survive_the_context(mib in 0_u64..1 << 20, iops in prop_oneof![Just(0), 11_u64..1 << 30]) {
            let limits = Limits { kbps: mib * 1024, iops };
            let mut context = BTreeMap::new();
            limits.into_context(&mut context);
            prop_assert_eq!(Limits::of_context(&context).unwrap(), limits);
        }
    }
}

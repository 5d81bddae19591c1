//! Storage pools and their protection domains.

use hawser_volume::{Bytes, Deadline};
use serde::Deserialize;

use crate::client::{Call, Gateways};
use crate::number;
use crate::refusal::Refusal;

/// A protection domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProtectionDomain {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "number::text")]
    pub name: Option<String>,
    /// `Active`, or why its volumes cannot be used.
    #[serde(default, deserialize_with = "number::text")]
    pub protection_domain_state: Option<String>,
}

/// A storage pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoragePool {
    /// Its id.
    pub id: String,
    /// Its name. Two domains may each have one of it.
    #[serde(default, deserialize_with = "number::text")]
    pub name: Option<String>,
    /// Its protection domain.
    #[serde(default)]
    pub protection_domain_id: String,
    /// Whether a new volume shows zeros rather than what was there before.
    #[serde(default, deserialize_with = "number::truth")]
    pub zero_padding_enabled: Option<bool>,
}

/// What a pool says of itself, as far as this release of the array says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolStatistics {
    #[serde(deserialize_with = "number::some")]
    capacity_available_for_volume_allocation_in_kb: Option<u64>,
    #[serde(deserialize_with = "number::or_zero")]
    failed_capacity_in_kb: u64,
    #[serde(deserialize_with = "number::or_zero")]
    degraded_failed_capacity_in_kb: u64,
    #[serde(deserialize_with = "number::or_zero")]
    degraded_healthy_capacity_in_kb: u64,
}

impl PoolStatistics {
    /// What new volumes can have together; nothing when the array does not say.
    pub fn available(&self) -> Option<Bytes> {
        self.capacity_available_for_volume_allocation_in_kb.map(|kib| Bytes::new(kib.saturating_mul(1024)))
    }

    /// What is wrong with the pool's data, if something is.
    pub fn trouble(&self) -> Option<String> {
        match (self.failed_capacity_in_kb, self.degraded_failed_capacity_in_kb.max(self.degraded_healthy_capacity_in_kb)) {
            (0, 0) => None,
            (0, degraded) => Some(format!("{} have lost one of their two copies", Bytes::new(degraded.saturating_mul(1024)))),
            (failed, _) => Some(format!("{} cannot be read", Bytes::new(failed.saturating_mul(1024)))),
        }
    }
}

impl Gateways {
    /// All storage pools of the system.
    pub async fn pools(&self, deadline: Deadline) -> Result<Vec<StoragePool>, Refusal> {
        self.call(&Call::get("listPools", "/api/types/StoragePool/instances"), deadline).await
    }

    /// All protection domains of the system.
    pub async fn domains(&self, deadline: Deadline) -> Result<Vec<ProtectionDomain>, Refusal> {
        self.call(&Call::get("listDomains", "/api/types/ProtectionDomain/instances"), deadline).await
    }

    /// What a pool says of itself. All of it is asked for: which words can be asked for one by one changes from release to release.
    pub async fn pool_statistics(&self, id: &str, deadline: Deadline) -> Result<PoolStatistics, Refusal> {
        let path = format!("/api/instances/StoragePool::{id}/relationships/Statistics");
        self.call(&Call::get("getPoolStatistics", path), deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_data_is_told_before_degraded() {
        let read = |text: &str| serde_json::from_str::<PoolStatistics>(text).unwrap();
        assert_eq!(read("{}").trouble(), None);
        assert_eq!(
            read(r#"{"failedCapacityInKb":0,"degradedHealthyCapacityInKb":"1024"}"#).trouble().unwrap(),
            "1MiB have lost one of their two copies"
        );
        assert_eq!(
            read(r#"{"failedCapacityInKb":2048,"degradedFailedCapacityInKb":1}"#).trouble().unwrap(),
            "2MiB cannot be read"
        );
        assert_eq!(read(r#"{"capacityAvailableForVolumeAllocationInKb":8388608}"#).available(), Some(Bytes::gib(8)));
        assert_eq!(read("{}").available(), None);
    }
}

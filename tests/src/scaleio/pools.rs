//! Storage pools.

use serde_json::{Value, json};

use super::door::Done;
use super::object::{Wanted, as_before, links, selected};
use super::refused::Refused;
use super::world::World;

/// Each action with the keys of its request and the fields of the pool that they become.
const SETTERS: [(&str, &[(&str, &str)]); 18] = [
    ("setStoragePoolName", &[("name", "name")]),
    ("setChecksumEnabled", &[("checksumEnabled", "checksumEnabled")]),
    ("modifyCompressionMethod", &[("compressionMethod", "compressionMethod")]),
    ("setExternalAccelerationType", &[("externalAccelerationType", "externalAccelerationType")]),
    ("setMediaType", &[("mediaType", "mediaType")]),
    ("setRebalanceEnabled", &[("rebalanceEnabled", "rebalanceEnabled")]),
    ("setRebuildEnabled", &[("rebuildEnabled", "rebuildEnabled")]),
    ("setSparePercentage", &[("sparePercentage", "sparePercentage")]),
    ("setUseRmcache", &[("useRmcache", "useRmcache")]),
    ("setZeroPaddingPolicy", &[("zeroPadEnabled", "zeroPaddingEnabled")]),
    ("setReplicationJournalCapacity", &[("replicationJournalCapacityMaxRatio", "replicationCapacityMaxRatio")]),
    (
        "setCapacityAlertThresholds",
        &[
            ("capacityAlertHighThresholdPercent", "capacityAlertHighThreshold"),
            ("capacityAlertCriticalThresholdPercent", "capacityAlertCriticalThreshold"),
        ],
    ),
    ("setProtectedMaintenanceModeIoPriorityPolicy", &[("policy", "protectedMaintenanceModeIoPriorityPolicy")]),
    ("setVTreeMigrationIoPriorityPolicy", &[("policy", "vtreeMigrationIoPriorityPolicy")]),
    ("setRebalanceIoPriorityPolicy", &[("policy", "rebalanceIoPriorityPolicy")]),
    ("setRmcacheWriteHandlingMode", &[("rmcacheWriteHandlingMode", "rmcacheWriteHandlingMode")]),
    ("setRebuildRebalanceParallelism", &[("limit", "numOfParallelRebuildRebalanceJobsPerDevice")]),
    (
        "modifyPersistentChecksum",
        &[("builderLimitInKb", "persistentChecksumBuilderLimitKb"), ("validateOnRead", "persistentChecksumValidateOnRead")],
    ),
];

/// Actions that say everything by their name.
const SWITCHES: [(&str, &str, bool); 6] = [
    ("enableRfcache", "useRfcache", true),
    ("disableRfcache", "useRfcache", false),
    ("enablePersistentChecksum", "persistentChecksumEnabled", true),
    ("disablePersistentChecksum", "persistentChecksumEnabled", false),
    ("enableFragmentation", "fragmentationEnabled", true),
    ("disableFragmentation", "fragmentationEnabled", false),
];

impl World {
    /// A storage pool that writes zeros.
    pub fn pool(&mut self, domain: &str, name: &str) -> String {
        let id = self.id("f");
        let parents = [("protectionDomainId", "ProtectionDomain", domain)];
        let shown = json!({
            "id": id, "name": name, "protectionDomainId": domain, "mediaType": "SSD", "dataLayout": "MediumGranularity",
            "zeroPaddingEnabled": true, "sparePercentage": 10, "checksumEnabled": false, "compressionMethod": "None",
            "externalAccelerationType": "None", "useRmcache": false, "useRfcache": false, "rebalanceEnabled": true, "rebuildEnabled": true,
            "capacityAlertHighThreshold": 80, "capacityAlertCriticalThreshold": 90, "replicationCapacityMaxRatio": 36,
            "protectedMaintenanceModeIoPriorityPolicy": "limitNumOfConcurrentIos", "vtreeMigrationIoPriorityPolicy": "favorAppIos",
            "rebalanceIoPriorityPolicy": "favorAppIos", "rmcacheWriteHandlingMode": "Cached", "fragmentationEnabled": true,
            "numOfParallelRebuildRebalanceJobsPerDevice": 2, "persistentChecksumEnabled": true, "persistentChecksumBuilderLimitKb": 3072,
            "persistentChecksumValidateOnRead": false, "fglAccpId": null, "genType": "Mirroring",
            "links": links("StoragePool", &id, &["Statistics", "Volume", "Device", "SpSds"], &parents),
        });
        self.pools.insert(id.clone(), shown);
        id
    }

    pub(crate) fn create_pool(&mut self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let domain = wanted.must("protectionDomainId")?;
        if !self.domains.contains_key(domain) {
            return Err(Refused::no_domain());
        }
        let name = wanted.text("name").unwrap_or("pool");
        if self.pools.values().any(|pool| pool["name"] == name && pool["protectionDomainId"] == domain) {
            return Err(Refused::bad("Storage Pool name already in use"));
        }
        let id = self.pool(domain, name);
        for key in
            ["mediaType", "dataLayout", "zeroPaddingEnabled", "sparePercentage", "checksumEnabled", "useRmcache", "useRfcache"]
        {
            if wanted.has(key) {
                let value = as_before(&self.pools[&id][key], wanted, key)?;
                self.pools.get_mut(&id).unwrap()[key] = value;
            }
        }
        Ok(json!({ "id": id }))
    }

    pub(crate) fn act_on_pool(&mut self, post: bool, id: &str, rest: &[&str], wanted: Wanted<'_>) -> Done {
        if !self.pools.contains_key(id) {
            return Done::Refused(Refused::no_pool());
        }
        match (post, rest) {
            (false, []) => Done::Said(self.pools[id].clone()),
            (false, ["relationships", "Volume"]) => Done::Said(
                self.volumes.values().filter(|volume| volume.pool == id).map(|volume| self.show_volume(volume)).collect(),
            ),
            (false, ["relationships", "Statistics"]) => Done::Said(self.pool_statistics(id)),
            (false, ["relationships", "Device" | "SpSds" | "VTree"]) => Done::Said(json!([])),
            (true, ["action", "removeStoragePool"]) => {
                if self.volumes.values().any(|volume| volume.pool == id) {
                    return Done::Refused(Refused::in_use("Storage Pool"));
                }
                self.pools.remove(id);
                Done::Said(json!({}))
            }
            (true, ["action", action]) => match self.set_pool(id, action, wanted) {
                Some(done) => done.map(|()| json!({})).into(),
                None => Done::NoPage,
            },
            _ => Done::NoPage,
        }
    }

    fn set_pool(&mut self, id: &str, action: &str, wanted: Wanted<'_>) -> Option<Result<(), Refused>> {
        let pool = self.pools.get_mut(id).unwrap();
        if let Some((_, field, truth)) = SWITCHES.iter().find(|(known, _, _)| *known == action) {
            pool[*field] = (*truth).into();
            return Some(Ok(()));
        }
        let (_, keys) = SETTERS.iter().find(|(known, _)| *known == action)?;
        let mut set = || {
            if !keys.iter().any(|(key, _)| wanted.has(key)) {
                return Err(Refused::bad(format!("The request must have {}", keys[0].0)));
            }
            for (key, field) in keys.iter().filter(|(key, _)| wanted.has(key)) {
                pool[*field] = as_before(&pool[*field], wanted, key)?;
            }
            Ok(())
        };
        Some(set())
    }

    pub(crate) fn pool_statistics_of(&self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        selected(self.pools.keys().map(|id| (id.clone(), self.pool_statistics(id))).collect(), wanted)
    }

    fn pool_statistics(&self, id: &str) -> Value {
        let limit = self.settings.pool_gib << 20;
        let used = self.allocated(id);
        let (failed, degraded) = self.failed.get(id).copied().unwrap_or_default();
        json!({
            "capacityAvailableForVolumeAllocationInKb": limit - used, "volumeAllocationLimitInKb": limit, "capacityLimitInKb": 2 * limit,
            "maxCapacityInKb": 2 * limit, "spareCapacityInKb": 0, "thinCapacityAllocatedInKb": used, "thinCapacityAllocatedInKm": used,
            "failedCapacityInKb": failed, "degradedFailedCapacityInKb": 0, "degradedHealthyCapacityInKb": degraded, "snapCapacityInUseInKb": 0,
            "capacityInUseInKb": used, "numOfVolumes": self.volumes.values().filter(|volume| volume.pool == id).count(),
        })
    }
}

//! The array: what there is, and which part of it a request is for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ScaleIoSettings;
use super::devices::{Machines, Store};
use super::door::Done;
use super::object::{Wanted, links, picked};
use super::refused::Refused;
use super::volumes::Volume;

/// Everything.
#[derive(Debug)]
pub struct World {
    /// How it behaves.
    pub settings: ScaleIoSettings,
    /// The volumes and snapshots, by id.
    pub volumes: BTreeMap<String, Volume>,
    /// The protection domains, by id, as they are shown.
    pub domains: BTreeMap<String, Value>,
    /// The storage pools, by id, as they are shown.
    pub pools: BTreeMap<String, Value>,
    /// The SDCs, by id, as they are shown.
    pub sdcs: BTreeMap<String, Value>,
    /// Failed and degraded KiB of pools, by id.
    pub failed: BTreeMap<String, (u64, u64)>,
    /// Mappings that were made, in this order: volume and SDC.
    pub granted: Vec<(String, String)>,
    /// Volumes that more than one SDC could write at some time.
    pub shared: Vec<String>,
    /// Where the content of volumes is, when mapped ones have disks.
    pub(super) store: Option<Store>,
    /// Where those disks are.
    pub(super) machines: Machines,
    /// Which volumes have a disk on the machine of which SDC, and whether it can only be read.
    pub(super) shown: BTreeMap<(String, String), bool>,
    /// How many requests there were.
    pub(super) requests: u64,
    number: u64,
}

impl World {
    pub(crate) fn new(settings: &ScaleIoSettings) -> Self {
        let (volumes, domains, pools, sdcs, failed, granted, shared) = Default::default();
        let (store, machines, shown) = Default::default();
        let settings = settings.clone();
        let mut world = Self {
            settings,
            volumes,
            domains,
            pools,
            sdcs,
            failed,
            granted,
            shared,
            store,
            machines,
            shown,
            requests: 0,
            number: 0,
        };
        let domain = world.domain("pd1");
        world.pool(&domain, "pool1");
        world
    }

    /// A protection domain.
    pub fn domain(&mut self, name: &str) -> String {
        let id = self.id("d");
        let system = &self.settings.system;
        let links = links("ProtectionDomain", &id, &["StoragePool", "Statistics"], &[("systemId", "System", system)]);
        let shown = json!({"id": id, "name": name, "systemId": system, "protectionDomainState": "Active", "genType": "Mirroring", "links": links});
        self.domains.insert(id.clone(), shown);
        id
    }

    pub(crate) fn id(&mut self, kind: &str) -> String {
        self.number += 1;
        format!("{kind}{:015x}", self.number)
    }

    /// The name of the system.
    pub fn system_name(&self) -> String {
        format!("system-{}", &self.settings.system[..4])
    }

    pub(crate) fn act(&mut self, post: bool, path: &str, body: &Value) -> Done {
        if post && !body.is_object() {
            return Done::Refused(Refused::bad("The request must have a JSON object"));
        }
        self.requests += 1;
        let wanted = Wanted(body);
        let parts: Vec<&str> = path.split('/').collect();
        match (post, parts.as_slice()) {
            (false, ["Configuration"]) => Done::Said(json!({"mdmAddresses": ["10.0.0.1"], "features": {}})),
            (false, ["types", "System", "instances"]) => Done::Said(vec![self.system()].into()),
            (true, ["types", "System", "instances", "action", "querySelectedStatistics"]) => {
                let names: Vec<&str> = wanted.list("properties").into_iter().filter_map(Value::as_str).collect();
                picked(&self.system_statistics(), &names).into()
            }
            (false, ["types", kind, "instances"]) => self.list(kind),
            (true, ["types", kind, "instances"]) => self.create(kind, wanted),
            (true, ["types", kind, "instances", "action", action]) => self.act_on_type(kind, action, wanted),
            (true, ["instances", "System", "queryMdmCluster"]) => Done::Said(self.cluster()),
            (true, ["instances", "System", "action", action]) => self.act_on_system(action, wanted),
            (_, ["instances", object, rest @ ..]) => match object.split_once("::") {
                Some((kind, id)) => self.act_on(post, kind, id, rest, wanted),
                None => Done::NoPage,
            },
            _ => Done::NoPage,
        }
    }

    fn list(&self, kind: &str) -> Done {
        Done::Said(match kind {
            "ProtectionDomain" => self.domains.values().cloned().collect(),
            "StoragePool" => self.pools.values().cloned().collect(),
            "Sdc" => self.sdcs.values().cloned().collect(),
            "Volume" => self.volumes.values().map(|volume| self.show_volume(volume)).collect(),
            _ => return Done::NoPage,
        })
    }

    fn create(&mut self, kind: &str, wanted: Wanted<'_>) -> Done {
        match kind {
            "Volume" => self.create_volume(wanted).into(),
            "StoragePool" => self.create_pool(wanted).into(),
            _ => Done::NoPage,
        }
    }

    fn act_on_type(&mut self, kind: &str, action: &str, wanted: Wanted<'_>) -> Done {
        match (kind, action) {
            ("Volume", "queryIdByKey") => self.volume_id_by_key(wanted).into(),
            ("Volume", "queryBySelectedIds") => self.volumes_by_ids(wanted).into(),
            ("Volume", "querySelectedStatistics") => self.volume_statistics_of(wanted).into(),
            ("StoragePool", "querySelectedStatistics") => self.pool_statistics_of(wanted).into(),
            ("Sdc", "querySelectedStatistics") => self.sdc_statistics_of(wanted).into(),
            ("Sdc", "queryIdByKey") => self.sdc_id_by_key(wanted).into(),
            _ => Done::NoPage,
        }
    }

    fn act_on_system(&mut self, action: &str, wanted: Wanted<'_>) -> Done {
        match action {
            "snapshotVolumes" => self.snapshot_volumes(wanted).into(),
            "removeConsistencyGroupSnapshots" => self.remove_group(wanted).into(),
            "querySystemLimits" => Done::Said(json!({"systemLimitEntryList": [
                {"type": "volumes", "description": "Maximum volumes in system", "maxVal": "131072"},
                {"type": "volumeSizeGb", "description": "Volume size", "minVal": "8", "maxVal": "1048576"},
            ]})),
            _ => Done::NoPage,
        }
    }

    fn act_on(&mut self, post: bool, kind: &str, id: &str, rest: &[&str], wanted: Wanted<'_>) -> Done {
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Done::Refused(Refused::not_hex());
        }
        match (post, kind, rest) {
            (false, "System", []) if id == self.settings.system => Done::Said(self.system()),
            (false, "System", ["relationships", "Statistics"]) => Done::Said(self.system_statistics()),
            (false, "System", ["relationships", related @ ("Sdc" | "ProtectionDomain")]) => self.list(related),
            (true, "System", ["action", action]) if id == self.settings.system => self.act_on_system(action, wanted),
            (_, "System", _) => Done::Refused(Refused::no_object()),
            (false, "ProtectionDomain", []) => self.domains.get(id).cloned().ok_or_else(Refused::no_domain).into(),
            (false, "ProtectionDomain", ["relationships", "StoragePool"]) => {
                Done::Said(self.pools.values().filter(|pool| pool["protectionDomainId"] == id).cloned().collect())
            }
            (_, "StoragePool", rest) => self.act_on_pool(post, id, rest, wanted),
            (_, "Sdc", rest) => self.act_on_sdc(post, id, rest, wanted),
            (_, "Volume", rest) => self.act_on_volume(post, id, rest, wanted),
            (false, "VTree", []) => self.vtree(id).into(),
            _ => Done::NoPage,
        }
    }

    fn system(&self) -> Value {
        let id = &self.settings.system;
        let release = self.settings.version.replace('.', "_");
        json!({
            "id": id, "name": self.system_name(), "installId": "1c078b073d75512c", "mdmClusterState": "ClusteredNormal",
            "systemVersionName": format!("DellEMC PowerFlex Version: R{release}.0"), "restrictedSdcMode": "None",
            "restrictedSdcModeEnabled": false, "maxCapacityInGb": "Unlimited", "daysInstalled": 12, "swid": "", "mdmCluster": self.cluster(),
            "links": links("System", id, &["Statistics", "ProtectionDomain", "Sdc"], &[]),
        })
    }

    fn cluster(&self) -> Value {
        let version = format!("R{}.0", self.settings.version.replace('.', "_"));
        json!({"master": {"id": "1", "versionInfo": version, "ips": ["10.0.0.1"]}, "slaves": [], "clusterState": "ClusteredNormal", "clusterMode": "ThreeNodes", "id": "1"})
    }

    fn system_statistics(&self) -> Value {
        json!({"numOfVolumes": self.volumes.len(), "numOfSdc": self.sdcs.len(), "numOfStoragePools": self.pools.len(), "capacityLimitInKb": 1_u64 << 40})
    }
}

//! Volumes, and who has them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::door::Done;
use super::object::{Wanted, links, selected};
use super::refused::Refused;
use super::world::World;

/// KiB of a GiB.
const GIB: u64 = 1 << 20;

/// An SDC that has a volume.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// How many there were before it.
    pub(super) number: usize,
    /// The id of the SDC.
    pub sdc: String,
    /// `ReadWrite`, `ReadOnly` or `NoAccess`.
    pub mode: String,
    /// Operations a second; zero is no limit.
    pub iops: u64,
    /// KiB a second; zero is no limit.
    pub kbps: u64,
}

/// A volume or snapshot.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its size, in KiB.
    pub kib: u64,
    /// Its pool.
    pub pool: String,
    /// Thin, thick or a snapshot.
    pub kind: String,
    /// What it was cut from.
    pub ancestor: Option<String>,
    /// What was cut with it.
    pub group: Option<String>,
    /// Who has it.
    pub mapped: Vec<Mapped>,
    pub(crate) vtree: String,
    pub(crate) limit: String,
    pub(crate) compression: String,
    pub(crate) rmcache: bool,
    pub(crate) secure_until: u64,
    pub(crate) created: u64,
    /// For how many looks it still goes.
    pub(crate) going: Option<u32>,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl World {
    /// The name, if it can be one.
    pub(crate) fn free_name(&self, name: Option<&str>) -> Result<Option<String>, Refused> {
        let Some(name) = name else { return Ok(None) };
        if name.chars().count() > 31 {
            return Err(Refused::long_name());
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refused::bad_name());
        }
        if self.volumes.values().any(|volume| volume.name.as_deref() == Some(name)) {
            return Err(Refused::name_in_use());
        }
        Ok(Some(name.to_owned()))
    }

    pub(crate) fn create_volume(&mut self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let pool = wanted.must("storagePoolId")?.to_owned();
        let domain = self.pools.get(&pool).ok_or_else(Refused::no_pool)?["protectionDomainId"].clone();
        if wanted.text("protectionDomainId").is_some_and(|given| domain != given) {
            return Err(Refused::no_such_pair());
        }
        let kib = match (wanted.number("volumeSizeInKb")?, wanted.number("volumeSizeInGb")?) {
            (Some(kib), None) => kib,
            (None, Some(gib)) => gib.checked_mul(GIB).ok_or_else(Refused::too_large)?,
            _ => return Err(Refused::bad("The request must have volumeSizeInKb or volumeSizeInGb")),
        };
        if kib == 0 {
            return Err(Refused::size_illegal());
        }
        let kib = kib.next_multiple_of(8 * GIB);
        let kind = wanted.text("volumeType").unwrap_or("ThickProvisioned");
        if !matches!(kind, "ThinProvisioned" | "ThickProvisioned") {
            return Err(Refused::bad("volumeType must be ThinProvisioned or ThickProvisioned"));
        }
        let name = self.free_name(wanted.text("name"))?;
        if kib > GIB << 20 {
            return Err(Refused::too_large());
        }
        if self.allocated(&pool) + kib > self.settings.pool_gib * GIB {
            return Err(Refused::pool_full());
        }
        let id = self.id("a");
        let volume = Volume {
            id: id.clone(),
            name,
            kib,
            pool,
            kind: kind.to_owned(),
            ancestor: None,
            group: None,
            mapped: Vec::new(),
            vtree: self.id("b"),
            limit: "ReadWrite".to_owned(),
            compression: wanted.text("compressionMethod").unwrap_or("None").to_owned(),
            rmcache: wanted.truth("useRmcache")?.unwrap_or(false),
            secure_until: 0,
            created: now(),
            going: None,
        };
        self.volumes.insert(id.clone(), volume);
        Ok(json!({ "id": id }))
    }

    /// KiB that the volumes of a pool have together.
    pub(crate) fn allocated(&self, pool: &str) -> u64 {
        self.volumes.values().filter(|volume| volume.pool == pool && volume.kind != "Snapshot").map(|volume| volume.kib).sum()
    }

    pub(crate) fn volume_id_by_key(&self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let name = wanted.must("name")?;
        let found = self.volumes.values().find(|volume| volume.name.as_deref() == Some(name));
        found.map(|volume| volume.id.clone().into()).ok_or_else(Refused::no_volume)
    }

    pub(crate) fn volumes_by_ids(&self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let find = |id: &Value| self.volumes.get(id.as_str().unwrap_or_default()).ok_or_else(Refused::no_volume);
        wanted.list("ids").into_iter().map(|id| Ok(self.show_volume(find(id)?))).collect()
    }

    pub(crate) fn volume_statistics_of(&self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        selected(self.volumes.values().map(|volume| (volume.id.clone(), volume_statistics(volume))).collect(), wanted)
    }

    pub(crate) fn vtree(&self, id: &str) -> Result<Value, Refused> {
        let mut own = self.volumes.values().filter(|volume| volume.vtree == id);
        let base = own.clone().find(|volume| volume.ancestor.is_none()).or_else(|| own.next()).ok_or_else(Refused::no_object)?;
        Ok(
            json!({"id": id, "name": base.name, "baseVolumeId": base.id, "storagePoolId": base.pool, "links": links("VTree", id, &["Statistics"], &[])}),
        )
    }

    pub(crate) fn act_on_volume(&mut self, post: bool, id: &str, rest: &[&str], wanted: Wanted<'_>) -> Done {
        if let Some(done) = self.still_going(id, post) {
            return done;
        }
        let Some(volume) = self.volumes.get(id) else { return Done::Refused(Refused::no_volume()) };
        match (post, rest) {
            (false, []) => Done::Said(self.show_volume(volume)),
            (false, ["relationships", "Statistics"]) => Done::Said(volume_statistics(volume)),
            (true, ["action", action]) => match self.change_volume(id, action, wanted) {
                Some(done) => done.map(|()| json!({})).into(),
                None => Done::NoPage,
            },
            _ => Done::NoPage,
        }
    }

    /// A volume that goes is there for some looks more.
    fn still_going(&mut self, id: &str, post: bool) -> Option<Done> {
        let volume = self.volumes.get_mut(id)?;
        match volume.going? {
            0 => {
                self.drop_volume(id);
                None
            }
            looks => {
                volume.going = Some(looks - 1);
                post.then(|| Done::Refused(Refused::removing()))
            }
        }
    }

    /// What was cut from it is from now on cut from what it was cut from.
    pub(crate) fn drop_volume(&mut self, id: &str) {
        let gone = self.volumes.remove(id).unwrap();
        for volume in self.volumes.values_mut().filter(|volume| volume.ancestor.as_deref() == Some(id)) {
            volume.ancestor = gone.ancestor.clone();
        }
    }

    fn change_volume(&mut self, id: &str, action: &str, wanted: Wanted<'_>) -> Option<Result<(), Refused>> {
        Some(match action {
            "removeVolume" => self.remove_volume(id, wanted),
            "setVolumeSize" => self.resize(id, wanted),
            "setVolumeName" => self.rename_volume(id, wanted),
            "addMappedSdc" => self.map(id, wanted),
            "removeMappedSdc" => self.unmap(id, wanted),
            "setMappedSdcLimits" => self.limit(id, wanted),
            "setVolumeMappingAccessMode" => self.set_mapping_mode(id, wanted),
            "setVolumeAccessModeLimit" => {
                self.set_field(id, wanted, "accessModeLimit", &["ReadWrite", "ReadOnly"], |v, text| v.limit = text)
            }
            "modifyCompressionMethod" => {
                self.set_field(id, wanted, "compressionMethod", &["None", "Normal"], |v, text| v.compression = text)
            }
            "setVolumeUseRmcache" => wanted.truth("useRmcache").map(|truth| {
                self.volumes.get_mut(id).unwrap().rmcache = truth.unwrap_or(false);
            }),
            "setSnapshotSecurity" => self.secure(id, wanted),
            "lockAutoSnapshot" | "unlockAutoSnapshot" => Err(Refused::not_auto_snapshot()),
            _ => return None,
        })
    }

    fn set_field(
        &mut self,
        id: &str,
        wanted: Wanted<'_>,
        key: &str,
        allowed: &[&str],
        set: impl Fn(&mut Volume, String),
    ) -> Result<(), Refused> {
        let text = wanted.must(key)?;
        if !allowed.contains(&text) {
            return Err(Refused::bad(format!("{key} must be one of {allowed:?}")));
        }
        set(self.volumes.get_mut(id).unwrap(), text.to_owned());
        Ok(())
    }

    fn secure(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let minutes = wanted.number("retentionPeriodInMin")?.unwrap_or_default();
        let volume = self.volumes.get_mut(id).unwrap();
        if volume.ancestor.is_none() {
            return Err(Refused::bad("Only a snapshot can be secured"));
        }
        volume.secure_until = now() + 60 * minutes;
        Ok(())
    }

    fn remove_volume(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let mut doomed = vec![id.to_owned()];
        match wanted.must("removeMode")? {
            "ONLY_ME" => {}
            "INCLUDING_DESCENDANTS" => {
                let mut at = 0;
                while let Some(parent) = doomed.get(at).cloned() {
                    doomed.extend(
                        self.volumes
                            .values()
                            .filter(|volume| volume.ancestor.as_ref() == Some(&parent))
                            .map(|volume| volume.id.clone()),
                    );
                    at += 1;
                }
            }
            "WHOLE_VTREE" => {
                let vtree = self.volumes[id].vtree.clone();
                doomed = self.volumes.values().filter(|volume| volume.vtree == vtree).map(|volume| volume.id.clone()).collect();
            }
            mode => return Err(Refused::bad(format!("removeMode {mode} is illegal"))),
        }
        if doomed.iter().any(|id| !self.volumes[id].mapped.is_empty()) {
            return Err(Refused::mapped());
        }
        if doomed.iter().any(|id| self.volumes[id].secure_until > now()) {
            return Err(Refused::in_use("secured snapshot"));
        }
        for id in doomed {
            match self.settings.removal {
                0 => self.drop_volume(&id),
                looks => self.volumes.get_mut(&id).unwrap().going = Some(looks),
            }
        }
        Ok(())
    }

    fn resize(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let gib = wanted.number("sizeInGB")?.ok_or_else(|| Refused::bad("The request must have sizeInGB"))?;
        if gib == 0 || !gib.is_multiple_of(8) {
            return Err(Refused::size_illegal());
        }
        let kib = gib.checked_mul(GIB).filter(|kib| *kib <= GIB << 20).ok_or_else(Refused::too_large)?;
        let (now, pool) = (self.volumes[id].kib, self.volumes[id].pool.clone());
        if kib < now {
            return Err(Refused::shrink());
        }
        if self.allocated(&pool) + kib - now > self.settings.pool_gib * GIB {
            return Err(Refused::pool_full());
        }
        self.volumes.get_mut(id).unwrap().kib = kib;
        Ok(())
    }

    fn rename_volume(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let name = self.free_name(Some(wanted.must("newName")?))?;
        self.volumes.get_mut(id).unwrap().name = name;
        Ok(())
    }

    fn map(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let sdc = self.wanted_sdc(wanted)?;
        let shared = wanted.truth("allowMultipleMappings")?.unwrap_or(false);
        let mode = wanted.text("accessMode").unwrap_or("ReadWrite").to_owned();
        if !matches!(mode.as_str(), "ReadWrite" | "ReadOnly" | "NoAccess") {
            return Err(Refused::bad("accessMode must be ReadWrite, ReadOnly or NoAccess"));
        }
        let has = self.volumes.values().filter(|volume| volume.mapped.iter().any(|mapped| mapped.sdc == sdc)).count();
        let most = self.settings.volumes_per_sdc;
        let volume = self.volumes.get_mut(id).unwrap();
        if volume.mapped.iter().any(|mapped| mapped.sdc == sdc) {
            return Err(Refused::mapped_here());
        }
        if !volume.mapped.is_empty() && !shared {
            return Err(Refused::mapped_elsewhere());
        }
        if volume.limit == "ReadOnly" && mode == "ReadWrite" {
            return Err(Refused::bad("The access mode of the mapping exceeds that of the volume"));
        }
        if has >= most {
            return Err(Refused::too_many_volumes_of_sdc());
        }
        let number = self.granted.len();
        volume.mapped.push(Mapped { number, sdc: sdc.clone(), mode, iops: 0, kbps: 0 });
        if volume.mapped.iter().filter(|mapped| mapped.mode == "ReadWrite").count() > 1 {
            self.shared.push(id.to_owned());
        }
        self.granted.push((id.to_owned(), sdc));
        Ok(())
    }

    fn unmap(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let all = wanted.has("allSdcs") && wanted.text("allSdcs") != Some("False");
        let sdc = if all { None } else { Some(self.wanted_sdc(wanted)?) };
        let volume = self.volumes.get_mut(id).unwrap();
        let before = volume.mapped.len();
        volume.mapped.retain(|mapped| sdc.as_ref().is_some_and(|sdc| mapped.sdc != *sdc));
        if before == volume.mapped.len() { Err(Refused::not_mapped()) } else { Ok(()) }
    }

    fn mapping(&mut self, id: &str, wanted: Wanted<'_>) -> Result<&mut Mapped, Refused> {
        let sdc = self.wanted_sdc(wanted)?;
        let volume = self.volumes.get_mut(id).unwrap();
        volume.mapped.iter_mut().find(|mapped| mapped.sdc == sdc).ok_or_else(Refused::not_mapped)
    }

    fn limit(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let (kbps, iops) = (wanted.number("bandwidthLimitInKbps")?, wanted.number("iopsLimit")?);
        if kbps.is_some_and(|kbps| !kbps.is_multiple_of(1024)) {
            return Err(Refused::bad("bandwidthLimitInKbps must be a multiple of 1024"));
        }
        if iops.is_some_and(|iops| (1..11).contains(&iops)) {
            return Err(Refused::bad("iopsLimit must be zero or more than 10"));
        }
        let mapping = self.mapping(id, wanted)?;
        mapping.kbps = kbps.unwrap_or(mapping.kbps);
        mapping.iops = iops.unwrap_or(mapping.iops);
        Ok(())
    }

    fn set_mapping_mode(&mut self, id: &str, wanted: Wanted<'_>) -> Result<(), Refused> {
        let mode = wanted.must("accessMode")?.to_owned();
        self.mapping(id, wanted)?.mode = mode;
        Ok(())
    }

    pub(crate) fn show_volume(&self, volume: &Volume) -> Value {
        let mapped: Vec<Value> = volume
            .mapped
            .iter()
            .map(|mapped| {
                let sdc = self.sdcs.get(&mapped.sdc).cloned().unwrap_or_default();
                json!({
                    "sdcId": mapped.sdc, "sdcIp": sdc["sdcIp"], "sdcName": sdc["name"], "limitIops": mapped.iops, "nqn": null,
                    "limitBwInMbps": mapped.kbps / 1024, "isDirectBufferMapping": false, "accessMode": mapped.mode, "hostType": "SdcHost",
                })
            })
            .collect();
        let Volume { id, pool, vtree, .. } = volume;
        let parents = [("vtreeId", "VTree", vtree.as_str()), ("storagePoolId", "StoragePool", pool.as_str())];
        json!({
            "id": id, "name": volume.name, "sizeInKb": volume.kib, "storagePoolId": pool, "vtreeId": vtree, "volumeType": volume.kind,
            "mappedSdcInfo": if mapped.is_empty() { Value::Null } else { mapped.into() }, "ancestorVolumeId": volume.ancestor,
            "consistencyGroupId": volume.group, "accessModeLimit": volume.limit, "creationTime": volume.created, "managedBy": "ScaleIO",
            "compressionMethod": volume.compression, "useRmcache": volume.rmcache, "dataLayout": "MediumGranularity", "pairIds": null,
            "secureSnapshotExpTime": volume.secure_until, "lockedAutoSnapshot": false, "volumeReplicationState": "UnmarkedForReplication",
            "mappingToAllSdcsEnabled": false, "notGenuineSnapshot": false, "originalExpiryTime": 0, "volumeClass": "defaultclass",
            "links": links("Volume", id, &["Statistics"], &parents),
        })
    }
}

fn volume_statistics(volume: &Volume) -> Value {
    let rate = || json!({"numSeconds": 0, "totalWeightInKb": 0, "numOccured": 0});
    let sdcs: Vec<&String> = volume.mapped.iter().map(|mapped| &mapped.sdc).collect();
    json!({"userDataReadBwc": rate(), "userDataWriteBwc": rate(), "numOfMappedSdcs": sdcs.len(), "mappedSdcIds": sdcs, "numOfChildVolumes": 0})
}

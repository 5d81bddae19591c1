//! Volumes and who has them. Snapshots are volumes too.

use std::time::{Duration, SystemTime};

use hawser_volume::{Bytes, Deadline};
use serde::Deserialize;
use serde_json::json;

use crate::client::{Call, Gateways};
use crate::config::Provisioning;
use crate::name::Mark;
use crate::number;
use crate::refusal::{Class, Refusal};

/// How an SDC may use a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappingMode {
    /// Read and write.
    ReadWrite,
    /// Read.
    ReadOnly,
}

impl MappingMode {
    /// The array's word.
    pub fn as_str(self) -> &'static str {
        match self {
            MappingMode::ReadWrite => "ReadWrite",
            MappingMode::ReadOnly => "ReadOnly",
        }
    }
}

/// That an SDC, or an NVMe host, has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// The array's id of it.
    #[serde(default)]
    pub sdc_id: String,
    /// Its name, if it has one.
    #[serde(default, deserialize_with = "number::text")]
    pub sdc_name: Option<String>,
    /// One of its addresses.
    #[serde(default, deserialize_with = "number::text")]
    pub sdc_ip: Option<String>,
    /// How it may use the volume; releases before 3.5 do not say.
    #[serde(default, deserialize_with = "number::text")]
    pub access_mode: Option<String>,
    /// Operations a second that it may have; zero is no limit.
    #[serde(default, deserialize_with = "number::or_zero")]
    pub limit_iops: u64,
    /// MiB a second that it may have; zero is no limit.
    #[serde(default, deserialize_with = "number::or_zero")]
    pub limit_bw_in_mbps: u64,
}

impl Mapping {
    /// For people: the name, or what else there is.
    pub fn describe(&self) -> String {
        let ip = self.sdc_ip.as_ref().map(|ip| format!(" at {ip}")).unwrap_or_default();
        match &self.sdc_name {
            Some(name) => format!("SDC {name} ({}{ip})", self.sdc_id),
            None => format!("SDC {}{ip}", self.sdc_id),
        }
    }

    /// Whether it may only read.
    pub fn is_read_only(&self) -> bool {
        self.access_mode.as_deref() == Some("ReadOnly")
    }
}

/// A volume, or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its id: sixteen hexadecimal digits, which no other volume ever gets.
    pub id: String,
    /// Its name, if it has one.
    #[serde(default, deserialize_with = "number::text")]
    pub name: Option<String>,
    /// Its size, in KiB.
    #[serde(deserialize_with = "number::must")]
    pub size_in_kb: u64,
    /// Its pool.
    #[serde(default)]
    pub storage_pool_id: String,
    /// `ThinProvisioned`, `ThickProvisioned` or `Snapshot`.
    #[serde(default)]
    pub volume_type: String,
    /// What it was cut from.
    #[serde(default, deserialize_with = "number::text")]
    pub ancestor_volume_id: Option<String>,
    /// What was cut in the same moment.
    #[serde(default, deserialize_with = "number::text")]
    pub consistency_group_id: Option<String>,
    /// `ReadWrite` or `ReadOnly`.
    #[serde(default, deserialize_with = "number::text")]
    pub access_mode_limit: Option<String>,
    /// When it was made, in seconds since 1970.
    #[serde(default, deserialize_with = "number::or_zero")]
    pub creation_time: u64,
    /// Who has it.
    #[serde(default, deserialize_with = "number::list")]
    pub mapped_sdc_info: Vec<Mapping>,
}

impl Volume {
    /// Its size.
    pub fn size(&self) -> Bytes {
        Bytes::new(self.size_in_kb.saturating_mul(1024))
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.creation_time)
    }

    /// Whether it was cut from another one.
    pub fn is_cut(&self) -> bool {
        self.ancestor_volume_id.is_some() || self.volume_type == "Snapshot"
    }

    /// Whether it is a snapshot to a CO: named as one, or cut and only to be read. A clone was cut as well, and can be written.
    pub fn is_snapshot(&self) -> bool {
        match self.name.as_deref().and_then(Mark::of) {
            Some((mark, _)) => mark.is_snapshot(),
            None => self.is_cut() && self.access_mode_limit.as_deref() == Some("ReadOnly"),
        }
    }

    /// The group that it was cut with, if it was cut as a part of one.
    pub fn group(&self) -> Option<&str> {
        let (mark, _) = self.name.as_deref().and_then(Mark::of)?;
        if mark.is_group() { self.consistency_group_id.as_deref() } else { None }
    }

    /// The mapping to this SDC.
    pub fn mapping(&self, sdc: &str) -> Option<&Mapping> {
        self.mapped_sdc_info.iter().find(|mapping| mapping.sdc_id == sdc)
    }
}

/// What a new volume shall be.
#[derive(Debug, Clone)]
pub struct NewVolume {
    /// Its name, at most 31 characters: what makes two calls one.
    pub name: String,
    /// Its size; the array makes the next multiple of 8 GiB of it.
    pub size: Bytes,
    /// Its pool's id.
    pub pool: String,
    /// The id of the pool's protection domain.
    pub domain: String,
    /// Whether it takes its space at once.
    pub provisioning: Provisioning,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

/// The path of an action on a volume.
fn action(id: &str, action: &str) -> String {
    format!("/api/instances/Volume::{id}/action/{action}")
}

impl Gateways {
    /// Makes a volume and gives its id. `NameInUse` when its name is taken, which may have been by this very call.
    pub async fn create_volume(&self, new: &NewVolume, deadline: Deadline) -> Result<String, Refusal> {
        let body = json!({
            "name": new.name,
            "volumeSizeInKb": new.size.get().div_ceil(1024).to_string(),
            "storagePoolId": new.pool,
            "protectionDomainId": new.domain,
            "volumeType": new.provisioning.as_str(),
        });
        let call = Call::repeatable("createVolume", "/api/types/Volume/instances", body);
        self.call::<Made>(&call, deadline).await.map(|made| made.id)
    }

    /// The volume, or nothing if it does not exist.
    pub async fn volume(&self, id: &str, deadline: Deadline) -> Result<Option<Volume>, Refusal> {
        if !is_id(id) {
            return Ok(None);
        }
        found(self.call(&Call::get("getVolume", format!("/api/instances/Volume::{id}")), deadline).await)
    }

    /// The volume or snapshot of this name, or nothing if there is none.
    pub async fn volume_by_name(&self, name: &str, deadline: Deadline) -> Result<Option<Volume>, Refusal> {
        let path = "/api/types/Volume/instances/action/queryIdByKey";
        let call = Call::repeatable("queryVolumeId", path, json!({ "name": name }));
        let Some(id) = found(self.call::<String>(&call, deadline).await)? else { return Ok(None) };
        let volume = self.volume(&id, deadline).await?;
        // It may have been renamed since; and whether capitals count is the array's secret.
        Ok(volume.filter(|volume| volume.name.as_deref() == Some(name)))
    }

    /// All volumes and snapshots of the system.
    pub async fn volumes(&self, deadline: Deadline) -> Result<Vec<Volume>, Refusal> {
        self.call(&Call::get("listVolumes", "/api/types/Volume/instances"), deadline).await
    }

    /// Removes a volume or snapshot, and nothing that was cut from it. `Mapped` while an SDC has it.
    pub async fn remove_volume(&self, id: &str, deadline: Deadline) -> Result<(), Refusal> {
        let call = Call::repeatable("removeVolume", action(id, "removeVolume"), json!({"removeMode": "ONLY_ME"}));
        self.done(&call, deadline).await
    }

    /// Makes a volume larger: `gib` is a multiple of eight.
    pub async fn set_volume_size(&self, id: &str, gib: u64, deadline: Deadline) -> Result<(), Refusal> {
        // The size is said, not by how much it grows.
        let call = Call::repeatable("setVolumeSize", action(id, "setVolumeSize"), json!({"sizeInGB": gib.to_string()}));
        self.done(&call, deadline).await
    }

    /// Gives a volume to an SDC. With `shared` it may have others. Not sent again after a lost answer: look.
    pub async fn map_volume(
        &self,
        id: &str,
        sdc: &str,
        mode: MappingMode,
        shared: bool,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let shared = if shared { "TRUE" } else { "FALSE" };
        let mut body = json!({"sdcId": sdc, "allowMultipleMappings": shared});
        // Releases before 3.5 do not know the key; to write is what they give.
        if mode == MappingMode::ReadOnly {
            body["accessMode"] = json!(mode.as_str());
        }
        self.done(&Call::once("addMappedSdc", action(id, "addMappedSdc"), body), deadline).await
    }

    /// Takes a volume from that SDC. Not sent again after a lost answer, for the volume may have come back since: look.
    pub async fn unmap_volume(&self, id: &str, sdc: &str, deadline: Deadline) -> Result<(), Refusal> {
        let call = Call::once("removeMappedSdc", action(id, "removeMappedSdc"), json!({ "sdcId": sdc }));
        self.done(&call, deadline).await
    }

    /// Bounds what an SDC may have of a volume, in KiB and operations a second; zero is no limit.
    pub async fn set_limits(&self, id: &str, sdc: &str, kbps: u64, iops: u64, deadline: Deadline) -> Result<(), Refusal> {
        let body = json!({"sdcId": sdc, "bandwidthLimitInKbps": kbps.to_string(), "iopsLimit": iops.to_string()});
        self.done(&Call::repeatable("setMappedSdcLimits", action(id, "setMappedSdcLimits"), body), deadline).await
    }
}

/// Nothing for what does not exist.
pub(crate) fn found<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(refusal) if refusal.class() == Class::NotFound => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Whether `text` is an id of the array: sixteen hexadecimal digits in lower case.
pub fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_array_leaves_out_is_read_as_nothing() {
        // Fields of an answer of 4.5, shortened, and the numbers as an older one writes them.
        let text = r#"[{"id":"d3b2a1c000000001","name":"a","sizeInKb":8388608,"storagePoolId":"7621000000000000","vtreeId":"1",
            "volumeType":"ThinProvisioned","mappedSdcInfo":null,"ancestorVolumeId":null,"consistencyGroupId":null,
            "accessModeLimit":"ReadWrite","creationTime":1700000000,"nsid":1,"links":[]},
            {"id":"d3b2a1c000000002","name":null,"sizeInKb":"16777216","ancestorVolumeId":"d3b2a1c000000001","volumeType":"Snapshot",
            "accessModeLimit":"ReadOnly","mappedSdcInfo":[{"sdcId":"1","sdcIp":"10.0.0.1","limitIops":"100","limitBwInMbps":2,"sdcName":null}]}]"#;
        let [volume, snapshot]: [Volume; 2] = serde_json::from_str::<Vec<Volume>>(text).unwrap().try_into().unwrap();
        assert_eq!((volume.size(), volume.mapped_sdc_info.len(), volume.is_snapshot()), (Bytes::gib(8), 0, false));
        assert_eq!((snapshot.size(), snapshot.is_snapshot(), snapshot.group()), (Bytes::gib(16), true, None));
        let mapping = snapshot.mapping("1").unwrap();
        assert_eq!((mapping.limit_iops, mapping.limit_bw_in_mbps, mapping.is_read_only()), (100, 2, false));
        assert_eq!(mapping.describe(), "SDC 1 at 10.0.0.1");
    }

    #[test]
    fn a_volume_whose_size_is_not_said_is_no_volume() {
        for size in ["", r#","sizeInKb":null"#, r#","sizeInKb":"8 GB""#, r#","sizeInKb":-8"#] {
            assert!(serde_json::from_str::<Volume>(&format!(r#"{{"id":"1"{size}}}"#)).is_err(), "{size}");
        }
    }
}

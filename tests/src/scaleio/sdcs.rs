//! SDCs.

use serde_json::{Value, json};

use super::door::Done;
use super::object::{Wanted, links, selected};
use super::refused::Refused;
use super::world::World;

impl World {
    /// An SDC, connected, and its GUID.
    pub fn sdc(&mut self, name: Option<&str>) -> (String, String) {
        let id = self.id("e");
        let guid = format!("9E56672F-2F4B-4A42-BFF4-{}", id[4..].to_uppercase());
        let system = &self.settings.system;
        let ip = format!("10.0.1.{}", self.sdcs.len() + 1);
        let shown = json!({
            "id": id, "name": name, "sdcGuid": guid, "systemId": system, "sdcIp": ip, "sdcIps": [ip], "sdcApproved": true,
            "sdcApprovedIps": null, "mdmConnectionState": "Connected", "osType": "Linux", "perfProfile": "HighPerformance",
            "softwareVersionInfo": "R3_6.0.0", "hostType": "SdcHost", "nqn": null,
            "links": links("Sdc", &id, &["Statistics", "Volume"], &[("systemId", "System", system)]),
        });
        self.sdcs.insert(id.clone(), shown);
        (id, guid)
    }

    /// The array loses the SDC, or has it again.
    pub fn connect(&mut self, sdc: &str, connected: bool) {
        self.sdcs.get_mut(sdc).unwrap()["mdmConnectionState"] = if connected { "Connected" } else { "Disconnected" }.into();
    }

    /// The SDC that a request names by id or GUID.
    pub(crate) fn wanted_sdc(&self, wanted: Wanted<'_>) -> Result<String, Refused> {
        let (id, guid) = (wanted.text("sdcId"), wanted.text("guid"));
        let is = |sdc: &Value| match (id, guid) {
            (Some(id), None) => sdc["id"] == id,
            (None, Some(guid)) => sdc["sdcGuid"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(guid)),
            _ => false,
        };
        self.sdcs.values().find(|sdc| is(sdc)).map(|sdc| sdc["id"].as_str().unwrap().to_owned()).ok_or_else(Refused::no_sdc)
    }

    pub(crate) fn sdc_id_by_key(&self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        let keys = [("ip", "sdcIp"), ("name", "name"), ("guid", "sdcGuid")];
        let is = |sdc: &&Value| keys.iter().any(|(key, field)| wanted.has(key) && wanted.0[key] == sdc[field]);
        self.sdcs.values().find(is).map(|sdc| sdc["id"].clone()).ok_or_else(Refused::no_sdc)
    }

    pub(crate) fn sdc_statistics_of(&self, wanted: Wanted<'_>) -> Result<Value, Refused> {
        selected(self.sdcs.keys().map(|id| (id.clone(), self.sdc_statistics(id))).collect(), wanted)
    }

    fn sdc_statistics(&self, id: &str) -> Value {
        let count = self.volumes.values().filter(|volume| volume.mapped.iter().any(|mapped| mapped.sdc == id)).count();
        let rate = || json!({"numSeconds": 0, "totalWeightInKb": 0, "numOccured": 0});
        json!({"numOfMappedVolumes": count, "userDataReadBwc": rate(), "userDataWriteBwc": rate()})
    }

    pub(crate) fn act_on_sdc(&mut self, post: bool, id: &str, rest: &[&str], wanted: Wanted<'_>) -> Done {
        if !self.sdcs.contains_key(id) {
            return Done::Refused(Refused::no_sdc());
        }
        let has = |world: &Self| -> Vec<Value> {
            let own = world.volumes.values().filter(|volume| volume.mapped.iter().any(|mapped| mapped.sdc == id));
            own.map(|volume| world.show_volume(volume)).collect()
        };
        match (post, rest) {
            (false, []) => Done::Said(self.sdcs[id].clone()),
            (false, ["relationships", "Volume"]) => Done::Said(has(self).into()),
            (false, ["relationships", "Statistics"]) => Done::Said(self.sdc_statistics(id)),
            (true, ["action", "setSdcName"]) => self.set(id, "name", wanted.must("sdcName")).into(),
            (true, ["action", "setSdcPerformanceParameters"]) => self.set(id, "perfProfile", wanted.must("perfProfile")).into(),
            (true, ["action", "removeSdc"]) => {
                if self.sdcs[id]["mdmConnectionState"] == "Connected" {
                    return Done::Refused(Refused::in_use("SDC"));
                }
                self.sdcs.remove(id);
                for volume in self.volumes.values_mut() {
                    volume.mapped.retain(|mapped| mapped.sdc != id);
                }
                Done::Said(json!({}))
            }
            _ => Done::NoPage,
        }
    }

    fn set(&mut self, id: &str, field: &str, text: Result<&str, Refused>) -> Result<Value, Refused> {
        self.sdcs.get_mut(id).unwrap()[field] = text?.into();
        Ok(json!({}))
    }
}

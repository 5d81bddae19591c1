//! SDCs: what nodes have instead of a disk controller.

use hawser_volume::Deadline;
use serde::Deserialize;

use crate::client::{Call, Gateways};
use crate::number;
use crate::refusal::{Class, Refusal};

/// An SDC. NVMe hosts are listed among them, and have no GUID.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sdc {
    /// The array's id of it.
    pub id: String,
    /// Its name, if it has one.
    #[serde(default, deserialize_with = "number::text")]
    pub name: Option<String>,
    /// What it calls itself.
    #[serde(default, deserialize_with = "number::text")]
    pub sdc_guid: Option<String>,
    /// One of its addresses.
    #[serde(default, deserialize_with = "number::text")]
    pub sdc_ip: Option<String>,
    /// `Connected` or `Disconnected`.
    #[serde(default, deserialize_with = "number::text")]
    pub mdm_connection_state: Option<String>,
}

impl Sdc {
    /// Whether it calls itself so; capitals do not count.
    pub fn has_guid(&self, guid: &str) -> bool {
        self.sdc_guid.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(guid.trim()))
    }

    /// Whether the array says that it has lost it.
    pub fn is_lost(&self) -> bool {
        self.mdm_connection_state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("disconnected"))
    }
}

/// Whether `text` is a GUID, as `drv_cfg --query_guid` prints it.
pub fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Gateways {
    /// All SDCs of the system.
    pub async fn sdcs(&self, deadline: Deadline) -> Result<Vec<Sdc>, Refusal> {
        self.call(&Call::get("listSdcs", "/api/types/Sdc/instances"), deadline).await
    }

    /// The SDC, or nothing if it does not exist.
    pub async fn sdc(&self, id: &str, deadline: Deadline) -> Result<Option<Sdc>, Refusal> {
        match self.call(&Call::get("getSdc", format!("/api/instances/Sdc::{id}")), deadline).await {
            Ok(sdc) => Ok(Some(sdc)),
            Err(refusal) if matches!(refusal.class(), Class::NoSdc | Class::NotFound) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_compared_without_regard_to_case() {
        let text =
            r#"{"id":"1","name":null,"sdcGuid":"0C05CA60-7A4F-4F9B-8A2B-000000000001","mdmConnectionState":"Disconnected"}"#;
        let sdc: Sdc = serde_json::from_str(text).unwrap();
        assert!(sdc.has_guid("0c05ca60-7a4f-4f9b-8a2b-000000000001\n") && sdc.is_lost() && sdc.name.is_none());
        assert!(
            is_guid("0C05CA60-7A4F-4F9B-8A2B-000000000001") && !is_guid("0C05CA60-7A4F-4F9B-8A2B-00000000000g") && !is_guid("")
        );
        let host: Sdc = serde_json::from_str(r#"{"id":"2","sdcGuid":null,"hostType":"NVMeHost"}"#).unwrap();
        assert!(!host.has_guid("") && !host.is_lost());
    }
}

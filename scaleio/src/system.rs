//! The systems behind a gateway, and how much they allow.

use hawser_volume::{Bytes, Deadline};
use serde::Deserialize;
use serde_json::json;

use crate::client::{Call, Gateways};
use crate::number;
use crate::refusal::Refusal;

/// The largest volume where the array does not say: 1 PiB.
const VOLUME_MAX: Bytes = Bytes::gib(1 << 20);

/// A system.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct System {
    /// Its id, which is part of the names of devices on nodes.
    pub id: String,
    /// Its name, if it has one.
    #[serde(default, deserialize_with = "number::text")]
    pub name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    #[serde(default, deserialize_with = "number::list")]
    system_limit_entry_list: Vec<Limit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limit {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "number::some")]
    max_val: Option<u64>,
}

impl Gateways {
    /// The systems; one, usually.
    pub async fn systems(&self, deadline: Deadline) -> Result<Vec<System>, Refusal> {
        self.call(&Call::get("listSystems", "/api/types/System/instances"), deadline).await
    }

    /// The largest volume that can be made.
    pub async fn volume_max(&self, deadline: Deadline) -> Result<Bytes, Refusal> {
        let call = Call::repeatable("querySystemLimits", "/api/instances/System/action/querySystemLimits", json!({}));
        match self.call::<Limits>(&call, deadline).await {
            Ok(limits) => {
                let told = limits.system_limit_entry_list.iter().find(|limit| limit.kind == "volumeSizeGb");
                let max = told.and_then(|limit| limit.max_val).and_then(|gib| gib.checked_mul(1 << 30));
                Ok(max.map_or(VOLUME_MAX, Bytes::new))
            }
            // Releases before 3.5 have no such action, and say so with a page or in words of their own.
            Err(refusal) if !refusal.is_uncertain() || refusal.class() == crate::Class::Other => Ok(VOLUME_MAX),
            Err(refusal) => Err(refusal),
        }
    }
}

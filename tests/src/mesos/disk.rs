//! What frameworks do with the disks of resource providers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::framework::Framework;
use crate::poll::PATIENCE;

/// The disk source of a resource, if it is from a resource provider.
pub fn disk_of(resource: &Value) -> Option<&Value> {
    resource["disk"].get("source").filter(|_| resource["provider_id"].is_object())
}

/// This many MiB of a resource.
pub fn sized(resource: &Value, mebibytes: f64) -> Value {
    let mut part = resource.clone();
    part["scalar"]["value"] = json!(mebibytes);
    part
}

impl Framework {
    /// Waits for an offer with a disk that is `wanted`; the offer, and the disk as it is offered.
    pub async fn disk_offer(&mut self, wanted: impl Fn(&Value) -> bool) -> (Value, Value) {
        self.disk_offered(|_| true, wanted).await
    }

    /// The same of the agent with this id.
    pub async fn disk_offer_of(&mut self, agent: &str, wanted: impl Fn(&Value) -> bool) -> (Value, Value) {
        self.disk_offered(|offer| offer["agent_id"]["value"] == agent, wanted).await
    }

    async fn disk_offered(&mut self, of: impl Fn(&Value) -> bool, wanted: impl Fn(&Value) -> bool) -> (Value, Value) {
        let find = |offer: &Value| {
            let resources = offer["resources"].as_array()?;
            resources.iter().find(|resource| disk_of(resource).is_some() && wanted(resource)).cloned()
        };
        let offer = self.offer(|offer| of(offer) && find(offer).is_some()).await;
        let disk = find(&offer).unwrap();
        (offer, disk)
    }

    /// Every disk and all space that is offered now.
    pub async fn disks_offered(&mut self) -> Vec<Value> {
        let (offer, _) = self.disk_offer(|_| true).await;
        let all = offer["resources"].as_array().unwrap();
        let disks = all.iter().filter(|resource| disk_of(resource).is_some()).cloned().collect();
        self.decline(&offer).await;
        disks
    }

    /// Begins an operation with an id, on what was offered.
    pub async fn begin(&mut self, offer: &Value, id: &str, kind: &str, body: &Value) {
        let operation = json!({"type": kind, "id": {"value": id}, kind.to_lowercase(): body});
        self.accept(offer, &[operation]).await;
    }

    /// How the operation with this id has ended.
    pub async fn outcome(&mut self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.operations.iter().position(|status| status["operation_id"]["value"] == id) {
                return self.operations.remove(at).unwrap();
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "nothing is heard of operation {id}");
            self.event().await;
        }
    }

    /// Does an operation that must succeed, on a disk that is `wanted`; what its resources have become.
    pub async fn operate(
        &mut self,
        id: &str,
        kind: &str,
        wanted: impl Fn(&Value) -> bool,
        body: impl Fn(&Value) -> Value,
    ) -> Vec<Value> {
        for attempt in 0..5 {
            let (offer, found) = self.disk_offer(&wanted).await;
            let id = format!("{id} {attempt}");
            self.begin(&offer, &id, kind, &body(&found)).await;
            let outcome = self.outcome(&id).await;
            // The master has taken the offer back meanwhile.
            if outcome["message"].as_str().is_some_and(|message| message.contains("no longer valid")) {
                continue;
            }
            assert_eq!(outcome["state"], "OPERATION_FINISHED", "{outcome:#}");
            return outcome["converted_resources"].as_array().cloned().unwrap_or_default();
        }
        panic!("each offer for {id} is taken back");
    }

    /// How the operation with this id has ended on `agent`, or that Mesos does not know it `patience` later: a master forgets the operations
    /// of a provider that is away, and tells frameworks nothing before they ask (`Master::updateSlave`, src/master/master.cpp). The provider
    /// is not named: about one that the master does not know yet the agent is asked without a uuid, and aborts when its provider is there
    /// (`Master::reconcileOperations`; Mesos 1.11.0, seen).
    pub async fn outcome_or_unknown(&mut self, id: &str, agent: &str, patience: Duration) -> Value {
        let begun = Instant::now();
        loop {
            while let Some(at) = self.operations.iter().position(|status| status["operation_id"]["value"] == id) {
                let status = self.operations.remove(at).unwrap();
                let is_known = !matches!(
                    status["state"].as_str(),
                    Some("OPERATION_UNKNOWN" | "OPERATION_PENDING" | "OPERATION_RECOVERING" | "OPERATION_UNREACHABLE")
                );
                if is_known || (status["state"] == "OPERATION_UNKNOWN" && begun.elapsed() > patience) {
                    return status;
                }
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "operation {id} does not end");
            let one = json!({"operation_id": {"value": id}, "agent_id": {"value": agent}});
            self.call("RECONCILE_OPERATIONS", &json!({"operations": [one]})).await;
            let _ = tokio::time::timeout(Duration::from_secs(1), self.event()).await;
        }
    }

    /// Makes a disk of this many MiB of the profile's space.
    pub async fn make_disk(&mut self, id: &str, profile: &str, mebibytes: f64) -> Value {
        let is_space = |resource: &Value| {
            disk_of(resource).is_some_and(|source| source["type"] == "RAW" && source["profile"] == profile)
                && resource["scalar"]["value"].as_f64().unwrap() >= mebibytes
        };
        let body = |space: &Value| json!({"source": sized(space, mebibytes), "target_type": "MOUNT"});
        self.operate(id, "CREATE_DISK", is_space, body).await.remove(0)
    }

    /// Waits for an offer with the disk of this id; the offer, and the disk as it is offered.
    pub async fn offer_of(&mut self, id: &str) -> (Value, Value) {
        self.disk_offer(is_disk(id)).await
    }
}

/// Whether a resource is the disk of this id.
pub fn is_disk(id: &str) -> impl Fn(&Value) -> bool {
    move |resource| disk_of(resource).is_some_and(|source| source["id"] == id)
}

/// The disk with a persistent volume on it, seen by its tasks at `path`.
pub fn persistent(disk: &Value, id: &str, path: &str) -> Value {
    let mut volume = disk.clone();
    volume["disk"]["persistence"] = json!({"id": id});
    volume["disk"]["volume"] = json!({"container_path": path, "mode": "RW"});
    volume
}

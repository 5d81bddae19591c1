//! Snapshots of volumes at one moment.

use hawser_volume::Deadline;
use serde::Deserialize;
use serde_json::json;

use crate::client::{Call, Gateways};
use crate::number;
use crate::refusal::Refusal;

/// What came of a cut.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// The new snapshots, in the order of their volumes.
    #[serde(default, deserialize_with = "number::list")]
    pub volume_id_list: Vec<String>,
    /// The group that they are.
    #[serde(default)]
    pub snapshot_group_id: String,
}

impl Gateways {
    /// Cuts snapshots of volumes of one system at one moment, all or none: pairs of a volume's id and the snapshot's name. `writable`
    /// ones are volumes of their own. `NameInUse` when one of the names is taken, which may have been by this very call.
    pub async fn snapshot_volumes(
        &self,
        system: &str,
        cuts: &[(String, String)],
        writable: bool,
        deadline: Deadline,
    ) -> Result<Cut, Refusal> {
        let defs: Vec<_> = cuts.iter().map(|(volume, name)| json!({"volumeId": volume, "snapshotName": name})).collect();
        let mode = if writable { "ReadWrite" } else { "ReadOnly" };
        let path = format!("/api/instances/System::{system}/action/snapshotVolumes");
        self.call(&Call::repeatable("snapshotVolumes", path, json!({"snapshotDefs": defs, "accessModeLimit": mode})), deadline)
            .await
    }

    /// Removes all snapshots of a group.
    pub async fn remove_group(&self, system: &str, group: &str, deadline: Deadline) -> Result<(), Refusal> {
        let path = format!("/api/instances/System::{system}/action/removeConsistencyGroupSnapshots");
        self.done(&Call::repeatable("removeConsistencyGroupSnapshots", path, json!({ "snapGroupId": group })), deadline).await
    }
}

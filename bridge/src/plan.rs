//! What would be done for a declaration: the CSI calls of each claim, in order, with the arguments that matter.
//!
//! Nothing is called and nothing is looked up, so a plan can be made anywhere. What only the run will tell stands in angle brackets.

mod text;

use hawser_volume::AccessKind;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::claim::{ClaimedVolume, VolumeClaim};
use crate::declare;
use crate::finding::{Finding, Findings};
use crate::policy::Create;

/// The plan of a file.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// One for each volume that was declared without a mistake.
    pub claims: Vec<ClaimPlan>,
    /// What would be refused.
    pub mistakes: Vec<Finding>,
    /// What is accepted and dangerous, or without effect.
    pub warnings: Vec<Finding>,
    /// How many mistakes and warnings more there are.
    pub left_out: usize,
}

/// The plan of one volume.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimPlan {
    /// The claim, without the values of mount flags: they may be secrets.
    pub claim: VolumeClaim,
    /// When a task starts that wants the volume, and no other on the agent has it.
    pub start: Vec<Call>,
    /// When the last task on the agent that has it has ended.
    pub end: Vec<Call>,
}

/// One CSI call.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Its name.
    pub rpc: &'static str,
    /// Who makes it.
    pub by: Caller,
    /// The arguments that matter, in the order of the request's fields.
    #[serde(serialize_with = "as_map")]
    pub arguments: Vec<Argument>,
}

/// An argument: its name and its value, as JSON.
pub type Argument = (&'static str, Value);

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// The bridge, or the node plugin on its behalf.
    Hawser,
    /// The agent itself: `volume/csi` calls the node service, and only that.
    Mesos,
}

fn as_map<S: Serializer>(arguments: &[Argument], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(arguments.len()))?;
    for (name, value) in arguments {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl Plan {
    /// The plan of a file of any form that [`declare::file`] reads.
    pub fn of(text: &str) -> Self {
        let reading = declare::file(text);
        let Findings { mut mistakes, mut warnings, left_out, .. } = reading.findings;
        // In the order of the file, whatever was read first.
        for list in [&mut mistakes, &mut warnings] {
            list.sort_by_key(|finding| finding.place.line);
        }
        Self { claims: reading.claims.iter().map(ClaimPlan::of).collect(), mistakes, warnings, left_out }
    }
}

impl ClaimPlan {
    /// The calls of one claim.
    pub fn of(claim: &VolumeClaim) -> Self {
        let claim = without_flag_values(claim);
        let mut start: Vec<Call> = create(&claim).into_iter().collect();
        let id = ("volume_id", volume_id(&claim));
        let node = ("node_id", json!("<this node>"));
        let how = ("volume_capability", capability(&claim));
        let read_only = ("readonly", json!(claim.read_only));
        let context = ("volume_context", volume_context(&claim));
        let attach = vec![id.clone(), node.clone(), how.clone(), read_only.clone(), context.clone()];
        start.push(Call::hawser("ControllerPublishVolume", attach));

        let (by, id_of_node, context, published) = if claim.declared.form.through_isolator() {
            // What Mesos sends is what the task declared; a publish context it does not know of.
            (Caller::Mesos, ("volume_id", json!(title(&claim))), ("volume_context", json!("<as declared>")), json!({}))
        } else {
            (Caller::Hawser, id.clone(), context, json!("<from ControllerPublishVolume>"))
        };
        let published = ("publish_context", published);
        let staging = ("staging_target_path", json!("<staging path>"));
        let target = ("target_path", json!("<target path>"));
        let common = [id_of_node.clone(), published, staging.clone()];
        let call = |rpc, arguments: Vec<Argument>| Call { rpc, by, arguments };
        start.push(call("NodeStageVolume", [&common[..], &[how.clone(), context.clone()]].concat()));
        start.push(call("NodePublishVolume", [&common[..], &[target.clone(), how, read_only, context]].concat()));

        let mut end = vec![
            call("NodeUnpublishVolume", vec![id_of_node.clone(), target]),
            call("NodeUnstageVolume", vec![id_of_node, staging]),
            Call::hawser("ControllerUnpublishVolume", vec![id.clone(), node]),
        ];
        if claim.is_scratch() {
            end.push(Call::hawser("DeleteVolume", vec![id]));
        }
        Self { claim, start, end }
    }
}

impl Call {
    fn hawser(rpc: &'static str, arguments: Vec<Argument>) -> Self {
        Self { rpc, by: Caller::Hawser, arguments }
    }
}

/// The name, or the pattern of it, or the id.
fn title(claim: &VolumeClaim) -> &str {
    match &claim.volume {
        ClaimedVolume::Named(named) => named.name.as_str(),
        ClaimedVolume::Existing(existing) => existing.id.as_str(),
    }
}

fn create(claim: &VolumeClaim) -> Option<Call> {
    let named = claim.named().filter(|_| claim.can_be_made())?;
    // Any valid name will do to have the request made; the pattern stands in the plan.
    let request = claim.create_request(&"name".parse().ok()?, None)?;
    let range = request.capacity_range?;
    let mut arguments = vec![
        ("name", json!(named.name.as_str())),
        ("capacity_range", json!({ "required_bytes": range.required_bytes, "limit_bytes": range.limit_bytes })),
        ("volume_capabilities", json!([capability(claim)])),
        ("parameters", json!(request.parameters)),
    ];
    if let Some(source) = &named.source {
        arguments.push(("volume_content_source", json!(source.to_string())));
    }
    Some(Call::hawser("CreateVolume", arguments))
}

fn volume_id(claim: &VolumeClaim) -> Value {
    match &claim.volume {
        ClaimedVolume::Existing(existing) => json!(existing.id.as_str()),
        ClaimedVolume::Named(_) if claim.can_be_made() => json!("<from CreateVolume>"),
        ClaimedVolume::Named(_) => json!("<of the volume with this name>"),
    }
}

fn volume_context(claim: &VolumeClaim) -> Value {
    match &claim.volume {
        ClaimedVolume::Existing(existing) => json!(existing.context),
        ClaimedVolume::Named(_) if claim.can_be_made() => json!("<from CreateVolume>"),
        ClaimedVolume::Named(_) => json!("<of the volume with this name>"),
    }
}

fn capability(claim: &VolumeClaim) -> Value {
    let mode = ("access_mode", json!(claim.access.mode.to_string()));
    let kind = match &claim.access.kind {
        AccessKind::Block => ("block", json!({})),
        AccessKind::Mount(mount) => {
            let mut fields = serde_json::Map::new();
            if let Some(filesystem) = mount.filesystem {
                fields.insert("fs_type".to_owned(), json!(filesystem.as_str()));
            }
            if !mount.flags.is_empty() {
                fields.insert("mount_flags".to_owned(), json!(mount.flags));
            }
            if let Some(group) = mount.group {
                fields.insert("volume_mount_group".to_owned(), json!(group.to_string()));
            }
            ("mount", Value::Object(fields))
        }
    };
    json!({ kind.0: kind.1, mode.0: mode.1 })
}

/// Mount flags such as `password=…` are secrets wherever they are shown; their keys are not.
fn without_flag_values(claim: &VolumeClaim) -> VolumeClaim {
    let mut claim = claim.clone();
    if let AccessKind::Mount(mount) = &mut claim.access.kind {
        for flag in &mut mount.flags {
            if let Some((key, _)) = flag.split_once('=') {
                *flag = format!("{key}=…");
            }
        }
    }
    claim
}

/// Whether a volume is only looked for.
fn is_only_found(claim: &VolumeClaim) -> bool {
    claim.named().is_some_and(|named| named.create == Create::Never || named.size.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpcs(calls: &[Call]) -> Vec<String> {
        calls.iter().map(|call| format!("{}:{:?}", call.rpc, call.by)).collect()
    }

    fn plan(name: &str, options: &[(&str, &str)]) -> ClaimPlan {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ClaimPlan::of(&declare::docker::claim(name, &options).into_result().unwrap().0)
    }

    #[test]
    fn a_docker_volume_is_made_attached_mounted_and_left_in_the_opposite_order() {
        let plan = plan("pgdata", &[("size", "10"), ("backend", "ebs"), ("snapshotName", "before")]);
        assert_eq!(
            rpcs(&plan.start),
            ["CreateVolume:Hawser", "ControllerPublishVolume:Hawser", "NodeStageVolume:Hawser", "NodePublishVolume:Hawser"]
        );
        assert_eq!(
            rpcs(&plan.end),
            ["NodeUnpublishVolume:Hawser", "NodeUnstageVolume:Hawser", "ControllerUnpublishVolume:Hawser"]
        );
        let create: serde_json::Map<String, Value> =
            plan.start[0].arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(create["name"], "pgdata");
        assert_eq!(create["capacity_range"], json!({"required_bytes": 10u64 << 30, "limit_bytes": 10u64 << 30}));
        assert_eq!(create["parameters"], json!({"backend": "ebs"}));
        assert_eq!(create["volume_content_source"], "the snapshot named before");
    }

    #[test]
    fn nothing_is_made_without_a_size_and_only_scratch_is_deleted() {
        assert_eq!(plan("pgdata", &[]).start[0].rpc, "ControllerPublishVolume");
        assert_eq!(plan("pgdata", &[("size", "1"), ("create", "never")]).start[0].rpc, "ControllerPublishVolume");
        let scratch = plan("tmp", &[("size", "1"), ("retain", "delete-with-task")]);
        assert_eq!(scratch.end.last().unwrap().rpc, "DeleteVolume");
    }

    #[test]
    fn what_a_mount_flag_says_is_shown_nowhere() {
        let plan = plan("v", &[("mountFlags", "noatime,password=hunter2")]);
        let shown = format!("{plan} {} {plan:?}", serde_json::to_string(&plan).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("noatime") && shown.contains("password=…"), "{shown}");
    }
}

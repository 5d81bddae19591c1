//! A plan for people.

use std::fmt;

use hawser_volume::{AccessKind, Bytes};
use serde_json::Value;

use super::{Call, Caller, ClaimPlan, Plan, is_only_found, title};
use crate::claim::{ClaimedVolume, NamedVolume, VolumeClaim};
use crate::policy::Retain;

impl fmt::Display for Plan {
    /// The claims; mistakes and warnings are for their own channel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, claim) in self.claims.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            claim.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ClaimPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = &self.claim;
        writeln!(f, "{}", title(claim))?;
        writeln!(f, "  declared  {}, {}", claim.declared.place, declared_as(claim))?;
        writeln!(f, "  volume    {}", volume(claim))?;
        writeln!(f, "  used      {}", used(claim))?;
        writeln!(
            f,
            "  takeover  {}",
            claim.takeover.map_or_else(|| "as the bridge is configured".to_owned(), |t| t.to_string())
        )?;
        let (within, after) = if claim.declared.form.through_isolator() {
            (
                ": Mesos calls the node service, Hawser does its part within NodeStageVolume",
                ": Hawser's part is within NodeUnstageVolume",
            )
        } else {
            ("", "")
        };
        writeln!(f, "  when a task starts{within}")?;
        self.start.iter().try_for_each(|call| call.fmt(f))?;
        writeln!(f, "  when the last task on the agent that has it has ended{after}")?;
        self.end.iter().try_for_each(|call| call.fmt(f))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Caller::Hawser => "hawser",
            Caller::Mesos => "mesos",
        };
        let mut line = format!("    {by:<6}  {:<25}", self.rpc);
        for (name, value) in self.arguments.iter().filter(|(name, value)| is_said(name, value)) {
            line.push_str(&format!("  {name}={}", brief(name, value)));
        }
        writeln!(f, "{}", line.trim_end())
    }
}

fn declared_as(claim: &VolumeClaim) -> String {
    let form = claim.declared.form;
    match (&claim.declared.driver, form.through_isolator()) {
        (Some(driver), true) => format!("{form}, plugin {driver}"),
        (Some(driver), false) => format!("{form}, driver {driver}"),
        (None, _) => form.to_string(),
    }
}

fn volume(claim: &VolumeClaim) -> String {
    match &claim.volume {
        ClaimedVolume::Existing(_) => "exists, and is named by its id".to_owned(),
        ClaimedVolume::Named(_) if is_only_found(claim) => "must exist under this name".to_owned(),
        ClaimedVolume::Named(named) => format!("made if absent: {}", made(claim, named)),
    }
}

fn made(claim: &VolumeClaim, named: &NamedVolume) -> String {
    let mut parts: Vec<String> = named.size.iter().map(|size| format!("exactly {size}")).collect();
    parts.extend(claim.backend.iter().map(|backend| format!("on backend {backend}")));
    parts.extend(named.parameters.iter().map(|(key, value)| format!("{key}={value}")));
    parts.extend(named.source.iter().map(|source| format!("a copy of {source}")));
    parts.push(match named.retain {
        Retain::Keep => "kept when its task ends".to_owned(),
        Retain::DeleteWithTask => "DELETED when its task ends".to_owned(),
    });
    parts.join(", ")
}

fn used(claim: &VolumeClaim) -> String {
    let mut parts = Vec::new();
    if let Some(path) = &claim.declared.container_path {
        parts.push(format!("at {path}"));
    }
    match &claim.access.kind {
        AccessKind::Block => parts.push("as a block device".to_owned()),
        AccessKind::Mount(mount) => {
            parts.push(mount.filesystem.map_or_else(|| "with the driver's filesystem".to_owned(), |fs| format!("with {fs}")));
            if !mount.flags.is_empty() {
                parts.push(format!("mounted {}", mount.flags.join(",")));
            }
            parts.extend(mount.group.map(|group| format!("for group {group}")));
        }
    }
    parts.push(claim.access.mode.to_string());
    parts.push(if claim.read_only { "read-only" } else { "read and write" }.to_owned());
    parts.join(", ")
}

/// Whether an argument is worth a place on a line: the line `used` has the capability, and what other calls answered is handed on
/// without a word.
fn is_said(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("volume_capability" | "publish_context", _) | ("volume_context", Value::String(_)) => false,
        (_, Value::Object(map)) => !map.is_empty(),
        (_, Value::Bool(set)) => *set,
        _ => true,
    }
}

/// A value without the quotes that only JSON needs.
fn brief(name: &str, value: &Value) -> String {
    match (name, value) {
        ("capacity_range", range) => {
            let exactly = range.get("required_bytes").and_then(Value::as_u64).map(Bytes::new).unwrap_or_default();
            format!("exactly {exactly}")
        }
        (_, Value::String(text)) => text.clone(),
        (_, Value::Array(list)) => list.iter().map(|value| brief("", value)).collect::<Vec<_>>().join(","),
        (_, Value::Object(map)) => {
            let fields: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", brief(key, value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        (_, other) => other.to_string(),
    }
}

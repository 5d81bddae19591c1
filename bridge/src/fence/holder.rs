//! Who has a volume.

use std::fmt;
use std::time::SystemTime;

use hawser_volume::NodeId;
use serde::{Deserialize, Serialize};

use super::moment::rfc3339;
use crate::mesos::{AgentId, Endpoint};

/// Whoever has a volume attached: a CSI node, and as much as is on record of what runs there.
///
/// CSI alone tells the node (`published_node_ids`). The rest is what the bridge of that node wrote down when it attached the volume.
/// The bridge must write it anew whenever another agent or another boot of the host begins to use the volume: a record of an agent
/// that is long gone, on a host where its successor uses the volume, would be proof against the wrong one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The CSI node that the volume is attached to.
    pub node: NodeId,
    /// The Mesos agent on that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Where that agent answers. It is asked too: a master may have lost an agent that we still reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_address: Option<Endpoint>,
    /// The task, or the container where there is no task, as people name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The boot of the node's host (`/proc/sys/kernel/random/boot_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Counts the holders of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339::option")]
    pub since: Option<SystemTime>,
}

impl Holder {
    /// A holder of whom CSI alone told.
    pub fn on(node: NodeId) -> Self {
        Self { node, agent: None, agent_address: None, task: None, boot: None, epoch: None, since: None }
    }

    /// Whether `other` is the same hold and not a later one by the same node.
    pub fn is_same_hold(&self, other: &Holder) -> bool {
        (&self.node, &self.agent, &self.boot, self.epoch) == (&other.node, &other.agent, &other.boot, other.epoch)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)?;
        let agent = self.agent.as_ref().map(|agent| format!("agent {agent}"));
        let task = self.task.as_ref().map(|task| format!("task {task}"));
        let since = self.since.map(|since| format!("since {}", humantime::format_rfc3339_seconds(since)));
        let known: Vec<String> = [agent, task, since].into_iter().flatten().collect();
        if known.is_empty() { Ok(()) } else { write!(f, " ({})", known.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_file_and_says_what_it_knows() {
        let bare: Holder = serde_json::from_str(r#"{"node":"n1"}"#).unwrap();
        assert_eq!(bare, Holder::on("n1".parse().unwrap()));
        assert_eq!(bare.to_string(), "node n1");
        let full = Holder {
            agent: Some("A-S1".parse().unwrap()),
            agent_address: Some("http://10.0.0.7:5051/slave(1)".parse().unwrap()),
            task: Some("db.1".into()),
            boot: Some("b".into()),
            epoch: Some(7),
            since: Some(humantime::parse_rfc3339("2026-11-22T01:02:03.004Z").unwrap()),
            ..bare.clone()
        };
        let text = serde_json::to_string(&full).unwrap();
        assert!(text.contains(r#""since":"2026-11-22T01:02:03.004Z""#), "{text}");
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), full);
        assert_eq!(full.to_string(), "node n1 (agent A-S1, task db.1, since 2026-11-22T01:02:03Z)");
        assert!(!full.is_same_hold(&bare) && !full.is_same_hold(&Holder { epoch: Some(8), ..full.clone() }));
        assert!(full.is_same_hold(&Holder { task: None, ..full.clone() }));
    }
}

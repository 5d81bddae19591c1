//! Which agent, and what it says of itself.

use std::fmt;

use hawser_volume::{Error, NodeId, Result};
use serde::{Deserialize, Serialize};

/// The agent attribute that names the CSI node of the agent's host: `--attributes=csi_node:i-0abc`. There may be several, one for
/// each CSI driver.
pub const NODE_ATTRIBUTE: &str = "csi_node";

/// The agent attribute that names the boot of the agent's host (`/proc/sys/kernel/random/boot_id`).
pub const BOOT_ATTRIBUTE: &str = "boot_id";

/// Longest agent id, in bytes; Mesos' own have 40 or so.
const ID_MAX: usize = 256;

/// The id that a master gave to an agent. It is kept over restarts of the agent and of its host, as long as the agent's
/// configuration is compatible (`Slave::recover`, src/slave/slave.cpp), and never given to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(String);

impl AgentId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AgentId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if text.is_empty() || text.len() > ID_MAX || text.chars().any(char::is_control) {
            return Err(Error::invalid(format!("an agent id must be 1 to {ID_MAX} bytes without control characters")));
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for AgentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.to_owned().try_into()
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> Self {
        id.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentInfo {
    /// Its id.
    pub id: AgentId,
    /// Its `--hostname`: a name that people read, or an address. Mesos does not check it, and two agents may have the same.
    pub hostname: String,
    /// Its attributes [`NODE_ATTRIBUTE`]: texts, and the items of sets (`csi_node:{i-1,sdc-7}`).
    pub nodes: Vec<String>,
    /// Its attributes of that name that Mesos has read as numbers: `42`, `042` and `42.0` cannot be told apart any more.
    pub numeric_nodes: Vec<f64>,
    /// The text of its attribute [`BOOT_ATTRIBUTE`], if there is exactly one.
    pub boot: Option<String>,
}

impl AgentInfo {
    /// Whether the agent runs on the host that CSI calls `node`, for certain.
    ///
    /// What the operator said by attribute decides; only an agent without the attribute is known by its hostname, which must be
    /// equal to the node id, letter case apart. No part of a name is ever enough.
    pub fn is_on(&self, node: &NodeId) -> bool {
        if self.nodes.is_empty() && self.numeric_nodes.is_empty() {
            return self.hostname.eq_ignore_ascii_case(node.as_str());
        }
        self.nodes.iter().any(|text| text == node.as_str())
    }

    /// Whether it may: also when its attribute is a number and the node id is the same number in some spelling. Enough to take the
    /// node for alive, and for nothing else.
    pub fn may_be_on(&self, node: &NodeId) -> bool {
        let number: Option<f64> = node.as_str().parse().ok();
        self.is_on(node) || number.is_some_and(|number| self.numeric_nodes.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(hostname: &str, nodes: &[&str]) -> AgentInfo {
        AgentInfo {
            id: "S1".parse().unwrap(),
            hostname: hostname.into(),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            numeric_nodes: Vec::new(),
            boot: None,
        }
    }

    #[test]
    fn an_agent_is_on_the_node_that_its_attribute_names_and_else_on_its_host() {
        let on = |agent: &AgentInfo, node: &str| agent.is_on(&node.parse().unwrap());
        assert!(on(&agent("node-a", &[]), "node-a") && on(&agent("Node-A.example", &[]), "node-a.example"));
        assert!(!on(&agent("node-a.example", &[]), "node-a") && !on(&agent("node-a", &[]), "node-a.example"));
        assert!(on(&agent("node-a", &["i-1", "sdc-7"]), "sdc-7"));
        assert!(!on(&agent("node-a", &["i-1"]), "node-a"), "the attribute decides");
        assert!(!on(&agent("node-a", &["I-1"]), "i-1"), "node ids are compared letter by letter");
        let number = AgentInfo { numeric_nodes: vec![42.0], ..agent("42", &[]) };
        assert!(!on(&number, "42"), "an attribute that is a number is not overruled by the hostname");
        for (node, may) in [("42", true), ("042", true), ("42.0", true), ("43", false), ("n42", false)] {
            assert_eq!(number.may_be_on(&node.parse().unwrap()), may, "{node}");
        }
    }

    #[test]
    fn an_agent_id_is_one_line() {
        assert!("37ccfa50-796d-427a-9254-9a28b00a62b6-S1".parse::<AgentId>().is_ok());
        assert!(
            "".parse::<AgentId>().is_err() && "a\nb".parse::<AgentId>().is_err() && "a".repeat(257).parse::<AgentId>().is_err()
        );
    }
}

//! Nodes make themselves known in the pool, so that nothing is attached to a node that does not exist.

use std::fs;
use std::path::PathBuf;

use hawser_host::{durable, machine};
use hawser_volume::record::now;
use hawser_volume::{Error, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::store::Pool;

/// A node as recorded.
#[derive(Debug, Serialize, Deserialize)]
struct NodeRecord {
    node: NodeId,
    hostname: String,
    boot: String,
    /// Nanoseconds since 1970.
    since: u64,
}

impl Pool {
    /// Makes `node` known; called when the node service starts.
    pub fn register_node(&self, node: &NodeId) -> Result<()> {
        let record = NodeRecord { node: node.clone(), hostname: machine::hostname()?, boot: machine::boot_id()?, since: now() };
        let text = serde_json::to_vec_pretty(&record).map_err(|e| Error::internal("encode the node record").caused_by(e))?;
        durable::write(&self.node_path(node), &text)
    }

    pub(crate) fn require_node(&self, node: &NodeId) -> Result<()> {
        let path = self.node_path(node);
        if fs::exists(&path).unwrap_or(false) {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "node {node} does not exist in backend {}: no node service with that id and this root ({}) has been started",
            self.backend,
            self.root().display()
        )))
    }

    fn node_path(&self, node: &NodeId) -> PathBuf {
        // A node id may be longer than a name; only its digest is of interest here.
        let digest = hawser_volume::id::digest(node.as_str());
        self.layout.nodes().join(format!("{digest}.json"))
    }
}

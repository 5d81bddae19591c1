//! The nodes that may attach.

use hawser_volume::id::digest;
use hawser_volume::{Bytes, Error, NodeId, Result};

use crate::tree::Tree;

impl Tree {
    /// Makes a node known.
    pub(crate) fn register_node(&self, node: &NodeId) -> Result<()> {
        // The first one and the same again are the same file; the digest is of nothing but the name.
        self.root.nodes.create(digest(node.as_str()), node.as_str().as_bytes())?;
        self.root.nodes.sync()
    }

    pub(crate) fn require_node(&self, node: &NodeId) -> Result<()> {
        match self.root.nodes.read(digest(node.as_str()), Bytes::mib(1))? {
            Some(_) => Ok(()),
            None => Err(Error::not_found(format!(
                "node {node} is not known to backend {}; it is when its node service has started",
                self.backend
            ))),
        }
    }
}

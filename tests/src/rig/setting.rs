//! What a node is told about itself when it boots.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file that the host writes and the node's first process reads.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, also as a host.
    pub name: String,
    /// Its address with the length of the prefix.
    pub address: String,
    /// The directory of the host that is the node's `/lib/modules`.
    pub modules: PathBuf,
    /// Directories of the host that the node sees at the same path, in the order in which they are mounted.
    pub shares: Vec<Share>,
    /// The disk that `/tmp` is on; without one it is in memory.
    pub scratch: Option<PathBuf>,
    /// The file that the node makes when its agent listens.
    pub ready: PathBuf,
}

/// A directory of the host in a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Where it is, on both sides.
    pub path: PathBuf,
    /// Whether the node may write to it.
    pub writable: bool,
}

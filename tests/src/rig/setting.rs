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
    /// Directories of the host that the node sees at the same path as they are when it boots, also where it has something of its own
    /// instead of the host's.
    pub seen: Vec<PathBuf>,
    /// The directory that both see at the same path and write to.
    pub shared: PathBuf,
    /// The disk that `/tmp` is on; without one it is in memory.
    pub scratch: Option<PathBuf>,
    /// The file that the node makes when its agent listens.
    pub ready: PathBuf,
}

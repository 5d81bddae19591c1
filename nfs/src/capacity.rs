//! How much there is.

use hawser_volume::{Bytes, Result};

use crate::tree::Tree;

/// What the export has, as its server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that can still be written. All volumes share them; nothing is set aside.
    pub available: Bytes,
    /// Bytes in all.
    pub total: Bytes,
}

impl Tree {
    pub(crate) fn capacity(&self) -> Result<Capacity> {
        let bytes = self.root.base.usage()?.bytes;
        Ok(Capacity { available: Bytes::new(bytes.available), total: Bytes::new(bytes.total) })
    }
}

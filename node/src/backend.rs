//! The backends: one file a storage system, each an implementation of [`Attacher`](crate::Attacher).

mod disks;
pub mod ebs;
pub mod local;
pub mod nfs;
mod notes;
pub mod scaleio;

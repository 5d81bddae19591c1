//! The backends: one file a storage system, each an implementation of [`Attacher`](crate::Attacher).

pub mod ebs;
pub mod local;
pub mod nfs;

//! The backends: one folder or file a storage system, each an implementation of [`Provisioner`](crate::Provisioner).

pub mod ebs;
pub mod local;
pub mod nfs;
pub mod scaleio;

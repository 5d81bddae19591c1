//! The controller side: CSI's Controller and GroupController services over any number of backends.
//!
//! A request arrives at [`service`], where it is checked and turned into the vocabulary of `hawser-volume`; the queue gives it
//! its turn; [`Backends`] routes it by the first part of its id to one [`Provisioner`], the seam behind which a storage system
//! is provisioned. Proto messages do not go further down than the service.

#![forbid(unsafe_code)]

mod around;
pub mod backend;
pub mod backends;
pub mod provision;
pub mod service;

pub use backends::Backends;
pub use provision::{Provisioner, VolumeStatus};
pub use service::Controller;

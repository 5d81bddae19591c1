//! The vocabulary of Hawser.
//!
//! Everything that the parts say to each other is defined here, checked once when it is built, and free of I/O: which
//! volume ([`id`], [`native`], [`record`]), how large ([`bytes`]), used how ([`access`]) and by whom ([`attachment`], [`host_state`]), reachable from where ([`topology`]), with which wishes
//! ([`parameters`], [`mkfs`], [`secrets`]), read from a [`request`]; what a backend can do ([`capability`]); what came of a call ([`error`], [`status`]); until when
//! somebody waits ([`deadline`]), in which order calls run ([`queue`]), and when a storage system is asked once more ([`attempt`]); what an
//! examination found ([`checkup`]).

#![forbid(unsafe_code)]

pub mod access;
pub mod around;
pub mod attachment;
pub mod attempt;
pub mod bytes;
pub mod capability;
pub mod checkup;
pub mod deadline;
pub mod error;
pub mod host_state;
pub mod id;
pub mod listen;
pub mod mkfs;
pub mod native;
pub mod parameters;
pub mod queue;
pub mod record;
pub mod request;
pub mod secrets;
pub mod status;
pub mod topology;

pub use access::{Access, AccessKind, AccessMode, Filesystem, MountAccess};
pub use around::{Around, Surrounded};
pub use attachment::Attachment;
pub use bytes::{Bytes, SizeRange, SizeRule};
pub use capability::{Capabilities, Expansion, Listing, SpecLevel};
pub use deadline::Deadline;
pub use error::{Error, Kind, Result};
pub use host_state::HostState;
pub use id::{BackendName, GroupSnapshotId, NodeId, ObjectName, SnapshotId, VolumeId};
pub use listen::HttpEndpoint;
pub use mkfs::MkfsParameters;
pub use native::NativeId;
pub use record::Origin;
pub use secrets::Secrets;
pub use topology::{Segments, TopologyRequirement};

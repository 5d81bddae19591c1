//! The storage system of the NFS backend: volumes, snapshots and who has what, in a tree below a directory that an NFS server exports.
//!
//! ```text
//! <export>/
//!   .hawser/
//!     export.json                 what this tree is, and its id
//!     volumes/<digest>/           one directory a volume; <digest> is made of the volume's name
//!       record.<n>                what is recorded of it; the highest number holds
//!       data-<incarnation>/       its content, unless it has a place of its own (`sub-dir`)
//!       lease-<epoch>             touched by the holder for as long as it has the volume staged
//!     snapshots/<digest>/         the same for snapshots
//!     claims/<digest>/record.<n>  whose a path below the export is
//!     nodes/<digest>              the nodes that may attach
//!     projects/<number>           whose a project of the disk's quotas is
//!     new/<random>/               objects in the making
//!     trash/<id>/                 objects being removed, in the background
//!   retained/  archived/          the content of volumes that were deleted and are to be kept
//! ```
//!
//! **No lock, no leader.** Any number of controllers work in one tree at once. An object appears by one rename of a directory that is not
//! empty, which the server does not let replace another one such. A record is never overwritten: its successor gets the next number by a
//! link, which the server gives to one of two, and whoever comes second looks again ([`versions`]). Nothing depends on a client's clock,
//! on locks that a dead client keeps, or on what a client remembers.
//!
//! **Never the wrong one.** The native id is `<digest>-<incarnation>`, as in the local backend; nothing is removed but what carries the
//! id in its record.
//!
//! **Crash-safe.** Every step leaves what the same call, or its opposite, or the sweep finishes.
//!
//! **Never hangs.** Everything happens behind a [`gate`]: work on threads that can be left behind, with a deadline; and while the server
//! is silent nobody else begins any.

#![forbid(unsafe_code)]

mod attachment;
mod capacity;
pub mod config;
mod connection;
pub mod examine;
mod export;
mod filling;
pub mod gate;
pub mod given;
mod layout;
pub mod lease;
mod node;
pub mod options;
mod quota;
pub mod record;
mod snapshot;
mod sweep;
pub mod template;
mod tree;
pub mod versions;
mod volume;

pub use attachment::Claim;
pub use capacity::Capacity;
pub use config::{NfsConfig, OnDelete};
pub use export::{Export, Page};
pub use layout::Shown;
pub use lease::Lease;
pub use record::{SnapshotRecord, State, VolumeRecord};
pub use volume::NewVolume;

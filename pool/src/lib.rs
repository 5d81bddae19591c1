//! The storage system of the local backend: one directory (the *root*) that holds volumes, snapshots and who has what.
//!
//! What an array or a cloud is to other backends, a [`Pool`] is to the local one. The controller side provisions in it, the
//! node side attaches from it, and neither knows the other: several controllers and several nodes, in one process or in many,
//! on one machine or on machines that share the root, agree through its files alone.
//!
//! ```text
//! root/
//!   pool.json                   what this directory is, and its id
//!   volumes/<digest>/           one directory a volume; <digest> is made of the volume's name
//!     record.json  lock  image  (or data/ in a pool of directories)
//!   snapshots/<digest>/         the same for snapshots
//!   groups/<digest>/            group snapshots: which snapshots belong together
//!   nodes/<digest>.json         the nodes that may attach
//!   new/<random>/               objects in the making
//!   trash/<random>/             objects being removed
//! ```
//!
//! **Exclusive.** An object is prepared in `new/` and appears by one rename that fails if the name is taken; it disappears by
//! one rename into `trash/`. No two processes can make two volumes of one name, and nobody ever sees half an object.
//!
//! **Never the wrong one.** The native id is `<digest>-<incarnation>`; a volume that is deleted and made again under its old
//! name has another incarnation, so a late call for the old one finds nothing instead of the new one.
//!
//! **Crash-safe.** Records are written aside, flushed and renamed. Whatever a killed process leaves in `new/` and `trash/` is
//! removed by [`Pool::sweep`]; nothing else needs repair.
//!
//! **One at a time.** Whoever changes an object holds its `lock` (a `flock`, gone with its process). Reading takes no lock.

#![forbid(unsafe_code)]

mod attachment;
mod capacity;
mod config;
pub mod examine;
mod group;
mod image;
mod layout;
mod node;
mod record;
mod snapshot;
mod store;
mod sweep;
mod volume;

pub use attachment::Claim;
pub use capacity::Capacity;
pub use config::LocalConfig;
pub use group::GroupRecord;
pub use record::{Provisioning, SnapshotRecord, SnapshotState, VolumeRecord};
pub use snapshot::Cut;
pub use store::{Kind, Page, Pool};
pub use volume::NewVolume;

//! The node side: CSI's Node service.
//!
//! A volume comes to a node in two steps, and leaves it in the opposite order:
//!
//! ```text
//!              NodeStageVolume                    NodePublishVolume (any number of targets)
//!   nothing ─────────────────────▶ staged ─────────────────────────▶ published
//!              attach, probe,        │  ▲        bind mount               │
//!              format, mount, grow   │  └──────────────────────────────────┘
//!   nothing ◀────────────────────────┘           NodeUnpublishVolume
//!              NodeUnstageVolume: unmount, flush, detach
//! ```
//!
//! The state is what the kernel says: every step reads mountinfo and asks the backend's [`Attacher`] whose volume a mount shows,
//! so a call that repeats, or comes after a crash, sees exactly what is there. Nothing is remembered in this process.

#![forbid(unsafe_code)]

mod around;
pub mod attach;
pub mod backend;
mod census;
mod expand;
mod publish;
pub mod service;
mod shown;
mod stage;
mod stats;
mod view;

pub use attach::{Attach, Attacher, Source};
pub use census::Mounted;
pub use service::{Node, NodeConfig};
pub use shown::Shown;

//! The harness of the suites: a started plugin, the ground that its pool stands on, and a CO that plays with it.
//!
//! A [`Plugin`] is the real binary on a temporary socket and root, started, killed and started again like any other process. A
//! [`Client`] is what a CO is to it: typed clients, and the steps of a volume's life with the paths that a CO would choose. A
//! [`Workspace`] is the directory of one case; whatever happens in it, a panic included, is unmounted, unbound and removed when
//! it goes. [`Plugin::finish`] proves before that that nothing was left to clean up.
//!
//! [`rig`] is machines with kernels of their own, for what the kernel here has not got or what concerns several nodes.
//!
//! [`mesos`], [`docker`] and [`podman`] are the programs of others that a plugin stands beside, each in an [`enclosure`],
//! which takes everything with it that they leave.
//!
//! The kernel is read with code of its own ([`kernel`]), not with the product's: a mistake in there must not hide from its tests.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports; its message and place are what is wanted")]

pub mod binary;
pub mod bridge;
pub mod bridges;
pub mod cgroup;
pub mod client;
pub mod cluster;
pub mod conformance;
pub mod content;
pub mod daemon;
pub mod docker;
pub mod ec2;
pub mod enclosure;
pub mod faults;
pub mod frozen;
pub mod ground;
pub mod helm;
pub mod http2;
pub mod image;
pub mod kernel;
pub mod mesos;
pub mod model;
pub mod notice;
pub mod output;
pub mod plugin;
pub mod podman;
pub mod poll;
pub mod process;
pub mod refusal;
pub mod remote;
pub mod rig;
pub mod scaleio;
pub mod settings;
pub mod storage;
pub mod story;
pub mod told;
pub mod trial;
pub(crate) mod trouble;
pub mod usage;
pub mod workspace;

pub use client::{Client, Context};
pub use ground::Ground;
pub use plugin::Plugin;
pub use settings::Settings;
pub use usage::Usage;
pub use workspace::Workspace;

/// A mebibyte, in the type of CSI's sizes.
pub const MIB: i64 = 1 << 20;

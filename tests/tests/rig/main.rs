//! The rig itself: what the suites that stand on it take for granted.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod cleanup;
mod disks;
mod inside;
mod network;
mod nfs;
mod plugin;
mod programs;

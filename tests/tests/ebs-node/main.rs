//! The node's side of EBS, with real NVMe devices in nodes with kernels of their own: what is taken for a volume's device, and what is
//! not, and what the user is told. Nobody plays EC2 here: the test is the controller.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod cloud;
mod crash;
mod life;
mod lost;
mod metadata;
mod takeover;
mod whole;
mod world;
mod wrong;

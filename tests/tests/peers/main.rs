//! The programs that others wrote and that stand beside Hawser in production, for real: Apache Mesos, Docker and Podman.
//!
//! The tests prove that these programs run here and leave nothing, and write down what they ask of a volume plugin, of `dvdcli` and of
//! a CSI plugin: whoever changes those parts of Hawser finds here what the other side does, as assertions. The plugins and the
//! `dvdcli` in these tests are stand-ins that give out directories.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod csi;
mod csi_plugin;
mod docker;
mod dvdcli;
mod mesos;
mod panic;
mod podman;
mod traces;
mod volume_plugin;

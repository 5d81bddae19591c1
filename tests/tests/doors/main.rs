//! The bridge's doors, and those who come through them in production: a real Mesos, Docker and Podman.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod docker;
mod mesos;
mod podman;

/// What a container engine is told of a new volume.
const SMALL: [&str; 4] = ["--opt", "size=64MiB", "--opt", "newFsType=ext4"];

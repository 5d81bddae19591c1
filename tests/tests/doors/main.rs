//! The bridge's doors, and those who come through them in production: a real Mesos, Docker and Podman.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod bridges;
mod docker;
mod mesos;
mod podman;

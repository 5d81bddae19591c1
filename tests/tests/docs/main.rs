//! The documentation: its commands, configurations, manifests and links are right, and the first steps are taken as they are written.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod blocks;
mod commands;
mod links;
mod manifests;
mod steps;

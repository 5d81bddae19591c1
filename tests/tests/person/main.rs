//! What a person types: volumes, snapshots, this node, and why a volume is where it is.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod away;
mod hand;
mod kill;
mod mock;
mod output;
mod verbs;
mod why;

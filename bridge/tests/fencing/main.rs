//! Fencing over real sockets: a master and agents that are small servers with state, and everything above them as in production.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod agent;
mod fake;
mod live;
mod master;
mod takeover;
mod tls;
mod world;

//! The NFS backend with a real server and real clients: each node has a kernel of its own, and what separates them is a network.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod condition;
mod doctor;
mod given;
mod hostile;
mod life;
mod mounts;
mod neighbour;
mod outage;
mod quota;
mod removal;
mod round;
mod table;
mod tenant;
mod trouble;
mod world;

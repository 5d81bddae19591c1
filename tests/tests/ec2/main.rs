//! The client of EC2 against an EC2 that takes its time and fails, and that EC2 against other people's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod adopt;
mod backend;
mod chaos;
mod errors;
mod host;
mod leaked;
mod life;
mod load;
mod lost;
mod peers;
mod ready;
mod storm;

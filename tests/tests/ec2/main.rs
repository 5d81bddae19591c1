//! The client of EC2 against an EC2 that takes its time and fails, and that EC2 against other people's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod chaos;
mod life;
mod peers;
mod ready;

//! Compares our `.proto` files with those that they were transcribed from.

#![allow(clippy::expect_used, reason = "a panic is how a test reports")]

mod csi;
mod facts;
mod mesos;

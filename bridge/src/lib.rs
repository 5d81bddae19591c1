//! The Mesos side of Hawser: a CSI client that turns the volumes which tasks declare into CSI calls.

#![forbid(unsafe_code)]

pub mod driver;

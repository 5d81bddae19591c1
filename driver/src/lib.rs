//! The `hawser` program: command line, configuration, server.
//!
//! What was typed ([`cli`]) and the file ([`config`]) become a checked [`config::Config`]; [`plugin`] builds the parts that it
//! describes; [`serve`] puts them on a unix socket. [`demo`] does the same on a temporary root and plays a CO;
//! [`client`] is a person's side of that socket; [`mesos`] shows what the bridge makes of a task's declarations.

#![forbid(unsafe_code)]

use std::process::ExitCode;

pub mod adopt;
pub mod bridge;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod http;
pub mod identity;
pub mod leaked;
pub mod mesos;
pub mod page;
pub mod plugin;
pub mod serve;
pub mod socket;
pub mod status;
pub mod telemetry;

/// Runs the program with the arguments of this process; errors go to standard error, once, with every cause.
pub fn run() -> ExitCode {
    cli::run()
}

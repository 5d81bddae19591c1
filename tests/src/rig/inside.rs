//! A suite that runs in a node, its plugins and everything else with it, so that nothing in the suite is special.
//!
//! Its `main` runs twice, first here and then in the node:
//!
//! ```no_run
//! # use std::process::ExitCode;
//! use hawser_tests::rig::{NfsServer, Plan, Rig, inside};
//!
//! fn main() -> ExitCode {
//!     if !inside::is_inside() {
//!         let rig = Rig::start();
//!         let [storage, node] = rig.nodes_of([Plan::new("storage"), inside::plan()]);
//!         let server = NfsServer::on(storage);
//!         return inside::enter(&node, &[("HAWSER_TEST_EXPORT", server.export("tests", "rw,no_root_squash").to_string())]);
//!     }
//!     // … the suite
//!     # ExitCode::SUCCESS
//! }
//! ```
//!
//! `rig-run` does it to a suite that knows nothing of it, as a runner of Cargo's:
//! `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/target/debug/rig-run cargo test --test conformance`. Nothing can be built there, so
//! a suite that needs the program with faults gets it as `HAWSER_FAULTS_BIN`; all of the environment goes along.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use super::{Node, Plan};
use crate::binary::{self, hawser};

/// Set in the node.
const VARIABLE: &str = "HAWSER_TEST_INSIDE";

/// Whether this process runs in a node.
pub fn is_inside() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// All of these; in a node every third, as what takes a moment here takes seconds there. For what is tried many times in the same way.
pub fn some<T>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    all.into_iter().step_by(if is_inside() { 3 } else { 1 })
}

/// A node that a suite has enough room in.
pub fn plan() -> Plan {
    plan_of("suite")
}

/// The same with a name of its own.
pub fn plan_of(name: &str) -> Plan {
    Plan { memory: 768, scratch: 64 << 30, ..Plan::new(name) }
}

/// Runs this program with its own arguments in `node`, with `environment` besides its own, and returns how it ended.
pub fn enter(node: &Node, environment: &[(&str, String)]) -> ExitCode {
    let mut command = command(node, &std::env::current_exe().unwrap());
    command.args(std::env::args_os().skip(1)).envs(environment.iter().map(|(name, value)| (name, value)));
    status(command)
}

/// A command that runs a suite in `node`.
pub fn command(node: &Node, suite: &Path) -> Command {
    let mut command = node.command(suite);
    // Cargo is not to build anything there.
    command.env(VARIABLE, "1").env(binary::VARIABLE, hawser()).env("TMPDIR", "/tmp").stdin(Stdio::null());
    command
}

/// Runs a command to its end, with what it says going where this program's goes.
pub fn status(mut command: Command) -> ExitCode {
    let status = command.status().unwrap();
    ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))
}

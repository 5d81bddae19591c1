//! Suites that run for a backend whose storage is on another machine, too: in a node of the [rig](crate::rig), with a server in another
//! one. The suite's program runs twice, here for the backends of this machine and there for the others.

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::binary::{FAULTS_VARIABLE, hawser_with_faults};
use crate::ground::{EXPORT, Ground};
use crate::rig::{NfsServer, Node, Plan, Rig, inside};

/// Whether what stands on `ground` is tried by this run of the program.
pub fn is_of_this_side(ground: Ground) -> bool {
    (ground == Ground::Nfs) == inside::is_inside()
}

/// Runs one test of this program, which uses Rust's own harness, in a node; panics unless it succeeds.
pub fn one(test: &str) {
    let (_server, node, environment) = machines();
    let mut command = inside::command(&node, &std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).envs(environment);
    let status = command.status().unwrap();
    assert!(status.success(), "{test} in a node: {status}");
}

fn machines() -> (NfsServer, Node, Vec<(&'static str, String)>) {
    let rig = Rig::start();
    let [storage, node] = rig.nodes_of([Plan::new("storage"), inside::plan()]);
    let server = NfsServer::on(storage);
    let export = server.export("tests", "rw,sync,no_root_squash,no_subtree_check");
    let faults = hawser_with_faults().to_str().unwrap().to_owned();
    (server, node, vec![(EXPORT, export.to_string()), (FAULTS_VARIABLE, faults)])
}

/// Runs this program once more, in a node, if it is not there and its arguments do not exclude what is called `name`.
pub fn too(arguments: &Arguments, name: &str) -> ExitCode {
    let is_wanted = arguments.filter.as_ref().is_none_or(|filter| filter.contains(name));
    if inside::is_inside() || !is_wanted {
        return ExitCode::SUCCESS;
    }
    let (_server, node, environment) = machines();
    inside::enter(&node, &environment)
}

//! Suites that run for a backend whose storage is on another machine, too: in nodes of the [rig](crate::rig), with a server in one more.
//! The suite's program runs here for the backends of this machine, and there for the others.
//!
//! A node has one processor, so the cases are shared among two nodes.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

use crate::binary::{FAULTS_VARIABLE, hawser_with_faults};
use crate::ground::{EXPORT, Ground};
use crate::rig::{NfsServer, Node, Plan, Rig, inside};

/// The nodes that cases are shared among.
const NODES: [&str; 2] = ["suite-1", "suite-2"];

/// How many cases run at one time in each: they wait for the server and for each other's processes half of the time.
const AT_ONCE: usize = 2;

/// The number of the node in [`NODES`] that a suite runs in, if it is shared.
const SHARE: &str = "HAWSER_TEST_SHARE";

/// Which half of a suite runs, if not both: `here` is what needs no node, `nodes` is the rest. Halves can run beside each other.
const SIDE: &str = "HAWSER_TEST_SIDE";

/// Whether the half of this name is to run.
fn is_wanted(side: &str) -> bool {
    match std::env::var(SIDE).as_deref() {
        Ok(wanted @ ("here" | "nodes")) => wanted == side,
        Ok(other) => panic!("{SIDE}={other}: it is `here` or `nodes`"),
        Err(_) => true,
    }
}

/// Whether what stands on `ground` is tried by this run of the program.
pub fn is_of_this_side(ground: Ground) -> bool {
    if inside::is_inside() { ground == Ground::Nfs } else { ground != Ground::Nfs && is_near() }
}

/// Whether this run of the program is the half that needs no node.
pub fn is_near() -> bool {
    !inside::is_inside() && is_wanted("here")
}

/// The trials that are this node's; all of them unless the suite is shared.
pub fn share(trials: Vec<Trial>) -> Vec<Trial> {
    let Ok(share) = std::env::var(SHARE) else { return trials };
    let own: usize = share.parse().unwrap();
    trials.into_iter().enumerate().filter(|(number, _)| number % NODES.len() == own).map(|(_, trial)| trial).collect()
}

/// Runs one test of this program, which uses Rust's own harness, in a node; panics unless it succeeds.
pub fn one(test: &str) {
    let rig = Rig::start();
    let [storage, node] = rig.nodes_of([Plan::new("storage"), inside::plan()]);
    let (_server, environment) = serve(storage);
    let mut command = command(&node, &environment);
    command.args(["--exact", test, "--nocapture"]);
    let status = command.status().unwrap();
    assert!(status.success(), "{test} in a node: {status}");
}

/// Runs this program once more, in nodes, if it is not there and its arguments do not exclude what is called `name`.
pub fn too(arguments: &Arguments, name: &str) -> ExitCode {
    let is_meant = arguments.filter.as_ref().is_none_or(|filter| filter.contains(name));
    if inside::is_inside() || !is_meant || !is_wanted("nodes") {
        return ExitCode::SUCCESS;
    }
    let rig = Rig::start();
    let [storage, nodes @ ..] = rig.nodes_of([Plan::new("storage"), inside::plan_of(NODES[0]), inside::plan_of(NODES[1])]);
    let (_server, environment) = serve(storage);
    let run = |(number, node): (usize, &Node)| {
        let mut command = command(node, &environment);
        command.args(std::env::args_os().skip(1)).env(SHARE, number.to_string());
        if arguments.test_threads.is_none() {
            command.arg(format!("--test-threads={AT_ONCE}"));
        }
        command.spawn().unwrap()
    };
    let mut runs: Vec<_> = nodes.iter().enumerate().map(run).collect();
    let ends: Vec<_> = runs.iter_mut().map(|run| run.wait().unwrap()).collect();
    if ends.iter().all(|end| end.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A server, and what a suite has to know of it.
///
/// It gives no delegations. The nodes of a suite are one kernel and so one client, of which a server believes that it knows of its own
/// writes (`nfsd_breaker_owns_lease`, fs/nfsd/nfs4state.c): two mounts that differ in `ro` would see each other's late. Real clients with
/// delegations are tried by the suite `nfs`.
fn serve(storage: Node) -> (NfsServer, [(&'static str, String); 2]) {
    let server = NfsServer::on(storage);
    server.node().shell("echo 0 > /proc/sys/fs/leases-enable");
    let export = server.export("tests", "rw,sync,no_root_squash,no_subtree_check");
    let faults = hawser_with_faults().to_str().unwrap().to_owned();
    (server, [(EXPORT, export.to_string()), (FAULTS_VARIABLE, faults)])
}

fn command(node: &Node, environment: &[(&str, String)]) -> Command {
    let mut command = inside::command(node, &std::env::current_exe().unwrap());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

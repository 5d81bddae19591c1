//! Suites that run for backends that this machine cannot have, too: in nodes of the [rig](crate::rig), with a server in one more for
//! those whose storage is on another machine. The suite's program runs here for the backends of this machine, and there for the others.
//!
//! A node has one processor, so the cases are shared among two nodes.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

use crate::binary::{FAULTS_VARIABLE, hawser_with_faults};
use crate::ground::{EXPORT, Ground};
use crate::rig::{NfsServer, Node, Plan, Rig, inside};

/// The nodes that cases are shared among.
const NODES: [&str; 2] = ["suite-1", "suite-2"];

/// How many cases run at one time in each: they wait for storage systems and for each other's processes most of the time.
const AT_ONCE: usize = 4;

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
    let is_served = || std::env::var_os(EXPORT).is_some();
    match ground {
        Ground::Ext4 | Ground::Xfs => is_near(),
        Ground::Nfs => inside::is_inside() && is_served(),
        Ground::Devices => inside::is_inside(),
    }
}

/// Whether what stands on `ground` is tried in nodes.
pub fn is_far(ground: Ground) -> bool {
    matches!(ground, Ground::Nfs | Ground::Devices)
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
    let server = NfsServer::on(storage);
    let environment = environment(Some(&server));
    let mut command = command(&node, &environment);
    command.args(["--exact", test, "--nocapture"]);
    let status = command.status().unwrap();
    assert!(status.success(), "{test} in a node: {status}");
}

/// Runs this program once more, in nodes, if it is not there and its arguments do not exclude all that is tried there: what the names of
/// trials begin with, each with what it stands on.
pub fn too(arguments: &Arguments, tried: &[(&str, Ground)]) -> ExitCode {
    let is_meant = |name: &str| arguments.filter.as_ref().is_none_or(|filter| filter.contains(name));
    let meant: Vec<Ground> = tried.iter().filter(|(name, _)| is_meant(name)).map(|(_, ground)| *ground).collect();
    if inside::is_inside() || meant.is_empty() || !is_wanted("nodes") {
        return ExitCode::SUCCESS;
    }
    let rig = Rig::start();
    let plans = [inside::plan_of(NODES[0]), inside::plan_of(NODES[1])];
    let (server, nodes) = if meant.contains(&Ground::Nfs) {
        let [one, two] = plans;
        let [storage, nodes @ ..] = rig.nodes_of([Plan::new("storage"), one, two]);
        (Some(NfsServer::on(storage)), nodes)
    } else {
        (None, rig.nodes_of(plans))
    };
    let environment = environment(server.as_ref());
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

/// What a suite has to know.
///
/// A server gives no delegations. The nodes of a suite are one kernel and so one client, of which a server believes that it knows of its own
/// writes (`nfsd_breaker_owns_lease`, fs/nfsd/nfs4state.c): two mounts that differ in `ro` would see each other's late. Real clients with
/// delegations are tried by the suite `nfs`.
fn environment(server: Option<&NfsServer>) -> Vec<(&'static str, String)> {
    let export = server.map(|server| {
        server.node().shell("echo 0 > /proc/sys/fs/leases-enable");
        (EXPORT, server.export("tests", "rw,sync,no_root_squash,no_subtree_check").to_string())
    });
    let faults = (FAULTS_VARIABLE, hawser_with_faults().to_str().unwrap().to_owned());
    export.into_iter().chain([faults]).collect()
}

fn command(node: &Node, environment: &[(&str, String)]) -> Command {
    let mut command = inside::command(node, &std::env::current_exe().unwrap());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

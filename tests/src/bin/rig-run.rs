//! `rig-run PROGRAM ARGUMENTS`: runs a suite in a node of its own (`hawser_tests::rig::inside`).

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use hawser_tests::notice::notice;
use hawser_tests::rig::{Rig, inside};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        notice("usage: rig-run PROGRAM ARGUMENTS");
        return ExitCode::from(2);
    };
    let rig = Rig::start();
    let [node] = rig.nodes_of([inside::plan()]);
    let mut command = inside::command(&node, &PathBuf::from(program));
    command.args(words);
    inside::status(command)
}

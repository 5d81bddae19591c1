//! Runs the conformance suite for every backend: `cargo test --test conformance -- image-xfs` for one of them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hawser_tests::conformance::{BACKENDS, Backend, Case, cases};
use hawser_tests::ground::Grounds;
use hawser_tests::notice::notice;
use hawser_tests::trial::Costs;
use hawser_tests::{remote, trial};
use libtest_mimic::{Arguments, Failed, Trial};

/// How long one case may take before it counts as a hang.
const CASE_MAX: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    trial::keep_panics();
    let mut grounds = Grounds::default();
    let mut trials = Vec::new();
    let costs = Arc::new(Costs::default());
    for backend in BACKENDS.iter().filter(|backend| arguments.list || remote::is_of_this_side(backend.ground)) {
        let ground = if arguments.list { PathBuf::new() } else { grounds.place(backend.ground) };
        for case in cases().into_iter().filter(|case| backend.can_run(case)) {
            let (ground, costs) = (ground.clone(), Arc::clone(&costs));
            let run = move || costs.of(backend.name, case.name, || run(backend, case, &ground));
            trials.push(Trial::test(format!("{}::{}", backend.name, case.name), run));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, remote::share(trials));
    drop(grounds);
    notice(&format!("conformance:\n{costs}"));
    if conclusion.has_failed() || arguments.list {
        return conclusion.exit_code();
    }
    let there: Vec<_> =
        BACKENDS.iter().map(|backend| (backend.name, backend.ground)).filter(|(_, ground)| remote::is_far(*ground)).collect();
    remote::too(&arguments, &there)
}

fn run(backend: &'static Backend, case: Case, ground: &Path) -> Result<(), Failed> {
    trial::run(CASE_MAX, backend.start(ground), async |plugin| {
        (case.run)(plugin).await;
        plugin.finish().await;
    })
}

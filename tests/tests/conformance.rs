//! Runs the conformance suite for every backend: `cargo test --test conformance -- image-xfs` for one of them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hawser_tests::conformance::{BACKENDS, Backend, Case, cases};
use hawser_tests::ground::{Footing, Ground};
use libtest_mimic::{Arguments, Failed, Trial};

/// How long one case may take before it counts as a hang.
const CASE_MAX: Duration = Duration::from_secs(120);

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    std::panic::set_hook(Box::new(|panic| PLACE.set(panic.to_string())));
    let mut grounds: BTreeMap<&str, Footing> = BTreeMap::new();
    let mut trials = Vec::new();
    for backend in BACKENDS {
        let ground = if arguments.list { PathBuf::new() } else { place(&mut grounds, backend.ground) };
        for case in cases().into_iter().filter(|case| backend.can_run(case)) {
            let ground = ground.clone();
            trials.push(Trial::test(format!("{}::{}", backend.name, case.name), move || run(backend, case, &ground)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(grounds);
    conclusion.exit_code()
}

/// Cases on one kind of ground share it, each with a root of its own.
fn place(grounds: &mut BTreeMap<&str, Footing>, ground: Ground) -> PathBuf {
    let name = match ground {
        Ground::Ext4 => "ext4",
        Ground::Xfs => "xfs",
    };
    grounds.entry(name).or_insert_with(|| Footing::of(ground)).path().to_owned()
}

fn run(backend: &'static Backend, case: Case, ground: &Path) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let plugin = backend.start(ground).await;
            let played = AssertUnwindSafe(async {
                let timely = tokio::time::timeout(CASE_MAX, (case.run)(&plugin)).await;
                assert!(timely.is_ok(), "the case hangs");
                plugin.finish().await;
            });
            let outcome = futures_util::FutureExt::catch_unwind(played).await;
            match outcome {
                Ok(()) => Ok(()),
                Err(_) => Err(format!("{}\n{}", PLACE.take(), plugin.tail().await)),
            }
        })
    }));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result.unwrap_or_else(|_| Err(PLACE.take())).map_err(Failed::from)
}

//! Random sequences of calls, with disturbances, against a reference model: [`hawser_tests::model`].
//!
//! Every run plays the same sequences, so that what fails once can be looked at again. What chooses others:
//!
//! * `HAWSER_MODEL_SEED`: a number that the sequences are made of; the default is 1.
//! * `HAWSER_MODEL_CASES`: how many sequences each form gets.
//! * `HAWSER_MODEL_STEPS`: how long each is.
//! * `HAWSER_MODEL_SCRIPT`: a file with a sequence, as a failure prints it; that alone is played. The ones that have found something
//!   are kept in `tests/scripts` and played each time.
//!
//! `tests/run --test model -- image-xfs` plays the forms whose name has that part. Moments are real: a sequence with calls that are
//! cancelled or killed need not end in the same way twice.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hawser_tests::ground::{Ground, Grounds};
use hawser_tests::model::form::Form;
use hawser_tests::model::generate::{Sequences, operation};
use hawser_tests::model::operation::Operation;
use hawser_tests::model::play;
use hawser_tests::model::script::Script;
use hawser_tests::model::tally::Tally;
use hawser_tests::notice::notice;
use hawser_tests::{remote, trial};
use libtest_mimic::{Arguments, Failed, Trial};
use proptest::collection::vec;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How many sequences are played at one time: two keep two processors busy, and more would only shift the moments.
const AT_ONCE: usize = 2;

const SEED: u64 = 1;
const CASES: u64 = 6;

/// The same where each step takes a second, and most of it is waited.
const CASES_OF_DEVICES: u64 = 1;
const STEPS: usize = 60;

/// How long a failing sequence may be made shorter.
const SHRINK_MAX: Duration = Duration::from_secs(300);

/// How often a shorter sequence is played before it counts as one that does not fail, if it has moments in it.
const TRIES: usize = 3;

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(variable: &str, default: T) -> T {
    env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error:?}")))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(AT_ONCE).min(AT_ONCE));
    trial::keep_panics();
    let script = env::var_os("HAWSER_MODEL_SCRIPT").map(|path| read(Path::new(&path)));
    let (seed, cases, steps) =
        (number("HAWSER_MODEL_SEED", SEED), number("HAWSER_MODEL_CASES", CASES), number("HAWSER_MODEL_STEPS", STEPS));
    let cases_of = |form: &Form| match form.backend.ground {
        Ground::Devices => number("HAWSER_MODEL_CASES", CASES_OF_DEVICES),
        _ => cases,
    };
    let is_tried = |form: &Form| arguments.list || remote::is_of_this_side(form.backend.ground);
    let tally = Arc::new(Tally::default());
    let mut grounds = Grounds::default();
    let mut place = |form: &Form| if arguments.list { PathBuf::new() } else { grounds.place(form.backend.ground) };
    let mut trials = Vec::new();
    if let Some(script) = script.as_ref().filter(|script| is_tried(&script.form)) {
        let (script, ground, tally) = (script.clone(), place(&script.form), Arc::clone(&tally));
        trials.push(Trial::test("script", move || run(&ground, &script, &tally, &AtomicUsize::new(0)).map_err(Failed::from)));
    } else if script.is_none() {
        trials.push(Trial::test("a_script_is_read_as_it_was_written", || round_trip().map_err(Failed::from)));
        for (name, script) in known().into_iter().filter(|(_, script)| is_tried(&script.form)) {
            let (ground, tally) = (place(&script.form), Arc::clone(&tally));
            let run = move || run(&ground, &script, &tally, &AtomicUsize::new(0)).map_err(Failed::from);
            trials.push(Trial::test(format!("script::{name}"), run));
        }
        for number in 0..cases {
            for form in Form::all().into_iter().filter(is_tried).filter(|form| number < cases_of(form)) {
                let (ground, tally) = (place(&form), Arc::clone(&tally));
                let name = format!("{}::{number}", form.name());
                trials.push(Trial::test(name, move || explore(&ground, form, seed, number, steps, &tally)));
            }
        }
    }
    let whole = script.is_none() && arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let conclusion = libtest_mimic::run(&arguments, remote::share(trials));
    drop(grounds);
    if !arguments.list {
        notice(&format!("{tally}\n  seed {seed}"));
    }
    // Fewer steps than by default need not meet everything, nor need those of one backend.
    let whole = whole && remote::is_near();
    let missing = if whole && cases >= CASES && steps >= STEPS { tally.missing() } else { Vec::new() };
    for what in &missing {
        notice(&format!("model: {what}; the generator has lost its way"));
    }
    if !missing.is_empty() || conclusion.has_failed() {
        return ExitCode::FAILURE;
    }
    let is_here = arguments.list || script.is_some_and(|script| remote::is_of_this_side(script.form.backend.ground));
    if is_here {
        ExitCode::SUCCESS
    } else {
        remote::too(&arguments, &[("nfs", Ground::Nfs), ("ebs", Ground::Devices), ("scaleio", Ground::Devices)])
    }
}

fn read(path: &Path) -> Script {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The scripts that have failed once, in `tests/scripts`, by name.
fn known() -> BTreeMap<String, Script> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), read(&path))).collect()
}

/// Plays a script; an error says what was wrong.
fn run(ground: &Path, script: &Script, tally: &Tally, reached: &AtomicUsize) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let played = catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(ground, script, tally, reached))));
    runtime.shutdown_timeout(Duration::from_secs(5));
    played.unwrap_or_else(|_| Err(trial::last_panic()))
}

/// A runner with random numbers of its own.
fn runner(config: Config, seed: u64, form: &Form, number: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let name = form.name();
    bytes[16..].iter_mut().zip(name.bytes().rev()).for_each(|(byte, of_name)| *byte = of_name);
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Plays one sequence; if it fails, looks for a shorter one that fails too.
fn explore(ground: &Path, form: Form, seed: u64, number: u64, steps: usize, tally: &Tally) -> Result<(), Failed> {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        // The largest number means another limit.
        max_shrink_iters: u32::MAX - 1,
        max_shrink_time: u32::try_from(SHRINK_MAX.as_millis()).unwrap(),
        ..Config::default()
    };
    let reached = Arc::new(AtomicUsize::new(0));
    let sequences = Sequences { form, steps, reached: Arc::clone(&reached) };
    let failed_before = AtomicBool::new(false);
    // What is played to make a failure shorter is no coverage.
    let beside = Tally::default();
    let explored = runner(config, seed, &form, number).run(&sequences, |operations: Vec<Operation>| {
        let timed = operations.iter().any(|operation| operation.disturbance.is_timed());
        let shrinking = failed_before.load(Ordering::SeqCst);
        let script = Script { form, operations };
        let tally = if shrinking { &beside } else { tally };
        for _ in 0..if shrinking && timed { TRIES } else { 1 } {
            run(ground, &script, tally, &reached).map_err(|error| {
                if !failed_before.swap(true, Ordering::SeqCst) {
                    notice(&format!(
                        "{}::{number} failed and is made shorter: {}",
                        form.name(),
                        error.lines().take(6).collect::<Vec<_>>().join("\n")
                    ));
                }
                TestCaseError::fail(error)
            })?;
        }
        Ok(())
    });
    match explored {
        Ok(()) => Ok(()),
        Err(TestError::Abort(reason)) => Err(format!("no sequence could be made: {reason}").into()),
        Err(TestError::Fail(reason, operations)) => {
            let script = Script { form, operations };
            Err(format!("{reason}\nThe script, for HAWSER_MODEL_SCRIPT (seed {seed}):\n\n{script}").into())
        }
    }
}

/// Every operation means the same after it was printed and read.
fn round_trip() -> Result<(), String> {
    let form = Form::all()[0];
    let scripts = vec(operation(), 0..20).prop_map(move |operations| Script { form, operations });
    let checked = runner(Config { failure_persistence: None, ..Config::default() }, SEED, &form, 0).run(&scripts, |script| {
        let read: Script = script.to_string().parse().map_err(|error: String| TestCaseError::fail(error))?;
        proptest::prop_assert_eq!(read.operations, script.operations);
        proptest::prop_assert_eq!(read.form.name(), script.form.name());
        Ok(())
    });
    checked.map_err(|error| error.to_string())
}

//! A trial of a suite that has one function for many cases: a plugin of its own, a limit of time, and a report that shows what the
//! plugin said.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use libtest_mimic::Failed;

use crate::plugin::Plugin;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics kept for the report of the trial in which they happen. To be called once, before the trials. Those of the suite itself,
/// which has no report, are said at once.
pub fn keep_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("main") {
            default(panic);
        }
        PLACE.set(panic.to_string());
    }));
}

/// What the last panic of this thread said.
pub fn last_panic() -> String {
    PLACE.take()
}

/// Starts a plugin and plays with it, for `limit` at most.
pub fn run(limit: Duration, start: impl Future<Output = Plugin>, play: impl AsyncFnOnce(&Plugin)) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let plugin = start.await;
            let played = AssertUnwindSafe(async {
                let timely = tokio::time::timeout(limit, play(&plugin)).await;
                assert!(timely.is_ok(), "it hangs");
            });
            match played.catch_unwind().await {
                Ok(()) => Ok(()),
                Err(_) => Err(format!("{}\n{}", PLACE.take(), plugin.tail().await)),
            }
        })
    }));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result.unwrap_or_else(|_| Err(PLACE.take())).map_err(Failed::from)
}

/// How long the trials of each backend take, to see what a suite costs where it runs.
#[derive(Debug, Default)]
pub struct Costs(Mutex<BTreeMap<&'static str, Vec<(Duration, String)>>>);

impl Costs {
    /// Runs a trial of `backend`.
    pub fn of<T>(&self, backend: &'static str, trial: &str, run: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = run();
        self.0.lock().unwrap().entry(backend).or_default().push((began.elapsed(), trial.to_owned()));
        result
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (backend, trials) in self.0.lock().unwrap().iter() {
            let all: Duration = trials.iter().map(|(took, _)| *took).sum();
            let (longest, which) = trials.iter().max().unwrap();
            let (count, all, longest) = (trials.len(), all.as_secs(), longest.as_secs());
            writeln!(f, "  {backend}: {count} trials, {all} s one after the other; the longest, {longest} s, is {which}")?;
        }
        Ok(())
    }
}

//! What the line of calls costs: a call that waits for nobody, and a line of identical ones.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to report")]

use divan::Bencher;
use hawser_volume::Deadline;
use hawser_volume::queue::{Calls, Key, Queue};
use tokio::runtime::{Builder, Runtime};

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn calls() -> Calls<u64> {
    Calls::new(&Queue::new(), "Call")
}

fn deadline() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(60))
}

#[divan::bench]
fn a_call_that_waits_for_nobody(bencher: Bencher<'_, '_>) {
    let (runtime, calls) = (runtime(), calls());
    bencher.bench_local(|| {
        runtime.block_on(calls.run([Key::new("volume", "one")], b"request", deadline(), async { Ok(1) })).unwrap()
    });
}

#[divan::bench(args = [2, 16, 128])]
fn identical_calls_that_share_an_answer(bencher: Bencher<'_, '_>, callers: usize) {
    let (runtime, calls) = (runtime(), calls());
    bencher.bench_local(|| {
        runtime.block_on(async {
            let one = || calls.run([Key::new("volume", "one")], b"request", deadline(), async { Ok(1) });
            futures_util::future::join_all((0..callers).map(|_| one())).await
        })
    });
}

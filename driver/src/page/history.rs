//! How many calls each backend had, how many failed and how long they took, over the last hour. Memory of the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hawser_volume::BackendName;
use serde::Serialize;

use crate::telemetry::calls::{Calls, Ended, Outcome};

/// What is counted together.
const STEP: Duration = Duration::from_secs(10);

/// How many steps are kept.
const STEPS: usize = 360;

/// Asked for every mount of the machine by most calls, and answered from the kernel's memory: they would hide everything else.
const LOCAL: [&str; 2] = ["identify", "shows"];

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Which step it counts; a bucket of an older round counts as empty.
    step: u64,
    calls: u32,
    failed: u32,
    took: Duration,
    longest: Duration,
}

/// The history of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct History {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    backends: Mutex<BTreeMap<BackendName, Box<[Bucket; STEPS]>>>,
}

/// The last hour of a backend, the oldest step first; the last one is under way. Times are in milliseconds, and null where no call
/// ended.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) backend: BackendName,
    calls: Vec<u32>,
    failed: Vec<u32>,
    mean_ms: Vec<Option<f64>>,
    longest_ms: Vec<Option<f64>>,
}

impl History {
    /// The history of `calls` from now on.
    pub(super) fn of(calls: &Calls) -> Self {
        let history = Self { inner: Arc::new(Inner { began: Instant::now(), backends: Mutex::default() }) };
        let inner = Arc::clone(&history.inner);
        calls.subscribe(move |ended| inner.count(ended, Instant::now()));
        history
    }

    /// How long a step is, in seconds.
    pub(super) fn step_s() -> u64 {
        STEP.as_secs()
    }

    /// What there is of each backend that had a call.
    pub(super) fn tell(&self) -> Vec<Told> {
        self.inner.tell(Instant::now())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BackendName, Box<[Bucket; STEPS]>>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps are counted from one, so that a bucket that was never used is of no step.
    fn step(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / STEP.as_secs() + 1
    }

    fn place(step: u64) -> usize {
        usize::try_from(step % STEPS as u64).unwrap_or_default()
    }

    fn count(&self, ended: &Ended, now: Instant) {
        if LOCAL.contains(&ended.operation) {
            return;
        }
        let step = self.step(now);
        let mut backends = self.lock();
        let ring = backends.entry(ended.backend.clone()).or_insert_with(|| Box::new([Bucket::default(); STEPS]));
        let bucket = &mut ring[Self::place(step)];
        if bucket.step != step {
            *bucket = Bucket { step, ..Bucket::default() };
        }
        bucket.calls += 1;
        bucket.failed += u32::from(ended.outcome != Outcome::Done);
        bucket.took += ended.took;
        bucket.longest = bucket.longest.max(ended.took);
    }

    fn tell(&self, now: Instant) -> Vec<Told> {
        let last = self.step(now);
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let told = |backend: &BackendName, ring: &[Bucket; STEPS]| {
            let buckets: Vec<Bucket> = (0..STEPS as u64)
                .rev()
                .map(|back| {
                    let step = last.saturating_sub(back);
                    Some(ring[Self::place(step)]).filter(|bucket| bucket.step == step && step > 0).unwrap_or_default()
                })
                .collect();
            let times = |time: &dyn Fn(&Bucket) -> Duration| {
                buckets.iter().map(|bucket| (bucket.calls > 0).then(|| milliseconds(time(bucket)))).collect()
            };
            Told {
                backend: backend.clone(),
                calls: buckets.iter().map(|bucket| bucket.calls).collect(),
                failed: buckets.iter().map(|bucket| bucket.failed).collect(),
                mean_ms: times(&|bucket| bucket.took / bucket.calls.max(1)),
                longest_ms: times(&|bucket| bucket.longest),
            }
        };
        self.lock().iter().map(|(backend, ring)| told(backend, ring)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hawser_volume::Kind;

    use super::*;
    use crate::telemetry::calls::Side;

    fn ended(operation: &'static str, outcome: Outcome, took: u64) -> Ended {
        let took = Duration::from_millis(took);
        let backend = "a".parse().unwrap();
        Ended { backend, side: Side::Controller, operation, outcome, error: None, took, at: SystemTime::now() }
    }

    #[test]
    fn an_hour_is_kept_and_what_is_older_is_gone() {
        let began = Instant::now();
        let inner = Inner { began, backends: Mutex::default() };
        let at = |seconds| began + Duration::from_secs(seconds);
        inner.count(&ended("create", Outcome::Done, 10), at(0));
        inner.count(&ended("create", Outcome::Failed(Kind::Unavailable), 30), at(9));
        inner.count(&ended("delete", Outcome::Done, 5), at(25));
        inner.count(&ended("identify", Outcome::Done, 5), at(25));
        let told = inner.tell(at(25)).remove(0);
        assert_eq!((told.calls.len(), &told.calls[357..], &told.failed[357..]), (360, &[2, 0, 1][..], &[1, 0, 0][..]));
        assert_eq!(told.mean_ms[357..], [Some(20.0), None, Some(5.0)]);
        assert_eq!(told.longest_ms[357..], [Some(30.0), None, Some(5.0)]);
        // An hour later the first step has just left, and the third is the oldest but one.
        let told = inner.tell(at(3600)).remove(0);
        assert_eq!((told.calls[0], told.calls[1], told.calls.iter().sum::<u32>()), (0, 1, 1));
        inner.count(&ended("create", Outcome::Abandoned, 1), at(3600));
        let told = inner.tell(at(3600)).remove(0);
        assert_eq!((told.calls[359], told.failed[359], told.calls.iter().sum::<u32>()), (1, 1, 2));
    }
}

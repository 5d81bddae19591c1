//! Latencies and outcomes by RPC.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hawser_volume::status::name;
use hawser_volume::{Error, Kind, Result};
use hdrhistogram::Histogram;
use tonic::{Response, Status};

/// Latencies are counted in microseconds up to ten minutes, with three digits.
const LONGEST: u64 = 600_000_000;

/// What is known of one RPC.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) latency: Histogram<u64>,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) example: Option<String>,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    calls: Mutex<BTreeMap<&'static str, Calls>>,
}

impl Measure {
    /// Times one call, and turns its failure into an error that says which it was.
    pub(crate) async fn call<T>(&self, rpc: &'static str, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
        let begun = Instant::now();
        let answer = call.await;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match calls.entry(rpc) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let latency =
                    Histogram::new_with_max(LONGEST, 3).map_err(|e| Error::internal("make a histogram").caused_by(e))?;
                entry.insert(Calls { latency, errors: BTreeMap::new(), example: None })
            }
        };
        entry.latency.saturating_record(took);
        answer.map(Response::into_inner).map_err(|status| {
            *entry.errors.entry(name(status.code())).or_default() += 1;
            entry.example.get_or_insert_with(|| status.message().to_owned());
            Error::new(Kind::Internal, format!("{rpc}: {}: {}", name(status.code()), status.message()))
        })
    }

    /// What has been measured.
    pub(crate) fn finish(self) -> BTreeMap<&'static str, Calls> {
        self.calls.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    /// The latency below which `percent` of the calls were.
    pub(crate) fn at(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(percent / 100.0))
    }
}

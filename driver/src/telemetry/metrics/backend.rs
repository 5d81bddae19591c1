//! Calls to the backends, over either seam.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::{Registry, Unit};

use super::declared::{Declared, Page, Times};
use crate::telemetry::calls::Calls;

/// What is declared here.
pub const DECLARED: &[Declared] = &[DURATION, RUNNING, OLDEST, TROUBLE];

const DURATION: Declared = Declared::times(
    "hawser_backend_call_duration",
    "How long calls to backends took, by what came of them",
    &["backend", "side", "operation", "outcome"],
);

const RUNNING: Declared =
    Declared::gauge("hawser_backend_calls_running", "Calls to backends that are under way", &["backend", "side", "operation"]);

const OLDEST: Declared = Declared::gauge_in(
    Unit::Seconds,
    "hawser_backend_call_oldest",
    "How long the oldest call of its operation is under way",
    &["backend", "side", "operation"],
);

const TROUBLE: Declared = Declared::gauge(
    "hawser_backend_in_trouble",
    "1 while the last answer of the backend says that it does not work, 0 otherwise",
    &["backend", "side"],
);

/// Declares them; they follow `calls`.
pub(super) fn register(registry: &mut Registry, calls: &Calls) {
    let duration = Times::register(registry, DURATION);
    calls.subscribe(move |ended| {
        let labels = [ended.backend.as_str(), ended.side.as_str(), ended.operation, ended.outcome.as_str()];
        duration.observe(labels, ended.took);
    });
    registry.register_collector(Box::new(States(calls.clone())));
}

#[derive(Debug)]
struct States(Calls);

impl Collector for States {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let mut running: BTreeMap<_, (f64, f64)> = BTreeMap::new();
        for call in self.0.running() {
            let age = call.since.elapsed().as_secs_f64();
            let entry = running.entry((call.backend.to_string(), call.side, call.operation)).or_default();
            *entry = (entry.0 + 1.0, entry.1.max(age));
        }
        let labels = |(backend, side, operation): &(String, super::super::calls::Side, &str)| {
            [backend.clone(), side.as_str().to_owned(), (*operation).to_owned()]
        };
        page.put(&RUNNING, running.iter().map(|(key, (count, _))| (labels(key), *count)))?;
        page.put(&OLDEST, running.iter().map(|(key, (_, age))| (labels(key), *age)))?;
        let health = self.0.health();
        page.put(
            &TROUBLE,
            health.iter().map(|(name, side, trouble)| ([name.as_str(), side.as_str()], f64::from(u8::from(trouble.is_some())))),
        )
    }
}

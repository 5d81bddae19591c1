//! Calls that wait for their turn, or have it.

use std::collections::BTreeMap;
use std::fmt;

use hawser_volume::queue::Queue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::declared::{Declared, Page, Times};

/// What is declared here.
pub const DECLARED: &[Declared] = &[WAIT, CALLS, OLDEST];

const WAIT: Declared = Declared::times(
    "hawser_queue_wait",
    "How long calls waited until the earlier ones for the same objects had ended",
    &["queue", "method"],
);

const CALLS: Declared = Declared::gauge(
    "hawser_queue_calls",
    "Calls that wait for their turn (waiting) or have it (running)",
    &["queue", "method", "state"],
);

const OLDEST: Declared = Declared::gauge_in(
    Unit::Seconds,
    "hawser_queue_oldest_call",
    "How long ago the oldest call came that waits or runs",
    &["queue", "method"],
);

/// How long calls wait. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Waits(Times);

impl Waits {
    /// Declares it.
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self(Times::register(registry, WAIT))
    }
}

/// Follows a queue, called `name`.
pub fn follow(metrics: &Metrics, name: &'static str, queue: &Queue) {
    let waits = metrics.waits.0.clone();
    queue.on_turn(move |method, waited| waits.observe([name, method], waited));
    lock(&metrics.queues).push((name, queue.clone()));
}

/// The queues that are followed.
#[derive(Debug, Clone)]
pub(super) struct Queues(pub(super) super::Shared<Vec<(&'static str, Queue)>>);

fn lock<T>(shared: &super::Shared<T>) -> std::sync::MutexGuard<'_, T> {
    super::lock(shared)
}

impl Collector for Queues {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut calls: BTreeMap<[&'static str; 3], f64> = BTreeMap::new();
        let mut oldest: BTreeMap<[&'static str; 2], f64> = BTreeMap::new();
        for (name, queue) in lock(&self.0).iter() {
            for call in queue.work() {
                let state = if call.began.is_some() { "running" } else { "waiting" };
                *calls.entry([name, call.method, state]).or_default() += 1.0;
                let age = oldest.entry([name, call.method]).or_default();
                *age = age.max(call.since.elapsed().as_secs_f64());
            }
        }
        let mut page = Page(encoder);
        page.put(&CALLS, calls)?;
        page.put(&OLDEST, oldest)
    }
}

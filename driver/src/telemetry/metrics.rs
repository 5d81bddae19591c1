//! The metrics of a process, in a registry of its own.
//!
//! One file a part: what it declares, and how it comes to its numbers. What is counted as it happens is a histogram or a counter; what
//! is a state is read when somebody asks for the page, from memory. Nothing asks a backend, a kernel or a disk while a page is made, so
//! a page never hangs. docs/metrics.md lists them all, and a test compares.

pub mod backend;
pub mod bridge;
pub mod declared;
pub mod process;
pub mod queue;
pub mod rpc;
pub mod volumes;
pub mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hawser_volume::queue::Queue;
use hawser_volume::{Error, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub use declared::{Declared, Page};

use super::calls::Calls;

/// What the page is: OpenMetrics, as Prometheus asks for it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Of every RPC.
    pub rpc: rpc::Rpcs,
    waits: queue::Waits,
    queues: Shared<Vec<(&'static str, Queue)>>,
}

/// Something that the page reads while others write.
type Shared<T> = Arc<Mutex<T>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// What every process has: RPCs, the line in which they wait, calls to backends, the process itself.
    pub fn new(calls: &Calls) -> Self {
        let mut registry = Registry::default();
        let rpc = rpc::Rpcs::register(&mut registry);
        backend::register(&mut registry, calls);
        process::register(&mut registry);
        let waits = queue::Waits::register(&mut registry);
        let queues: Shared<_> = Arc::default();
        registry.register_collector(Box::new(queue::Queues(Arc::clone(&queues))));
        Self { registry: Arc::new(Mutex::new(registry)), rpc, waits, queues }
    }

    /// Adds what a part of the process knows when it is asked.
    pub fn collect(&self, collector: impl Collector) {
        self.registry().register_collector(Box::new(collector));
    }

    /// Everything that can be on a page.
    pub fn declared() -> Vec<Declared> {
        [
            rpc::DECLARED,
            queue::DECLARED,
            backend::DECLARED,
            wire::DECLARED,
            volumes::DECLARED,
            bridge::DECLARED,
            process::DECLARED,
        ]
        .concat()
    }

    /// The page, as OpenMetrics has it.
    pub fn page(&self) -> Result<String> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry()).map_err(|error| Error::internal("write the metrics").caused_by(error))?;
        Ok(page)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prometheus_client::metrics::MetricType;

    use super::*;

    /// The rows of the page's table: name, kind, labels.
    fn documented() -> BTreeMap<String, (String, Vec<String>)> {
        let rows = include_str!("../../../docs/metrics.md")
            .lines()
            .filter(|line| line.starts_with("| `hawser_") || line.starts_with("| `process_"));
        rows.map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let words = |cell: &str| {
                cell.split(',').map(|word| word.trim().trim_matches('`').to_owned()).filter(|word| !word.is_empty()).collect()
            };
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), words(cells[3])))
        })
        .collect()
    }

    #[test]
    fn the_page_of_the_documentation_names_what_there_is_and_nothing_else() {
        let declared: BTreeMap<_, _> = Metrics::declared()
            .iter()
            .map(|metric| {
                let kind = match metric.kind {
                    MetricType::Counter => "counter",
                    MetricType::Gauge => "gauge",
                    MetricType::Histogram => "histogram",
                    MetricType::Info => "info",
                    MetricType::Unknown => "unknown",
                };
                let labels: Vec<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
                (metric.full_name(), (kind.to_owned(), labels))
            })
            .collect();
        assert_eq!(declared, documented());
    }

    #[test]
    fn metrics_are_named_as_the_field_does() {
        let all = Metrics::declared();
        for metric in &all {
            let name = metric.full_name();
            assert!(name.starts_with("hawser_") || name.starts_with("process_"), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(metric.help.len() > 10 && !metric.help.ends_with('.'), "{name}: {:?}", metric.help);
            assert!(!matches!(metric.kind, MetricType::Histogram) || metric.unit.is_some(), "{name} has no unit");
            assert!(metric.labels.iter().all(|label| !["volume", "volume_id", "node", "path", "le"].contains(label)), "{name}");
        }
        assert_eq!(all.iter().map(Declared::full_name).collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}

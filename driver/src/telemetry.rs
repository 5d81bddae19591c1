//! What a process tells of itself: logs, metrics, traces, the health of its backends.

pub mod calls;
pub mod metrics;
pub mod readiness;
mod rpc;
pub mod sample;
pub mod spans;
mod trouble;

use std::io::IsTerminal;

use hawser_volume::{Error, Result};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use calls::Calls;
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use rpc::Rpc;
pub use trouble::Trouble;

/// What the parts of a process tell, and what is told of them. Cheap to clone; one a process.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Every call to a backend.
    pub calls: Calls,
    /// Whether the process serves.
    pub readiness: Readiness,
    /// What can be measured.
    pub metrics: Metrics,
    /// Whether anybody can look: nothing is asked for the sake of numbers that nobody reads.
    pub is_read: bool,
}

impl Telemetry {
    /// That of a process which serves; `is_read` says whether anybody can look.
    pub fn of_process(is_read: bool) -> Self {
        Self { readiness: Readiness::of_process(), is_read, ..Self::default() }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let calls = Calls::default();
        Self { metrics: Metrics::new(&calls), calls, readiness: Readiness::default(), is_read: false }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error, and traces to `exporter` if there is one. `filter` is a level (`info`) or `target=level,…`, and
/// is about lines alone.
pub fn init(format: LogFormat, filter: &str, exporter: Option<&spans::Exporter>) -> Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Error::invalid(format!("--log {filter:?} is not a level (error, warn, info, debug, trace) or filter")).caused_by(error)
    })?;
    let is_trace = |metadata: &tracing::Metadata<'_>| metadata.target() == spans::TARGET;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(move |metadata| !is_trace(metadata))));
    let traces = exporter.map(|exporter| {
        let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer());
        // The spans of log lines too: a task that goes on in one of them would not find the span above it.
        let is_ours = |metadata: &tracing::Metadata<'_>| {
            metadata.is_span() && *metadata.level() <= tracing::Level::INFO && metadata.target().starts_with("hawser")
        };
        layer.with_location(false).with_threads(false).with_filter(filter_fn(is_ours))
    });
    let done = tracing_subscriber::registry().with(lines).with(traces).try_init();
    done.map_err(|error| Error::internal("begin logging").caused_by(error))
}

//! What is shown while something takes time: nothing unless a person looks.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// A line on standard error that says what is waited for, and since when; nothing where that is no terminal.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
}

/// Takes the line away when it is dropped.
#[derive(Debug)]
pub(super) struct Shown {
    bar: ProgressBar,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

impl Progress {
    /// Shows nothing unless `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}");
        let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        // A second command in one process finds the first one's layer.
        let _ = tracing_subscriber::registry().with(Refusals { bar: bar.clone() }).try_init();
        Self { bar }
    }

    /// Shows `what` until the answer is dropped.
    pub(super) fn during(&self, what: impl Into<String>) -> Shown {
        self.bar.reset();
        self.bar.set_prefix(what.into());
        self.bar.set_message(String::new());
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(TURN);
        }
        Shown { bar: self.bar.clone() }
    }
}

/// Shows why the driver is asked again: it says so to the log only, and a person would see a spinner turn for minutes.
struct Refusals {
    bar: ProgressBar,
}

impl<S: Subscriber> Layer<S> for Refusals {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "hawser_bridge::driver::retry" {
            let mut said = Said::default();
            event.record(&mut said);
            self.bar.set_message(said.0);
        }
    }
}

/// What the driver answered, of the fields of such an event. Its own text has the name `message` too, and comes last.
#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0 = format!("({})", super::table::plain(value));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

//! The bridge: what it holds, what it found when it compared, and what it took from dead nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hawser_bridge::fence::{Counted, Fence};
use hawser_bridge::lifecycle::{Census, Report};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::declared::{Declared, Page};

/// What is declared here.
pub const DECLARED: &[Declared] = &[DECLARATIONS, HELD, IDLE, USES, PLACEHOLDERS, FOUND, FOREIGN, COMPARISONS, TAKEOVERS];

const DECLARATIONS: Declared =
    Declared::gauge("hawser_bridge_declared_volumes", "Volumes that were declared by name on this agent", &[]);

const HELD: Declared =
    Declared::gauge("hawser_bridge_held_volumes", "Volumes that this agent holds, or is about to, or is about to give back", &[]);

const IDLE: Declared = Declared::gauge(
    "hawser_bridge_idle_volumes",
    "Volumes that this agent holds and nobody uses; they are released after the time of grace",
    &[],
);

const USES: Declared =
    Declared::gauge("hawser_bridge_uses", "Stagings of volumes, by the door that they came through", &["door"]);

const PLACEHOLDERS: Declared =
    Declared::gauge("hawser_bridge_placeholders", "Volumes that are staged in word only, as nobody uses them", &[]);

const FOUND: Declared = Declared::counter(
    "hawser_bridge_found_volumes",
    "Volumes that were found when what is held was compared with what the driver says: nobody used it and it was released, \
     another node had it, or it could not be brought into order",
    &["found"],
);

const FOREIGN: Declared = Declared::gauge(
    "hawser_bridge_foreign_volumes",
    "Volumes that the driver has attached to this node on behalf of somebody else, at the last comparison",
    &[],
);

const COMPARISONS: Declared = Declared::counter(
    "hawser_bridge_comparisons",
    "How often what is held was compared with what the driver says, and whether that came about",
    &["outcome"],
);

const TAKEOVERS: Declared = Declared::counter(
    "hawser_bridge_takeovers",
    "Wishes to take a volume from another node: taken (done, failed) with how certain it was that the node is dead, or refused and \
     why, once for each time that it was asked",
    &["outcome", "why"],
);

/// What the bridge notes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Noted(Arc<Mutex<State>>);

struct State {
    census: Option<Census>,
    found: BTreeMap<&'static str, u64>,
    foreign: Option<usize>,
    comparisons: BTreeMap<&'static str, u64>,
    fence: Option<Arc<Fence>>,
}

impl Default for State {
    /// Counters that begin with 0: what appears with 1 is no increase to Prometheus.
    fn default() -> Self {
        Self {
            census: None,
            found: BTreeMap::from([("unused", 0), ("lost", 0), ("stuck", 0)]),
            foreign: None,
            comparisons: BTreeMap::from([("ok", 0), ("failed", 0)]),
            fence: None,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("census", &self.census).finish_non_exhaustive()
    }
}

impl Noted {
    /// Whose takeovers are counted.
    pub fn fence(&self, fence: Option<Arc<Fence>>) {
        self.state().fence = fence;
    }

    /// What the ledger has.
    pub fn census(&self, census: Census) {
        self.state().census = Some(census);
    }

    /// What a comparison found, if it came about.
    pub fn compared(&self, report: Option<&Report>) {
        let mut state = self.state();
        *state.comparisons.entry(if report.is_some() { "ok" } else { "failed" }).or_default() += 1;
        let Some(report) = report else { return };
        state.foreign = Some(report.foreign.len());
        for (found, count) in [("unused", report.released.len()), ("lost", report.lost.len()), ("stuck", report.failed.len())] {
            *state.found.entry(found).or_default() += count as u64;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Noted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.state();
        let mut page = Page(encoder);
        let census = state.census.as_ref();
        let of = |count: fn(&Census) -> usize| census.map(|census| ([], count(census) as f64));
        page.put::<0, &str>(&DECLARATIONS, of(|census| census.declared))?;
        page.put::<0, &str>(&HELD, of(|census| census.held))?;
        page.put::<0, &str>(&IDLE, of(|census| census.idle))?;
        page.put(&USES, census.iter().flat_map(|census| &census.uses).map(|(door, count)| ([*door], *count as f64)))?;
        page.put::<0, &str>(&PLACEHOLDERS, of(|census| census.placeholders))?;
        page.put(&FOUND, state.found.iter().map(|(found, count)| ([*found], *count as f64)))?;
        page.put::<0, &str>(&FOREIGN, state.foreign.map(|count| ([], count as f64)))?;
        page.put(&COMPARISONS, state.comparisons.iter().map(|(outcome, count)| ([*outcome], *count as f64)))?;
        let takeovers = state.fence.as_ref().map(|fence| fence.counts()).unwrap_or_default();
        let word = |counted| match counted {
            Counted::Done => "done",
            Counted::Failed => "failed",
            Counted::Refused => "refused",
        };
        page.put(&TAKEOVERS, takeovers.iter().map(|((why, counted), count)| ([word(*counted), *why], *count as f64)))
    }
}

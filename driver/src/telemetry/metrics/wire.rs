//! What is sent to storage systems: requests to EC2 and to ScaleIO's gateways, and the gate before an NFS server.

use std::fmt;
use std::sync::Arc;

use hawser_nfs::Export;
use hawser_volume::BackendName;
use hawser_volume::attempt::Requests;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::declared::{Declared, Page};

/// What is declared here.
pub const DECLARED: &[Declared] = &[REQUESTS, REPEATS, GATE];

const REQUESTS: Declared = Declared::counter(
    "hawser_wire_requests",
    "Requests to the storage system, each attempt one, logins included, by what came of them",
    &["backend", "action", "outcome"],
);

const REPEATS: Declared =
    Declared::counter("hawser_wire_repeats", "Requests that were sent again, after one that failed", &["backend", "action"]);

const GATE: Declared = Declared::gauge_in(
    Unit::Seconds,
    "hawser_nfs_silent",
    "For how long the NFS server has been silent and is asked nothing but for a sign of life; 0 while it answers",
    &["backend"],
);

/// The clients of a process.
#[derive(Debug, Default)]
pub struct Wires {
    /// Clients that count.
    pub clients: Vec<(BackendName, Arc<dyn Requests>)>,
    /// Exports.
    pub exports: Vec<(BackendName, Arc<Export>)>,
}

impl Collector for Wires {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // One backend may have several clients.
        let (mut requests, mut repeats) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        for (name, client) in &self.clients {
            for (action, outcome, count) in client.requests() {
                *requests.entry([name.as_str(), action, outcome]).or_default() += count as f64;
            }
            for (action, count) in client.repeats() {
                *repeats.entry([name.as_str(), action]).or_default() += count as f64;
            }
        }
        let mut page = Page(encoder);
        page.put(&REQUESTS, requests)?;
        page.put(&REPEATS, repeats)?;
        let silent = |export: &Export| export.silent_for().map_or(0.0, |time| time.as_secs_f64());
        page.put(&GATE, self.exports.iter().map(|(name, export)| ([name.as_str()], silent(export))))
    }
}

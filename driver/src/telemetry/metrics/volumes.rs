//! What backends and this node had when they were looked at last: see [`sample`](crate::telemetry::sample).

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::declared::{Declared, Page};
use crate::telemetry::sample::Samples;

/// What is declared here.
pub const DECLARED: &[Declared] = &[VOLUMES, ATTACHED, TROUBLED, CAPACITY, LISTED, NODE_VOLUMES, NODE_MOUNTS];

const VOLUMES: Declared = Declared::gauge("hawser_volumes", "Volumes that the backend lists", &["backend"]);

const ATTACHED: Declared =
    Declared::gauge("hawser_volumes_attached", "Volumes that some node has, as the backend lists them", &["backend"]);

const TROUBLED: Declared = Declared::gauge(
    "hawser_volumes_in_trouble",
    "Volumes with which something is wrong, as the backend lists them",
    &["backend"],
);

const CAPACITY: Declared = Declared::gauge_in(
    Unit::Bytes,
    "hawser_capacity_available",
    "What the backend can still provide for new volumes",
    &["backend"],
);

const LISTED: Declared = Declared::gauge_in(
    Unit::Seconds,
    "hawser_volumes_listed_timestamp",
    "When the volumes of the backend were counted last, in seconds since 1970",
    &["backend"],
);

const NODE_VOLUMES: Declared =
    Declared::gauge("hawser_node_volumes", "Volumes that are mounted on this node, staged or published", &["backend"]);

const NODE_MOUNTS: Declared = Declared::gauge(
    "hawser_node_mounts",
    "Mounts of volumes on this node: where they are staged, and each place where they are published",
    &["backend"],
);

/// The samples, on the page.
#[derive(Debug)]
pub struct Sampled(pub Samples);

impl Collector for Sampled {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let (listed, capacities, mounted) = self.0.read();
        let number = |count: usize| count as f64;
        page.put(&VOLUMES, listed.iter().map(|(name, listed)| ([name.as_str()], number(listed.volumes))))?;
        page.put(&ATTACHED, listed.iter().map(|(name, listed)| ([name.as_str()], number(listed.attached))))?;
        page.put(&TROUBLED, listed.iter().map(|(name, listed)| ([name.as_str()], number(listed.troubled))))?;
        page.put(&CAPACITY, capacities.iter().map(|(name, bytes)| ([name.as_str()], *bytes as f64)))?;
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        page.put(&LISTED, listed.iter().map(|(name, listed)| ([name.as_str()], seconds(listed.at))))?;
        page.put(&NODE_VOLUMES, mounted.iter().map(|(name, mounted)| ([name.as_str()], number(mounted.volumes))))?;
        page.put(&NODE_MOUNTS, mounted.iter().map(|(name, mounted)| ([name.as_str()], number(mounted.mounts))))
    }
}

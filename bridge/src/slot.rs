//! Slots: small numbers that tasks of one kind hold while they live, so that a replacement finds its predecessor's volumes.
//!
//! The model is mesos/elasticsearch's "Node ID": the lowest number, from 0, that no task in its list has; a task that dies leaves
//! the list, and its replacement, on any agent, takes the number and with it the volume (`ClusterState.getElasticNodeId`). Here it is
//! the storage system that knows who has which number, by who has its volume attached
//! ([`Lifecycle::mount`](crate::Lifecycle::mount)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a slot, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

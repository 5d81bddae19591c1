//! The Mesos side of Hawser: a CSI client that turns the volumes which tasks declare into CSI calls.
//!
//! What a task says, in one of many [forms](Form), becomes ([`declare`]) a [`claim::VolumeClaim`] for each volume, or mistakes with their
//! places ([`finding`]). A claim has the volume's [`name`], which may depend on the task's [`slot`], and what the user allows
//! ([`policy`]). [`plan`] tells beforehand which CSI calls a claim comes to.
//!
//! Whichever [`door`] a claim comes through, there is one [`lifecycle`], which calls a CSI [`driver`], anybody's, and writes down
//! in the [`ledger`] what this node holds.
//! [`mesos`] asks masters and agents what they know; [`fence`] takes a volume from a node that is dead, on evidence, and from no
//! other.

#![forbid(unsafe_code)]

pub mod agent;
pub mod claim;
pub mod config;
pub mod declaration;
pub mod declare;
pub mod door;
pub mod driver;
pub mod examine;
pub mod fence;
pub mod finding;
pub mod ledger;
pub mod lifecycle;
pub mod mesos;
pub mod name;
pub mod plan;
pub mod policy;
pub mod provider;
pub mod slot;

pub use claim::{ClaimedVolume, ExistingVolume, NamedVolume, VolumeClaim};
pub use declaration::{Declaration, Form};
pub use driver::Driver;
pub use finding::{Finding, Findings, Place};
pub use ledger::Ledger;
pub use lifecycle::Lifecycle;
pub use name::NameTemplate;
pub use policy::{Create, Retain, Takeover};
pub use slot::Slot;

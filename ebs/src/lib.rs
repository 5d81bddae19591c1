//! Amazon EBS through the EC2 API.
//!
//! ```text
//! call (volume, snapshot, instance, zone, tag) ─▶ client ─▶ limiter ─▶ wire ─▶ EC2
//!                                                   ▲  └─ retry, count
//!                                     batch, watch ─┘
//! ```
//!
//! * [`client`] sends one action until it is answered: it waits for its turn, repeats what may be repeated, and counts.
//! * [`volume`], [`snapshot`], [`instance`], [`zone`] and [`tag`] have the actions, typed.
//! * [`account`] is what all callers share.
//! * [`batch`] makes one `Describe…` of what many callers ask for at the same time.
//! * [`grant`] and [`place`] are what the controller side and the node side agree on; [`label`] is what is written on volumes.
//! * [`here`] is which instance a node is, from its configuration and its [metadata](imds), and how [many](limits) volumes it can have.
//! * [`examine`] finds what keeps all of it from working.
//! * [`leak`] finds what carries our tags and nobody claims.
//! * [`watch`] lets any number of callers wait for the states of volumes with one poller.
//!
//! An action that changes something is repeated only when that cannot change it twice. Where a lost answer leaves open what
//! happened, the caller is told so ([`Refusal::is_uncertain`]) and looks.

pub mod account;
mod adopt;
pub mod batch;
pub mod client;
pub mod config;
pub mod count;
mod credential;
pub mod endpoint;
pub mod examine;
pub mod form;
pub mod grant;
pub mod here;
pub mod imds;
pub mod instance;
pub mod label;
pub mod leak;
pub mod limiter;
pub mod limits;
pub mod pace;
pub mod place;
pub mod refusal;
mod retry;
pub mod snapshot;
pub mod tag;
pub mod volume;
pub mod watch;
mod wire;
mod xml;
pub mod zone;

pub use account::Account;
pub use adopt::Adoption;
pub use client::{ClientOptions, Ec2};
pub use config::EbsConfig;
pub use endpoint::Region;
pub use grant::Grant;
pub use here::{EbsNodeConfig, Here};
pub use place::{Outpost, Place, PlaceKeys};
pub use refusal::{Class, Refusal};
/// The environment of the process.
pub use reqsign_core::OsEnv;

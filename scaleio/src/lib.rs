//! ScaleIO and PowerFlex through the REST API of their gateway.
//!
//! ```text
//! call (volume, snapshot, sdc, pool, system) ─▶ client ─▶ session (login, token) ─▶ wire ─▶ one of the gateways
//!                                                 └─ retry, count
//! ```
//!
//! * [`client`] sends one call until it is answered: to the next gateway when one is silent, after a new login when the token has
//!   run out, again when that cannot do a thing twice; and counts.
//! * [`volume`], [`snapshot`], [`sdc`], [`pool`] and [`system`] have the calls, typed.
//! * [`refusal`] says what a refusal means: its text is asked first, then its code, as the codes move from release to release.
//! * [`name`] makes the gateway's names, which have 31 characters, of names of any length.
//! * [`examine`] finds out why a gateway does not let its user in.
//! * [`config`] and [`here`] are what people write, and [`grant`] what the controller tells the node.
//!
//! The gateway has no client tokens. What makes two calls one is the name: the array refuses a second volume of a name.

pub mod client;
pub mod config;
pub mod count;
pub mod examine;
pub mod grant;
pub mod here;
pub mod name;
mod number;
pub mod pool;
pub mod refusal;
mod retry;
pub mod sdc;
mod session;
pub mod snapshot;
pub mod system;
mod tls;
pub mod volume;
mod wire;

pub use client::Gateways;
pub use config::{ScaleIoConfig, SystemConfig};
pub use refusal::{Class, Refusal};

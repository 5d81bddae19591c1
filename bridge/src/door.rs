//! The doors that tasks come through. Each only translates: a request becomes a claim and a call of the
//! [lifecycle](crate::lifecycle), and its result what the caller expects to read.

pub mod docker;
pub mod dvdcli;
pub mod isolator;
pub mod operator;
mod plugin;
mod silence;

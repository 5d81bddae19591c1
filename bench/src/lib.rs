//! `hawser bench`: a load generator for any CSI driver.
//!
//! It connects as a CO would, asks what the driver can do, and runs operations (`operation.rs`) at a chosen concurrency: whole
//! lifecycles of volumes, or a mix. Each RPC is timed where the CO would time it. What comes out (`report.rs`) is latency by RPC,
//! throughput, and errors by code, as a table or as JSON; with two endpoints, both in turn and their ratio.
//!
//! Volumes that it made are removed again, also after an error and on Ctrl-C.

#![forbid(unsafe_code)]

mod driver;
mod lifecycle;
mod measure;
mod operation;
pub mod options;
mod process;
mod report;
mod run;

pub use options::Options;
pub use run::run;

//! What a process tells of itself: health, metrics, traces; and the rules and the dashboard that rest on them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod health;
mod metrics;
mod prometheus;
mod rules;
mod traces;

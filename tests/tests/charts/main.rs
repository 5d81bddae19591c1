//! The chart: rendered with Helm for a matrix of values, validated against the schemas of Kubernetes, and compared with the programs that
//! it starts.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod matrix;
mod privileges;
mod rendering;
mod words;

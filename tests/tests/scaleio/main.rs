//! The ScaleIO backend against gateways that fail over, forget tokens and lose answers, and those gateways against Dell's own client.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod chaos;
mod doctor;
mod door;
mod hold;
mod life;
mod peers;
mod ready;
mod serve;
mod table;

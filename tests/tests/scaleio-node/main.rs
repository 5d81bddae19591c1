//! The node's side of ScaleIO, with block devices of a driver called `scini` in nodes with kernels of their own.
//!
//! The driver, its `drv_cfg` and udev's rule for it are stand-ins (`tests/src/rig/sdc.rs`, `tests/rig/scini.c`), as Dell's cannot be had;
//! the kernel, its messages, udev, the filesystems and the errors of a device that is gone are real. In `whole.rs` and `takeover.rs` the
//! array's side is the simulator of the gateway; elsewhere the test is the controller.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod bridged;
mod cloud;
mod life;
mod lost;
mod takeover;
mod whole;
mod world;
mod wrong;

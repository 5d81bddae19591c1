//! Tests against the kernel: real loop devices, real filesystems, real mounts. They need root and the tools that make what is to
//! be recognised, and they fail, saying so, where either is missing.

mod binding;
mod check;
mod elsewhere;
mod formatting;
mod growing;
mod holding;
mod loops;
mod mounting;
mod place;
mod proving;
mod signatures;

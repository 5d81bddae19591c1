//! A machine that tests give devices to: a node as seen from this side, or the machine that this program runs in, which is one.

use std::process::{Command, Stdio};
use std::sync::Arc;

use super::Node;
use crate::output::Output;

/// Where devices appear.
pub trait Machine {
    /// Runs a piece of shell there with arguments.
    fn script(&self, script: &str, arguments: &[&str]) -> Output;

    /// Whether it goes on when the test ends, so that nothing may be left plugged in.
    fn stays(&self) -> bool {
        false
    }
}

/// The machine that this program runs in.
#[derive(Debug, Clone, Copy)]
pub struct Inside;

impl Machine for Node {
    fn script(&self, script: &str, arguments: &[&str]) -> Output {
        self.run(["sh", "-euc", script, "sh"].into_iter().chain(arguments.iter().copied()))
    }
}

impl<T: Machine> Machine for Arc<T> {
    fn script(&self, script: &str, arguments: &[&str]) -> Output {
        (**self).script(script, arguments)
    }

    fn stays(&self) -> bool {
        (**self).stays()
    }
}

impl Machine for Inside {
    fn script(&self, script: &str, arguments: &[&str]) -> Output {
        Command::new("sh").args(["-euc", script, "sh"]).args(arguments).stdin(Stdio::null()).output().unwrap().into()
    }

    fn stays(&self) -> bool {
        true
    }
}

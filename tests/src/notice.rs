//! A line for whoever runs the tests, also when they pass: the output of the print macros is kept back then.

use std::io::Write;

/// Writes `line` to standard error.
pub fn notice(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

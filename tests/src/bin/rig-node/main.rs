//! The program on both sides of a node of the rig (`hawser_tests::rig`).
//!
//! Inside: `init SETTING` is its first process, `agent READY` does what the host asks for. Outside: `run` stands for a program inside
//! as if that ran here, `forward` for a socket inside, and `power-off` ends the
//! node in good order.

#![forbid(unsafe_code)]

mod agent;
mod forward;
mod guest;
mod init;
mod off;
mod run;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use hawser_tests::notice::notice;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        // The kernel adds words of its own.
        ["init", setting, ..] => init::init(Path::new(setting)),
        ["agent", ready] => agent::agent(Path::new(ready)),
        ["run", kernel, address, limit, ref program @ ..] if !program.is_empty() => run::run(kernel, address, limit, program),
        ["power-off", kernel, address] => off::power_off(kernel, address),
        ["forward", kernel, address, here, there] => forward::forward(kernel, address, Path::new(here), there),
        _ => Err(io::Error::other("it is started by the tests alone")),
    };
    result.unwrap_or_else(|error| {
        notice(&format!("rig-node: {error}"));
        // As with a shell that cannot run a program, and with no status of a program of the tests.
        ExitCode::from(125)
    })
}

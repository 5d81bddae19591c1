//! The program `hawser`, built with the feature `kill-points`. It has a name of its own so that building it for the crash suite
//! does not replace the one that everybody uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    hawser::run()
}

//! The program `hawser`, built with the feature `faults`. It has a name of its own so that building it for the suites that
//! need it does not replace the one that everybody uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    hawser::run()
}

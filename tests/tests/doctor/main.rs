//! What `hawser doctor` tells of what is broken, in the program's own words: each row breaks one thing, and the finding and its remedy
//! are asserted. What is whole has neither.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod ebs;
mod node;
mod remains;
mod storage;

use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::output::Output;
use serde_json::Value;

/// What an examination is to tell of one thing that is broken.
pub struct Told {
    /// The step.
    pub step: &'static str,
    /// `wrong`, `doubtful`, or `well` where nothing is to be found.
    pub result: &'static str,
    /// What is in the words.
    pub parts: &'static [&'static str],
}

/// All findings of an examination.
pub struct Findings(Vec<Value>);

impl Findings {
    /// Panics unless it is told.
    pub fn assert(&self, what: &str, told: &Told) {
        let of_step = |check: &&Value| check["step"].as_str().unwrap().contains(told.step);
        let found = self.0.iter().filter(of_step).any(|check| {
            let words = ["found", "why", "mend"].map(|key| check[key].as_str().unwrap_or_default()).join(" | ");
            check["result"] == told.result && told.parts.iter().all(|part| words.contains(part))
        });
        assert!(found, "{what}: {} {} {:?} is not told:\n{:#?}", told.result, told.step, told.parts, self.0);
    }

    /// The steps with a result.
    pub fn steps(&self, result: &str) -> Vec<&str> {
        self.0.iter().filter(|check| check["result"] == result).map(|check| check["step"].as_str().unwrap()).collect()
    }
}

/// Runs the doctor by `command`, to which its arguments are added, and compares its exit code with what it found.
pub async fn examined(mut command: Command, arguments: &[&str]) -> Findings {
    command.args(["doctor", "--output", "json"]).args(arguments);
    let output = Output::of(command).await;
    let reports: Vec<Value> = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let checks: Vec<Value> = reports.iter().flat_map(|report| report["checks"].as_array().unwrap().clone()).collect();
    let is_wrong = checks.iter().any(|check| check["result"] == "wrong");
    assert_eq!(output.status.code(), Some(if is_wrong { 2 } else { 0 }), "{output:?}");
    assert!(!output.stdout.contains("panicked") && !output.stderr.contains("panicked"), "{output:?}");
    Findings(checks)
}

/// Runs the doctor as the only one that sees what `setup`, a piece of shell, does to the machine.
pub async fn examined_where(setup: &str, arguments: &[&str]) -> Findings {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
        "sh",
        "-ec",
    ]);
    command.arg(format!("{setup}\n\"$0\" \"$@\"")).arg(hawser());
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("HAWSER_") || key.starts_with("CSI_")) {
        command.env_remove(key);
    }
    examined(command, arguments).await
}

//! A program that is run to its end, and what it said.

use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

use crate::poll::PATIENCE;

/// What a program said, without the line ends at its end, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// Runs `command`; panics when it takes too long.
    pub async fn of(command: std::process::Command) -> Self {
        let words = format!("{command:?}");
        let mut command = Command::from(command);
        let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("{words} hangs")).unwrap();
        output.into()
    }

    /// What it said; panics unless it ended well.
    pub fn well(self) -> String {
        assert!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// What it complained about; panics unless it ended badly.
    pub fn badly(self) -> String {
        assert!(!self.status.success(), "it should have failed: {}{}", self.stdout, self.stderr);
        self.stderr
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Self { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

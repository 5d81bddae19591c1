//! A hand that types commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hawser_tests::binary::hawser;
use serde_json::Value;

/// Somebody at a terminal of a machine, with a configuration.
pub struct Hand {
    program: &'static Path,
    endpoint: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

/// What came of a command.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Hand {
    /// One who types to the driver at `endpoint`, in the directory `place`.
    pub fn at(endpoint: &Path, place: &Path) -> Self {
        let config = place.join("hand.yaml");
        let (bridge, mounts) = (place.join("bridge"), place.join("bridge-mounts"));
        let text = format!("bridge:\n  state: {}\n  mounts: {}\n", bridge.display(), mounts.display());
        std::fs::write(&config, text).unwrap();
        Self { program: hawser(), endpoint: endpoint.to_owned(), config, state: place.join("mount") }
    }

    /// The same with another program.
    pub fn with(self, program: &'static Path) -> Self {
        Self { program, ..self }
    }

    /// The same with another configuration.
    pub fn configured(self, config: &Path) -> Self {
        Self { config: config.to_owned(), ..self }
    }

    /// Where is written down what `mount` made.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A command, to be run in another way than [`Hand::types`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(arguments).env("CSI_ENDPOINT", &self.endpoint).env("HAWSER_CONFIG", &self.config);
        command.env("HAWSER_MOUNT_STATE", &self.state).env_remove("HAWSER_CONTROLLER");
        command
    }

    /// Types a command and waits for its end.
    pub fn types(&self, arguments: &[&str]) -> Done {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// The same for a command that must be done; what it printed, without the end of the line.
    pub fn does(&self, arguments: &[&str]) -> String {
        let done = self.types(arguments);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{arguments:?}: {}", done.out);
        done.out.trim_end().to_owned()
    }

    /// The same in JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.does(&arguments)).unwrap()
    }

    /// Types a command that must be refused with this exit code and these words.
    pub fn is_refused(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let done = self.types(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.out, done.err);
        for word in words {
            assert!(done.err.contains(word), "{arguments:?}: no {word:?} in {}", done.err);
        }
        assert_eq!(done.out, "", "{arguments:?}");
    }
}

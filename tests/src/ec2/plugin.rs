//! `hawser serve controller` against the simulator: one process, or several as replicas.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Ec2;
use crate::binary::hawser;
use crate::client::Client;
use crate::process::Process;

/// A process that serves the controller half. Killed when it is dropped.
#[derive(Debug)]
pub struct Controller {
    process: Process,
    place: PathBuf,
    name: String,
}

impl Controller {
    /// Starts `name` in `place`, with further lines of the backend's configuration.
    pub async fn start(ec2: &Ec2, place: &Path, name: &str, more: &str) -> Self {
        Self::start_with(ec2, place, name, more, &[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .await
    }

    /// The same with another environment.
    pub async fn start_with(ec2: &Ec2, place: &Path, name: &str, more: &str, environment: &[(&str, &str)]) -> Self {
        let config = place.join(format!("{name}.yaml"));
        let address = ec2.address();
        let region = if more.contains("region:") { "" } else { "    region: us-east-1\n" };
        let endpoint = if more.contains("endpoint:") { String::new() } else { format!("    endpoint: {address}\n") };
        let text = format!("backends:\n  ebs:\n    type: ebs\n{region}{endpoint}{more}");
        std::fs::write(&config, text).unwrap();
        let (socket, log) = (place.join(format!("{name}.sock")), place.join(format!("{name}.log")));
        let mut command = Command::new(hawser());
        command.args(["serve", "controller", "--log", "info,hawser_ebs=debug", "--config"]).arg(&config);
        command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
        // Nothing of the machine's own credentials, and no metadata service.
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("AWS_")) {
            command.env_remove(key);
        }
        command.env("HOME", place).env("AWS_EC2_METADATA_DISABLED", "true").envs(environment.iter().copied());
        let mut process = Process::spawn(command, &socket, &log);
        process.wait_until_it_answers().await;
        Self { process, place: place.to_owned(), name: name.to_owned() }
    }

    /// A client of it, for the node that is `instance`.
    pub fn client(&self, instance: &str) -> Client {
        Client::new(self.process.socket(), instance, &self.place.join(&self.name))
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Everything that it said.
    pub fn said(&self) -> String {
        self.process.said()
    }
}

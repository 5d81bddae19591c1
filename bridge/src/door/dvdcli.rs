//! `dvdcli`: the program that Mesos' `docker/volume` isolator and mesos-module-dvdi run.
//!
//! Flags and output are those of rexray/dvdcli (`dvdcli/flags.go`, `commands.go`), with two differences on purpose: a flag that is
//! not known is an error with an exit code, where the original prints its usage and exits with 0 (Mesos would then mount the
//! empty path); and options are not cut off at a second `=`.
//!
//! Only the path goes to standard output: Mesos takes all of it for the mount point.

use std::path::PathBuf;

use hawser_volume::{Error, Result};
use serde_json::{Value, json};

use super::plugin::Address;
use crate::declare::docker::pairs;

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Make a volume.
    Create(Volume),
    /// Delete a volume.
    Remove(Volume),
    /// Mount a volume and print where; make it first if it is not there.
    Mount(Volume),
    /// Unmount a volume.
    Unmount(Volume),
    /// Print where a volume is mounted.
    Path(Volume),
    /// Print what is known of a volume, as JSON.
    Get(Volume),
    /// Print the names of all volumes.
    List(Volume),
    /// Print the version.
    Version,
}

#[derive(Debug, Clone, clap::Args)]
struct Volume {
    /// The volume driver: the name of its socket or specification.
    #[arg(long = "volumedriver", alias = "volumeDriver", value_name = "NAME", default_value = "hawser")]
    driver: String,
    /// The volume.
    #[arg(long = "volumename", alias = "volumeName", value_name = "NAME", default_value = "")]
    name: String,
    /// What a new volume shall be: key=value, once for each, or several with commas between them.
    #[arg(long = "volumeopts", alias = "volumeOpts", value_name = "KEY=VALUE", value_delimiter = ',')]
    options: Vec<String>,
    /// Do not make the volume when it is not there.
    #[arg(
        long = "explicitcreate",
        alias = "explicitCreate",
        value_name = "BOOL",
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true",
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    explicit_create: bool,
    /// A directory with sockets and specifications of plugins, in place of the system's.
    #[arg(long = "plugindir", env = "HAWSER_PLUGIN_DIR", value_name = "DIR", hide = true)]
    plugins: Option<PathBuf>,
}

/// Does what was typed, and returns what is to be printed.
pub async fn run(options: Options) -> Result<String> {
    match options.command {
        Command::Create(volume) => volume.create().await.map(|()| String::new()),
        Command::Remove(volume) => volume.call("Remove").await.map(|_| String::new()),
        Command::Mount(volume) => volume.mount().await,
        Command::Unmount(volume) => volume.call("Unmount").await.map(|_| String::new()),
        Command::Path(volume) => volume.call("Path").await.map(|answer| text(&answer, "Mountpoint")),
        Command::Get(volume) => volume.get().await.map(|found| found.to_string()),
        Command::List(volume) => volume.list().await,
        Command::Version => Ok(format!("hawser dvdcli {}", env!("CARGO_PKG_VERSION"))),
    }
}

impl Volume {
    async fn ask(&self, method: &str, body: Value) -> Result<Value> {
        Address::of(&self.driver, self.plugins.as_deref())?.call(&format!("VolumeDriver.{method}"), body).await
    }

    /// A call that says the name alone.
    async fn call(&self, method: &str) -> Result<Value> {
        self.ask(method, json!({ "Name": self.named()? })).await
    }

    fn named(&self) -> Result<&str> {
        if self.name.is_empty() { Err(Error::invalid("--volumename is required")) } else { Ok(&self.name) }
    }

    async fn create(&self) -> Result<()> {
        let options = pairs(self.options.iter().map(String::as_str)).map_err(|error| error.while_doing("--volumeopts"))?;
        self.ask("Create", json!({ "Name": self.named()?, "Opts": options })).await.map(drop)
    }

    async fn get(&self) -> Result<Value> {
        let mut answer = self.call("Get").await?;
        match answer.get_mut("Volume").map(Value::take) {
            None | Some(Value::Null) => Err(Error::not_found(format!("no such volume: {}", self.name))),
            Some(volume) => Ok(volume),
        }
    }

    async fn mount(&self) -> Result<String> {
        if self.explicit_create {
            self.get().await?;
        } else {
            // Said again when the volume is there: this node may not know what the task declared.
            self.create().await?;
        }
        let answer = self.call("Mount").await?;
        let path = text(&answer, "Mountpoint");
        if path.is_empty() {
            return Err(Error::internal(format!("volume driver {} answered Mount without a path", self.driver)));
        }
        Ok(path)
    }

    async fn list(&self) -> Result<String> {
        let answer = self.ask("List", json!({})).await?;
        let volumes = answer.get("Volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        let names: Vec<String> = volumes.iter().map(|volume| text(volume, "Name")).collect();
        Ok(names.join("\n"))
    }
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

//! The files that make an agent use a bridge. What is written here passes [`check`](super::check).

mod directory;

use std::path::{Path, PathBuf};

use hawser_volume::{Error, Result};
use serde_json::{Value, json};

use super::{plugin, provider, settings};
use crate::config::BridgeConfig;

/// Where an agent's configuration goes unless somebody says otherwise.
pub const DIRECTORY: &str = "/etc/hawser/mesos";

/// The flags, as variables.
const FLAGS: &str = "mesos-agent.env";

/// The profiles of disks.
const PROFILES: &str = "disk-profiles.json";

/// The module that reads them.
const MODULES: &str = "modules.json";

/// The directory that `--csi_plugin_config_dir` names. Nothing but plugins may be in it.
const PLUGINS: &str = "csi-plugins";

/// The directory that `--resource_provider_config_dir` names.
const PROVIDERS: &str = "resource-providers";

/// The name of the plugin of a provider; that of `volume/csi` is `default`, and the two must not share a directory.
const PLUGIN_OF_PROVIDER: &str = "provider";

/// Where Mesos' packages put their modules (`pkgmoduledir`, src/Makefile.am).
const ADAPTOR: &str = "/usr/lib/mesos/modules/liburi_disk_profile_adaptor.so";

/// A way by which an agent comes to volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// The isolator `volume/csi`: tasks with a CSI_VOLUME, Marathon's provider `csi`.
    Isolator,
    /// The isolator `docker/volume` with dvdcli, dockerd, podman: tasks with a DOCKER_VOLUME, Marathon's provider `dvdi`.
    Docker,
    /// Mesos' own storage provider: disks in offers, CREATE_DISK.
    Provider,
}

/// What is written for.
#[derive(Debug)]
pub struct Wanted<'w> {
    /// For which doors.
    pub doors: &'w [Door],
    /// The bridge.
    pub bridge: &'w BridgeConfig,
    /// The name of the CSI plugin: what tasks call `plugin_name`.
    pub plugin: &'w str,
    /// The backends, each of which gets a profile.
    pub backends: Vec<String>,
    /// The configuration file of Hawser, for a plugin that Mesos starts.
    pub config: Option<&'w Path>,
    /// What the agent's `--isolation` is so far; Mesos' own when it is not known.
    pub isolation: Option<&'w str>,
    /// Where the files will be, an absolute path.
    pub directory: &'w Path,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where, absolute.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// The files for the doors that are wanted.
///
/// `Invalid` when the configuration lacks what a door needs, or has what Mesos would refuse.
pub fn files(wanted: &Wanted<'_>) -> Result<Vec<Output>> {
    if !wanted.directory.is_absolute() {
        return Err(Error::invalid(format!(
            "{} is not an absolute path, as flags of an agent must be",
            wanted.directory.display()
        )));
    }
    let mut files = Files { wanted, outputs: Vec::new(), flags: Vec::new(), isolators: Vec::new() };
    let mut doors = wanted.doors.to_vec();
    doors.sort_unstable();
    doors.dedup();
    for door in doors {
        match door {
            Door::Isolator => files.isolator()?,
            Door::Docker => files.docker()?,
            Door::Provider => files.provider()?,
        }
    }
    files.end()
}

/// Writes the files, each whole or not at all, and none over another one that is there unless `force`.
///
/// `AlreadyExists` names every file that is there and is different; then none is written.
pub fn into_directory(outputs: &[Output], base: &Path, force: bool) -> Result<Vec<PathBuf>> {
    directory::write(outputs, base, force)
}

struct Files<'w> {
    wanted: &'w Wanted<'w>,
    outputs: Vec<Output>,
    flags: Vec<(&'static str, String)>,
    isolators: Vec<&'static str>,
}

impl Files<'_> {
    fn add(&mut self, name: &str, value: &Value) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::internal("write JSON").caused_by(error))?;
        self.outputs.push(Output { path: self.wanted.directory.join(name), text: format!("{text}\n") });
        Ok(())
    }

    fn below(&self, name: &str) -> Result<String> {
        text(&self.wanted.directory.join(name)).map(str::to_owned)
    }

    fn isolator(&mut self) -> Result<()> {
        let plugin = self.wanted.plugin;
        let socket = self.wanted.bridge.isolator_socket.as_deref().ok_or_else(|| {
            Error::invalid(
                "bridge.isolator-socket is not set, and the agent must know where the bridge listens; set it, as to \
                /run/hawser/isolator.sock",
            )
        })?;
        if text(socket)?.len() > plugin::SOCKET_MAX {
            return Err(Error::invalid(format!(
                "bridge.isolator-socket is longer than {} bytes, which no socket's path may be",
                plugin::SOCKET_MAX
            )));
        }
        // No target_path_root: the default is a directory of its own below work_dir, which nothing else can be in.
        let file = json!({
            "type": plugin,
            "endpoints": [{ "csi_service": "NODE_SERVICE", "endpoint": format!("unix://{}", text(socket)?) }],
        });
        self.add(&format!("{PLUGINS}/{plugin}.json"), &file)?;
        let directory = self.below(PLUGINS)?;
        self.flags.push((settings::PLUGINS, directory));
        self.isolators.extend(["filesystem/linux", "volume/csi"]);
        Ok(())
    }

    fn docker(&mut self) -> Result<()> {
        let socket = &self.wanted.bridge.docker_socket;
        if socket.parent() != Some(Path::new("/run/docker/plugins")) {
            // Elsewhere Docker and dvdcli find a plugin by a file with its address (moby, pkg/plugins/discovery.go).
            let name = socket.file_stem().map(Path::new).ok_or_else(|| Error::invalid("bridge.docker-socket names no file"))?;
            let path = Path::new("/etc/docker/plugins").join(format!("{}.spec", text(name)?));
            self.outputs.push(Output { path, text: format!("unix://{}\n", text(socket)?) });
        }
        self.flags.push((settings::CHECKPOINTS, "/var/lib/mesos/isolators/docker/volume".to_owned()));
        self.isolators.extend(["filesystem/linux", "docker/volume"]);
        Ok(())
    }

    fn provider(&mut self) -> Result<()> {
        let plugin = self.wanted.plugin;
        if !provider::is_type(plugin) {
            return Err(Error::invalid(format!(
                "driver.name {plugin} is no type for Mesos' storage provider, which takes words of letters, digits and _ with \
                    dots between them; \
                 name it otherwise"
            )));
        }
        let config = match self.wanted.config {
            Some(path) if path.is_absolute() => quoted(text(path)?)?,
            Some(path) => {
                return Err(Error::invalid(format!(
                    "{} is not an absolute path, and Mesos starts the plugin elsewhere",
                    path.display()
                )));
            }
            None => return Err(Error::invalid("give --config: Mesos starts the plugin, and must name its configuration")),
        };
        let file = json!({
            "type": provider::TYPE,
            "name": "hawser",
            "storage": {
                "reconciliation_interval_seconds": 60,
                "plugin": {
                    "type": plugin,
                    "name": PLUGIN_OF_PROVIDER,
                    "containers": [{
                        "services": ["CONTROLLER_SERVICE", "NODE_SERVICE"],
                        "command": {
                            "shell": true,
                            "value": format!("exec /usr/bin/hawser serve all --config {config} --endpoint \"$CSI_ENDPOINT\""),
                        },
                        "resources": [
                            { "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.1 } },
                            { "name": "mem", "type": "SCALAR", "scalar": { "value": 256 } },
                        ],
                    }],
                },
            },
        });
        self.add(&format!("{PROVIDERS}/hawser.json"), &file)?;
        let matrix: serde_json::Map<String, Value> =
            self.wanted.backends.iter().map(|backend| (backend.clone(), profile(plugin, backend))).collect();
        self.add(PROFILES, &json!({ "profile_matrix": matrix }))?;
        let module = json!({
            "libraries": [{
                "file": ADAPTOR,
                "modules": [{
                    "name": "org_apache_mesos_UriDiskProfileAdaptor",
                    "parameters": [
                        { "key": "uri", "value": self.below(PROFILES)? },
                        { "key": "poll_interval", "value": "1mins" },
                    ],
                }],
            }],
        });
        self.add(MODULES, &module)?;
        let (providers, modules) = (self.below(PROVIDERS)?, self.below(MODULES)?);
        self.flags.push((settings::PROVIDERS, providers));
        self.flags.push((settings::ADAPTOR, "org_apache_mesos_UriDiskProfileAdaptor".to_owned()));
        self.flags.push(("modules", modules));
        Ok(())
    }

    fn end(mut self) -> Result<Vec<Output>> {
        if !self.isolators.is_empty() {
            let before = self.wanted.isolation.unwrap_or(settings::ISOLATION);
            let mut all: Vec<&str> = Vec::new();
            for name in before.split(',').chain(self.isolators.iter().copied()).map(str::trim) {
                // There may be one filesystem isolator, and it must be filesystem/linux.
                if !name.is_empty() && !all.contains(&name) && !matches!(name, "filesystem/posix" | "filesystem/shared") {
                    all.push(name);
                }
            }
            self.flags.push(("isolation", all.join(",")));
            self.flags.push((settings::REGISTRATION, "5mins".to_owned()));
        }
        let mut lines = String::from(
            "# What the agent needs for Hawser's doors. Variables of /etc/default/mesos-agent, or of systemd's \
                EnvironmentFile.\n",
        );
        for (flag, value) in &self.flags {
            lines.push_str(&format!("MESOS_{}={}\n", flag.to_uppercase(), quoted(value)?));
        }
        self.outputs.push(Output { path: self.wanted.directory.join(FLAGS), text: lines });
        Ok(self.outputs)
    }
}

fn profile(plugin: &str, backend: &str) -> Value {
    json!({
        "csi_plugin_type_selector": { "plugin_type": plugin },
        // Without a filesystem it is the backend's own: some have none to choose.
        "volume_capabilities": { "mount": {}, "access_mode": { "mode": "SINGLE_NODE_WRITER" } },
        "create_parameters": { "backend": backend },
    })
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::invalid(format!("{} is not UTF-8, as JSON must be", path.display())))
}

/// The word as a shell reads it, and a systemd EnvironmentFile.
fn quoted(word: &str) -> Result<String> {
    if word.contains(['\'', '\n']) {
        return Err(Error::invalid(format!("{word:?} has a quote or a line break, which no flag can have")));
    }
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:,+@".contains(&b));
    Ok(if plain { word.to_owned() } else { format!("'{word}'") })
}

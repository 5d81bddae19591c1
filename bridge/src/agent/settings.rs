//! Whether the flags of an agent fit together, as far as external storage goes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hawser_volume::error::shown;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::Sources;
use super::flags::{Flags, Setting};
use super::known;
use super::report::Report;
use crate::declare::nearest::nearest;
use crate::finding::Place;

/// The flag that names the directory of CSI plugins.
pub(super) const PLUGINS: &str = "csi_plugin_config_dir";
/// The flag that names the directory of storage providers.
pub(super) const PROVIDERS: &str = "resource_provider_config_dir";
/// Where the docker/volume isolator writes down what is mounted.
pub(super) const CHECKPOINTS: &str = "docker_volume_checkpoint_dir";
/// How long an executor may take to appear.
pub(super) const REGISTRATION: &str = "executor_registration_timeout";
/// The module that knows of profiles.
pub(super) const ADAPTOR: &str = "disk_profile_adaptor";

/// What `--isolation` is when it is not given (src/slave/flags.cpp).
pub(super) const ISOLATION: &str = "posix/cpu,posix/mem";

/// How long an attachment may take before an executor registers, in seconds: 60 for each of Stage and Publish, 120 for a mount by
/// dvdcli, and as much again for a second volume and for fetching the image.
pub(super) const ATTACH: f64 = 300.0;

/// What the agent's own default is, in seconds (src/slave/constants.hpp).
const REGISTRATION_DEFAULT: f64 = 60.0;

/// The units of Mesos' Duration, in seconds (stout, duration.hpp).
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("secs", 1.0),
    ("mins", 60.0),
    ("hrs", 3600.0),
    ("days", 86_400.0),
    ("weeks", 604_800.0),
];

/// Checks the flags, if any are known.
pub(super) fn check(flags: &Flags, sources: &Sources, report: &mut Report) {
    let Some(source) = flags.source.clone() else { return };
    let mut checked = Checked { flags, report, source };
    let isolators = checked.isolators();
    checked.volume_csi(&isolators, sources);
    checked.docker_volume(&isolators, sources);
    checked.mesos_containerizer(&isolators);
    checked.registration(&isolators);
    checked.providers(sources);
}

struct Checked<'c> {
    flags: &'c Flags,
    report: &'c mut Report,
    /// Where flags that are missing should stand.
    source: String,
}

impl Checked<'_> {
    fn at(&self, flag: &str) -> (String, Place) {
        match self.flags.get(flag) {
            Some(Setting { file, place, .. }) => (file.clone(), place.clone()),
            None => (self.source.clone(), Place::named(format!("--{flag}"))),
        }
    }

    fn mistake(&mut self, flag: &str, text: impl Into<String>) {
        let (file, place) = self.at(flag);
        self.report.of(&file).mistake(&place, text);
    }

    fn warn(&mut self, flag: &str, text: impl Into<String>) {
        let (file, place) = self.at(flag);
        self.report.of(&file).warn(&place, text);
    }

    /// The value as Mesos gets it: that of `file:///path` stands in that file (stout, flags/fetch.hpp).
    fn value(&mut self, flag: &str) -> Option<String> {
        let value = self.flags.get(flag)?.value.clone();
        let Some(path) = value.strip_prefix("file://") else { return Some(value) };
        match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => {
                let text = format!(
                    "is read from the file {}, which fails ({error}), and the agent exits; a directory is named without file://",
                    shown(path)
                );
                self.mistake(flag, text);
                None
            }
        }
    }

    fn isolators(&mut self) -> BTreeSet<String> {
        let value = self.value("isolation").unwrap_or_else(|| ISOLATION.to_owned());
        let mut isolators = BTreeSet::new();
        for name in value.split(',').filter(|name| !name.is_empty()) {
            if name.trim() != name {
                self.mistake(
                    "isolation",
                    format!("{} has a blank in it, and the agent exits: nothing but commas stand between names", shown(name)),
                );
            }
            let name = name.trim();
            let known = known::isolators().any(|known| known == name);
            if let Some(near) = nearest(name, known::isolators()).filter(|_| !known) {
                self.mistake(
                    "isolation",
                    format!("{} is no isolator of Mesos, and the agent exits; did you mean {near}?", shown(name)),
                );
            }
            if !isolators.insert(name.to_owned()) {
                // MesosContainerizer::create, containerizer.cpp.
                self.mistake("isolation", format!("{} is given twice, and the agent exits", shown(name)));
            }
        }
        isolators
    }

    fn volume_csi(&mut self, isolators: &BTreeSet<String>, sources: &Sources) {
        let isolated = isolators.contains("volume/csi");
        let directory = self.value(PLUGINS).filter(|path| !path.is_empty());
        match (&directory, isolated) {
            // CSIServer::create, called by slave/main.cpp whenever the directory is given.
            (Some(_), false) => self.mistake(
                "isolation",
                "lacks volume/csi, and the agent exits at its start because --csi_plugin_config_dir is given; add volume/csi",
            ),
            // VolumeCSIIsolatorProcess::create: "No CSI server is provided".
            (None, true) => self.mistake(
                PLUGINS,
                "is not given, and the agent exits at its start because --isolation has volume/csi; name the directory",
            ),
            _ => {}
        }
        if directory.is_none()
            && !isolated
            && let Some(path) = &sources.csi_plugins
        {
            let text = format!(
                "is not given, so the agent does not read {}; give it, and add volume/csi to --isolation",
                path.display()
            );
            self.mistake(PLUGINS, text);
        }
        if isolated {
            self.filesystem_linux(isolators, "volume/csi");
        }
    }

    fn filesystem_linux(&mut self, isolators: &BTreeSet<String>, needs: &str) {
        if !isolators.contains("filesystem/linux") {
            // volume/csi refuses to start without it (isolator.cpp); docker/volume mounts into its mount namespace.
            let comes = if needs == "volume/csi" {
                "the agent exits at its start"
            } else {
                "a container has no mounts of its own to put a volume into"
            };
            self.mistake("isolation", format!("lacks filesystem/linux, which {needs} needs: {comes}; add filesystem/linux"));
        } else if self.value("launcher").is_some_and(|launcher| launcher != "linux") {
            // LinuxFilesystemIsolatorProcess::create.
            self.mistake("launcher", "must be linux for filesystem/linux, or the agent exits; leave it out or write linux");
        }
    }

    fn docker_volume(&mut self, isolators: &BTreeSet<String>, sources: &Sources) {
        if !isolators.contains("docker/volume") {
            return;
        }
        self.filesystem_linux(isolators, "docker/volume");
        let directory = self.value(CHECKPOINTS).unwrap_or_else(|| "/var/run/mesos/isolators/docker/volume".to_owned());
        if is_in_memory(Path::new(&directory)) {
            let text = format!(
                "{} is gone after a reboot, and with it Mesos' record of what is mounted, so nothing is unmounted that was; \
                    name a \
                 directory on a disk, as /var/lib/mesos/isolators/docker/volume",
                shown(&directory)
            );
            self.warn(CHECKPOINTS, text);
        }
        if let Some(path) = &sources.path
            && !std::env::split_paths(path).any(|directory| directory.join("dvdcli").is_file())
        {
            // DockerVolumeIsolatorProcess::create.
            let text = "has docker/volume, but there is no dvdcli in PATH: with a PATH like this the agent exits at its start; \
                link hawser as dvdcli";
            self.warn("isolation", text);
        }
    }

    fn mesos_containerizer(&mut self, isolators: &BTreeSet<String>) {
        let containerizers = self.value("containerizers").unwrap_or_else(|| "mesos".to_owned());
        for isolator in ["volume/csi", "docker/volume"].into_iter().filter(|name| isolators.contains(*name)) {
            if !containerizers.split(',').any(|name| name == "mesos") {
                self.mistake("containerizers", format!("lacks mesos, so that the isolator {isolator} is never used; add mesos"));
            }
        }
    }

    fn registration(&mut self, isolators: &BTreeSet<String>) {
        let given = self.value(REGISTRATION);
        let seconds = match given.as_deref().map(seconds) {
            Some(None) => {
                let text = "is no time that Mesos reads, and the agent exits; write a number and one of ns, us, ms, secs, \
                    mins, hrs, days, weeks, as 5mins";
                return self.mistake(REGISTRATION, text);
            }
            Some(Some(seconds)) => seconds,
            None => REGISTRATION_DEFAULT,
        };
        // The clock runs while volumes are attached and mounted: slave.cpp starts it with the launch.
        if seconds < ATTACH && ["volume/csi", "docker/volume"].iter().any(|name| isolators.contains(*name)) {
            let text = format!(
                "is {seconds} s, and the executor waits for its volumes meanwhile; a task whose attachment takes longer is \
                    killed: give 5mins or more"
            );
            self.warn(REGISTRATION, text);
        }
    }

    fn providers(&mut self, sources: &Sources) {
        let directory = self.value(PROVIDERS);
        if let (None, Some(path)) = (&directory, &sources.providers) {
            self.mistake(PROVIDERS, format!("is not given, so the agent does not read {}", path.display()));
        }
        let adaptor = self.value(ADAPTOR);
        match (&adaptor, &sources.profiles) {
            (None, Some(path)) => {
                let text = format!(
                    "is not given, so no provider learns of {}; give org_apache_mesos_UriDiskProfileAdaptor",
                    path.display()
                );
                self.mistake(ADAPTOR, text);
            }
            (None, None) if directory.is_some() || sources.providers.is_some() => {
                self.warn(ADAPTOR, "is not given, so providers offer no pools, only volumes that are there already");
            }
            _ => {}
        }
        let modules = (self.flags.get("modules").is_some(), self.flags.get("modules_dir").is_some());
        match modules {
            (false, false) if adaptor.is_some() => {
                self.mistake(ADAPTOR, "names a module, and neither --modules nor --modules_dir loads one: the agent exits");
            }
            (true, true) => self.mistake("modules_dir", "is given beside --modules, and the agent exits; keep one of the two"),
            _ => {}
        }
    }
}

/// A time as Mesos writes it: `90secs`, `1.5mins`.
fn seconds(text: &str) -> Option<f64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number * factor)
}

/// Whether what stands there is lost at a reboot. `/run` is in memory on every agent, whatever it is on this machine.
fn is_in_memory(path: &Path) -> bool {
    let by_name = ["/run", "/var/run", "/dev/shm"].iter().any(|volatile| path.starts_with(volatile));
    let there: Option<PathBuf> = path.ancestors().find(|ancestor| ancestor.exists()).map(Path::to_owned);
    by_name || there.is_some_and(|there| statfs(&there).is_ok_and(|filesystem| filesystem.filesystem_type() == TMPFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_mesos() {
        for (text, wanted) in [("1mins", Some(60.0)), ("90secs", Some(90.0)), ("1.5hrs", Some(5400.0)), ("500ms", Some(0.5))] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
        for text in ["", "5", "5m", "5min", "5 mins", "mins", "1e400secs", "5mins ", "-5mins"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}

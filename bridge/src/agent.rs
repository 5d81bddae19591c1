//! What a Mesos agent reads: its flags, the CSI plugins, the storage providers and the profiles; checked before an agent does.
//!
//! An agent says little about these files. Some mistakes end it ([`check`] tells which), most it drops without a word. So everything
//! that has no effect counts as a mistake here, too. What can be written for a bridge is in [`mod@write`].

mod directory;
mod flags;
mod known;
mod message;
mod plugin;
mod profiles;
mod provider;
mod report;
mod schema;
mod settings;
mod targets;
pub mod write;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hawser_volume::Result;
use hawser_volume::error::shown;

use directory::{Entry, Outcome};
use flags::Flags;
use plugin::Plugin;
use provider::Provider;

pub use flags::FlagSource;
pub use report::{FileReport, Report};

/// What is to be checked. What is left out is not looked at, but for directories that the flags name.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The directory of `--csi_plugin_config_dir`.
    pub csi_plugins: Option<PathBuf>,
    /// The directory of `--resource_provider_config_dir`.
    pub providers: Option<PathBuf>,
    /// The file that the profile adaptor reads.
    pub profiles: Option<PathBuf>,
    /// The flags of the agent, from any number of places.
    pub flags: Vec<FlagSource>,
    /// The `PATH` in which an agent would look for `dvdcli`; without it nobody looks.
    pub path: Option<OsString>,
}

impl Sources {
    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.csi_plugins.is_none() && self.providers.is_none() && self.profiles.is_none() && self.flags.is_empty()
    }
}

/// What comes of mistakes in `--csi_plugin_config_dir` (csi_server.cpp, `CSIServer::create` and `initializePlugin`).
const PLUGINS: Outcome = Outcome {
    missing: "the agent exits at its start; make it",
    empty: ("the agent exits as soon as it is registered; put a plugin there, or leave --csi_plugin_config_dir out", true),
    refused: plugin::READER.refused,
};

/// What comes of mistakes in `--resource_provider_config_dir` (daemon.cpp, `initialize`).
const PROVIDERS: Outcome = Outcome {
    missing: "the agent aborts at its start (LOG(FATAL)); make it",
    empty: ("no provider is started", false),
    refused: provider::READER.refused,
};

/// Reads all that `sources` names, and reports what was found in each file.
///
/// `Invalid` for a source that cannot be read.
pub fn check(sources: &Sources) -> Result<Report> {
    let mut report = Report::default();
    let flags = Flags::read(&sources.flags, &mut report)?;
    settings::check(&flags, sources, &mut report);

    let named = |given: &Option<PathBuf>, flag: &str| {
        given.clone().or_else(|| flags.get(flag).map(|setting| setting.value.clone().into()))
    };
    let plugins = match named(&sources.csi_plugins, settings::PLUGINS) {
        Some(path) => directory::read_all(&path, &PLUGINS, Plugin::read, &mut report)?,
        None => Vec::new(),
    };
    directory::tell_of_doubles(&plugins, "the plugin", |plugin| (plugin.kind.clone(), plugin.place.member("type")), &mut report);
    let providers = match named(&sources.providers, settings::PROVIDERS) {
        Some(path) => Some(directory::read_all(&path, &PROVIDERS, Provider::read, &mut report)?),
        None => None,
    };
    if let Some(providers) = &providers {
        let key = |provider: &Provider| (format!("{} {}", provider.kind, provider.name), provider.place.member("name"));
        directory::tell_of_doubles(providers, "the provider", key, &mut report);
        share_no_state(&plugins, providers, &mut report);
    }
    let work_dir = flags.get("work_dir").map(|setting| PathBuf::from(&setting.value));
    targets::check(&plugins, work_dir.as_deref(), &mut report);
    if let Some(path) = &sources.profiles {
        read_profiles(path, providers.as_deref(), &mut report)?;
    }
    Ok(report)
}

fn read_profiles(path: &Path, providers: Option<&[Entry<Provider>]>, report: &mut Report) -> Result<()> {
    let text = report::read_text(path)?;
    let providers: Option<Vec<Provider>> = providers.map(|list| list.iter().map(|entry| entry.value.clone()).collect());
    let findings = report.of(&path.display().to_string());
    directory::root(&text, "no profile of the file is used", findings, |root, findings| {
        profiles::read(root, providers.as_deref(), findings);
        Some(())
    });
    Ok(())
}

/// Providers and `volume/csi` keep state and mounts of a plugin in the same `<work_dir>/csi/<type>/<name>` (src/csi/paths.hpp,
/// `getCsiRootDir`), and each removes what it has no record of at its start.
fn share_no_state(plugins: &[Entry<Plugin>], providers: &[Entry<Provider>], report: &mut Report) {
    let mut users: Vec<(&Plugin, &str)> = plugins.iter().map(|entry| (&entry.value, entry.file.as_str())).collect();
    for entry in providers {
        let Some(own) = &entry.value.plugin else { continue };
        if let Some((_, file)) = users.iter().find(|(other, _)| (&other.kind, &other.name) == (&own.kind, &own.name)) {
            let text = format!(
                "is plugin {} with name {}, as in {file}: both keep their mounts in one directory, and each deletes there what \
                    it does \
                 not know, with the data; give the plugins different names",
                shown(&own.kind),
                shown(&own.name)
            );
            report.of(&entry.file).mistake(&own.place, text);
        }
        users.push((own, &entry.file));
    }
}

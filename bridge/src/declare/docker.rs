//! Docker's ways to say it: a name and options, and the parameters of a Docker container.
//!
//! `docker volume create -d hawser -o size=10 pgdata`, the volume plugin's `Create{Name, Opts}` and `dvdcli mount --volumeopts=…`
//! all come to a name and a map. Parameters of a container (`volume-driver`, `volume`) are what frameworks used before Mesos knew
//! volumes of drivers, mesos/elasticsearch among them (`TaskInfoFactory.getContainer`); there are no options in them.

use std::collections::BTreeMap;

use hawser_volume::error::shown;
use hawser_volume::{AccessMode, Error, Result};

use super::Reading;
use super::draft::{Draft, container_path, driver_name};
use super::json::{Array, Node, Object};
use super::options::{Carrier, Entry, VolumeOptions};
use crate::claim::VolumeClaim;
use crate::declaration::Form;
use crate::finding::{Findings, Place};

/// The claim of a name and options, as the Docker volume plugin's Create or dvdcli bring them.
pub fn claim(name: &str, options: &BTreeMap<String, String>) -> Reading {
    let entries: Vec<Entry> = options
        .iter()
        .map(|(key, value)| Entry { key: key.clone(), value: value.clone(), place: Place::named("Opts").member(key) })
        .collect();
    let place = Place::named("Name");
    Reading::of(|findings| {
        let options = VolumeOptions::read(&entries, Carrier::DockerDriver, findings);
        Draft::new(Form::DockerOptions, place.clone()).named((name, &place), options, AccessMode::SingleNodeWriter, findings)
    })
}

/// The options of a command line: each `key=value`; what follows the first `=` is the value.
///
/// `Invalid` for a text without `=`, and for a key that is given twice with different values.
pub fn pairs<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<BTreeMap<String, String>> {
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for text in texts {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::invalid(format!("{} is no option; write key=value", shown(text))));
        };
        match map.insert(key.trim().to_owned(), value.to_owned()) {
            Some(other) if other != value => return Err(Error::invalid(format!("the option {} is given twice", shown(key)))),
            _ => {}
        }
    }
    Ok(map)
}

/// The fields of a request to make a volume: of the plugin (`Opts`) and of Docker's own API (`Driver`, `DriverOpts`).
const CREATE_FIELDS: [&str; 5] = ["Name", "Opts", "Driver", "DriverOpts", "Labels"];

/// A request to make a volume, as JSON.
pub(super) fn create_request(root: &Object<'_>, reading: &mut Reading) {
    reading.claim(|findings| {
        root.warn_of_others(&CREATE_FIELDS, "Docker", findings);
        let name = root.required("Name", findings);
        let name = name.and_then(|node| Some((node.text(findings)?, node.place())));
        let driver = root.get("Driver").and_then(|node| driver_name(node.text(findings)?, &node.place(), findings));
        let options = ["Opts", "DriverOpts"].into_iter().filter_map(|key| root.get(key));
        let entries: Vec<Entry> = options.flat_map(|node| map_entries(node, findings)).collect();
        let options = VolumeOptions::read(&entries, Carrier::DockerDriver, findings);
        let (name, place) = name?;
        let draft = Draft { driver, ..Draft::new(Form::DockerOptions, root.node.place()) };
        draft.named((&name, &place), options, AccessMode::SingleNodeWriter, findings)
    });
}

/// A map of texts as entries.
pub(super) fn map_entries(node: &Node<'_>, findings: &mut Findings) -> Vec<Entry> {
    let Some(map) = node.object(findings) else { return Vec::new() };
    map.members()
        .filter_map(|(key, value)| Some(Entry { key: key.to_owned(), value: value.text(findings)?, place: value.place() }))
        .collect()
}

/// A list of `{"key": …, "value": …}` as entries; a key that comes again with another value is a mistake.
pub(super) fn parameter_entries(list: &Array<'_>, findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    for node in list.iter() {
        let Some(parameter) = node.object(findings) else { continue };
        let (key, value) = (parameter.required("key", findings), parameter.required("value", findings));
        let (Some(key), Some(value)) = (key, value) else { continue };
        if let (Some(key), Some(value)) = (key.text(findings), value.text(findings)) {
            entries.push(Entry { key, value, place: node.place() });
        }
    }
    entries
}

/// The volumes among the parameters of a Docker container; `driver` is the one that the container names elsewhere.
pub(super) fn container_parameters(parameters: &Array<'_>, driver: Option<&str>, reading: &mut Reading) {
    let entries = parameter_entries(parameters, &mut reading.findings);
    let named = entries.iter().find(|entry| entry.key == "volume-driver");
    let driver = match named {
        Some(entry) => driver_name(entry.value.clone(), &entry.place, &mut reading.findings),
        None => driver.map(str::to_owned),
    };
    // Without a driver a name is one of Docker's own volumes.
    let Some(driver) = driver else { return };
    for entry in entries.iter().filter(|entry| matches!(entry.key.as_str(), "volume" | "v")) {
        reading.claim(|findings| volume_parameter(entry, &driver, findings));
    }
}

/// `name:/path`, `name:/path:ro`; a host path is nobody's volume.
fn volume_parameter(entry: &Entry, driver: &str, findings: &mut Findings) -> Option<VolumeClaim> {
    let mut parts = entry.value.split(':');
    let (name, path, flags) = (parts.next()?, parts.next(), parts.next());
    if name.starts_with(['/', '.', '~']) && path.is_some() {
        return None;
    }
    let (Some(path), None) = (path, parts.next()) else {
        findings.mistake(&entry.place, format!("{} names no volume; write name:/path or name:/path:ro", shown(&entry.value)));
        return None;
    };
    let mut draft = Draft::new(Form::DockerParameters, entry.place.clone());
    draft.driver = Some(driver.to_owned());
    draft.container_path = Some(container_path(path.to_owned(), &entry.place, findings)?);
    draft.read_only = Some(flags.is_some_and(|flags| flags.split(',').any(|flag| flag == "ro")));
    draft.named((name, &entry.place), VolumeOptions::default(), AccessMode::SingleNodeWriter, findings)
}

#[cfg(test)]
mod tests {
    use hawser_volume::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_and_options_are_a_claim() {
        let options = pairs(["size=10", "volumetype=gp3", "parameter.note=a=b"]).unwrap();
        let reading = claim("pgdata", &options);
        assert_eq!(reading.findings, Findings::default());
        let named = reading.claims[0].named().unwrap().clone();
        assert_eq!((named.name.as_str(), named.size), ("pgdata", Some(Bytes::gib(10))));
        assert_eq!(named.parameters["note"], "a=b");
    }

    #[test]
    fn a_mount_by_name_alone_is_a_claim_for_what_exists() {
        let reading = claim("pgdata", &BTreeMap::new());
        assert_eq!(reading.findings.mistakes, []);
        assert!(!reading.claims[0].can_be_made());
    }

    #[test]
    fn a_door_gets_an_answer_or_an_error_that_names_the_option() {
        let (made, warnings) = claim("v", &pairs(["size=1", "overwritefs=true"]).unwrap()).into_result().unwrap();
        assert!(made.can_be_made() && warnings.len() == 1);
        let error = claim("v", &pairs(["size=0", "colour=red"]).unwrap()).into_result().unwrap_err().to_string();
        assert!(error.contains("Opts.size: ") && error.contains("Opts.colour: "), "{error}");
        assert!(pairs(["size"]).is_err() && pairs(["a=1", "a=2"]).is_err() && pairs(["a=1", "a=1"]).is_ok());
    }

    proptest! {
        #[test]
        fn any_name_and_options_are_read_or_told(name in any::<String>(), options in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)) {
            let reading = claim(&name, &options);
            prop_assert_eq!(reading.claims.is_empty(), !reading.findings.mistakes.is_empty());
            prop_assert!(reading.claims.iter().all(|claim| claim.named().unwrap().name.as_str() == name));
        }

        #[test]
        fn any_pairs_are_read_or_told(texts in prop::collection::vec(any::<String>(), 0..5)) {
            let _ = pairs(texts.iter().map(String::as_str));
        }
    }
}

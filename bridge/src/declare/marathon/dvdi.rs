//! Provider `dvdi`: a name for a Docker volume driver, with options (core/externalvolume/impl/providers/DVDIProvider.scala).

use hawser_volume::AccessMode;
use hawser_volume::error::shown;

use super::external::Engine;
use super::rules::Volume;
use crate::claim::VolumeClaim;
use crate::declare::docker::map_entries;
use crate::declare::draft::{Draft, driver_name};
use crate::declare::json::Object;
use crate::declare::options::{Carrier, Entry, VolumeOptions};
use crate::finding::{Findings, Place};

/// The prefix of options that are for a Docker volume driver.
const PREFIX: &str = "dvdi/";
const DRIVER: &str = "dvdi/driver";
const SIZE: &str = "size";

pub(super) fn read(
    mut draft: Draft,
    name: (&str, &Place),
    external: &Object<'_>,
    engine: Engine,
    told: &mut Volume,
    findings: &mut Findings,
) -> Option<VolumeClaim> {
    external.warn_of_others(&["name", "provider", "size", "options", "shared"], "Marathon", findings);
    if let Some(node) = external.get("shared") {
        told.shared = node.boolean(findings).unwrap_or_default();
    }
    let given = external.get("options").map(|node| map_entries(node, findings)).unwrap_or_default();
    draft.driver = driver(&given, external, findings);
    let size = external.get(SIZE).and_then(|node| Some((node.number(findings)?, node.place())));
    if let Engine::Docker { said } = engine {
        let default = if said { "" } else { " (the default when type is missing)" };
        for entry in given.iter().filter(|entry| entry.key != DRIVER) {
            findings.mistake(
                &entry.place,
                format!(
                    "is refused in a container of type DOCKER{default}: Docker hands no options on; only {DRIVER} may be there"
                ),
            );
        }
        if let Some((_, place)) = &size {
            findings.mistake(place, format!("is refused in a container of type DOCKER{default}: Docker hands no size on"));
        }
    } else if draft.read_only == Some(true) {
        findings.mistake(&draft.place, "is RO, and in containers of type MESOS Marathon takes dvdi volumes with mode RW only");
    }
    if draft.driver.as_deref() == Some("rexray") {
        rexray_rules(&given, findings);
    }
    let entries = driver_options(given, size, findings);
    let options = VolumeOptions::read(&entries, Carrier::DockerDriver, findings);
    // Marathon lets other apps name a shared volume, so they run wherever there is room; one writer would be no sharing.
    let mode = if told.shared { AccessMode::MultiNodeMultiWriter } else { AccessMode::SingleNodeWriter };
    told.mode = Some(options.access_mode.unwrap_or(mode));
    draft.named(name, options, mode, findings)
}

fn driver(given: &[Entry], external: &Object<'_>, findings: &mut Findings) -> Option<String> {
    let Some(entry) = given.iter().find(|entry| entry.key == DRIVER) else {
        let place = external.node.place().member("options").member(DRIVER);
        findings.mistake(&place, "is required: it names the Docker volume driver, as in \"hawser\"");
        return None;
    };
    if !is_label(&entry.value) {
        findings.mistake(&entry.place, format!("{} is no driver; Marathon takes [a-z0-9] with - between", shown(&entry.value)));
        return None;
    }
    driver_name(entry.value.clone(), &entry.place, findings)
}

/// `[a-z0-9](?:[-a-z0-9]*[a-z0-9])?` (state/Volume.scala, OptionLabelPatterns).
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && text.bytes().all(|b| inner(b) || b == b'-')
}

/// `<label>/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?` (the same place).
fn is_option_key(key: &str) -> bool {
    let Some((label, name)) = key.split_once('/') else { return false };
    let edge = |b: u8| b.is_ascii_alphanumeric();
    is_label(label)
        && name.bytes().next().is_some_and(edge)
        && name.bytes().last().is_some_and(edge)
        && name.bytes().all(|b| edge(b) || matches!(b, b'-' | b'.' | b'_' | b':'))
}

/// What Marathon itself checks when the driver is called rexray (VolumeOptions.validRexRayOptions); the keys are lower case there.
fn rexray_rules(given: &[Entry], findings: &mut Findings) {
    for entry in given {
        if matches!(entry.key.as_str(), "dvdi/volumetype" | "dvdi/newfstype") && !is_label(&entry.value) {
            let text = format!(
                "{} is refused by Marathon for the driver rexray, which takes [a-z0-9] with - between",
                shown(&entry.value)
            );
            findings.mistake(&entry.place, text);
        }
        let boolean = entry.value.eq_ignore_ascii_case("true") || entry.value.eq_ignore_ascii_case("false");
        if entry.key == "dvdi/overwritefs" && !boolean {
            findings.mistake(&entry.place, "must be true or false; Marathon takes nothing else for the driver rexray");
        }
    }
}

/// What reaches the driver: options that begin with `dvdi/`, without it and trimmed, but for the driver's name; `external.size` in
/// place of `dvdi/size` (Builders.dockerVolumeParameters).
fn driver_options(given: Vec<Entry>, size: Option<(&str, Place)>, findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    for entry in given {
        if !is_option_key(&entry.key) {
            findings.mistake(
                &entry.place,
                format!("{} is refused by Marathon; an option is written as {PREFIX}NAME", shown(&entry.key)),
            );
        } else if let Some(key) = entry.key.strip_prefix(PREFIX) {
            if key.eq_ignore_ascii_case("driver") {
                if key != "driver" {
                    findings.warn(&entry.place, format!("has no effect: Marathon drops it, and reads {DRIVER} only"));
                }
            } else if key == SIZE && size.is_some() {
                findings.warn(&entry.place, "has no effect: external.size is there, too");
            } else {
                entries.push(Entry { key: key.to_owned(), value: entry.value.trim().to_owned(), place: entry.place });
            }
        } else {
            findings.warn(&entry.place, format!("has no effect: Marathon hands on options that begin with {PREFIX} only"));
        }
    }
    if let Some((digits, place)) = size {
        entries.push(Entry { key: SIZE.to_owned(), value: digits.to_owned(), place });
    }
    entries
}

//! The profiles of disks, as the parameter `uri` of Mesos' URI disk profile adaptor names them (`disk_profile_utils.cpp`).

use super::message::{Reader, elements, member, object, text};
use super::provider::Provider;
use super::schema::PROFILES;
use crate::declare::json::{Node, Object};
use crate::finding::Findings;

/// One profile that fails its validation, and `parseDiskProfileMapping` is an error.
const READER: Reader = Reader { refused: "no profile of the file is used", protobuf: true };

/// The most that mount flags may have, in bytes (`validate`, disk_profile_utils.cpp).
const FLAGS_MAX: usize = 4096;

/// Checks the file. A selector is compared with `providers` when they are known.
pub(super) fn read(root: &Node<'_>, providers: Option<&[Provider]>, findings: &mut Findings) {
    let Some(file) = PROFILES.check(root, READER, findings) else { return };
    let matrix = member(&file, "profile_matrix").and_then(object);
    let profiles: Vec<(String, Object<'_>)> = matrix
        .iter()
        .flat_map(|matrix| matrix.members())
        .filter_map(|(name, node)| Some((name.to_owned(), object(node)?)))
        .collect();
    if profiles.is_empty() {
        findings.warn(&root.place().member("profile_matrix"), "has no profile, so that no storage pool is offered");
    }
    for (_, profile) in profiles {
        selector(&profile, providers, findings);
        capability(&profile, findings);
    }
}

fn selector(profile: &Object<'_>, providers: Option<&[Provider]>, findings: &mut Findings) {
    let by_name = member(profile, "resource_provider_selector");
    let by_type = member(profile, "csi_plugin_type_selector");
    let place = profile.node.place();
    match (by_name, by_type) {
        (None, None) => {
            findings.mistake(&place, format!("needs csi_plugin_type_selector or resource_provider_selector: {}", READER.refused))
        }
        (Some(_), Some(second)) => {
            findings.mistake(&second.place(), format!("is one selector too many: {}; keep one of the two", READER.refused))
        }
        (Some(by_name), None) => selected_by_name(by_name, providers, findings),
        (None, Some(by_type)) => {
            let kind = object(by_type).and_then(|selector| text(&selector, "plugin_type")).unwrap_or_default();
            if kind.is_empty() {
                let text = format!("is required: {}", READER.refused);
                findings.mistake(&by_type.place().member("plugin_type"), text);
            } else if providers.is_some_and(|providers| {
                !providers.iter().filter_map(|provider| provider.plugin.as_ref()).any(|plugin| plugin.kind == kind)
            }) {
                findings
                    .warn(&by_type.place(), "no provider of the directory has a plugin of this type, so the profile is for none");
            }
        }
    }
}

fn selected_by_name(node: &Node<'_>, providers: Option<&[Provider]>, findings: &mut Findings) {
    let selected: Vec<Object<'_>> = object(node)
        .iter()
        .flat_map(|selector| elements(selector, "resource_providers"))
        .filter_map(|node| object(&node))
        .collect();
    if selected.is_empty() {
        findings.mistake(&node.place().member("resource_providers"), "names no provider, so the profile is for none; name one");
    }
    for one in selected {
        let (kind, name) = (text(&one, "type").unwrap_or_default(), text(&one, "name").unwrap_or_default());
        for (key, value) in [("type", &kind), ("name", &name)] {
            if value.is_empty() {
                findings.mistake(&one.node.place().member(key), format!("is required: {}", READER.refused));
            }
        }
        let known = |providers: &[Provider]| providers.iter().any(|provider| provider.kind == kind && provider.name == name);
        if !kind.is_empty() && !name.is_empty() && providers.is_some_and(|providers| !known(providers)) {
            findings.warn(&one.node.place(), "no provider of the directory has this type and name");
        }
    }
}

fn capability(profile: &Object<'_>, findings: &mut Findings) {
    let place = profile.node.place().member("volume_capabilities");
    let Some(node) = member(profile, "volume_capabilities") else {
        return findings.mistake(&place, format!("is required, one capability in spite of its name: {}", READER.refused));
    };
    let Some(capability) = object(node) else { return };
    match (member(&capability, "block"), member(&capability, "mount")) {
        (Some(_), Some(mount)) => {
            findings.mistake(&mount.place(), format!("stands beside block, and one may: {}", READER.refused));
        }
        (None, None) => findings.mistake(
            &node.place(),
            // GetCapacity is called with it, and its failure is fatal at start-up (provider.cpp, `subscribed`).
            "needs mount or block: the plugin refuses to tell its capacity without, and the provider dies at its start",
        ),
        (None, Some(mount)) => {
            let flags = object(mount).map(|mount| elements(&mount, "mount_flags")).unwrap_or_default();
            let bytes: usize = flags.iter().filter_map(|flag| flag.text(&mut Findings::default())).map(|flag| flag.len()).sum();
            if bytes > FLAGS_MAX {
                let text = format!("have {bytes} bytes together, and may have {FLAGS_MAX}: {}", READER.refused);
                findings.mistake(&mount.place().member("mount_flags"), text);
            }
        }
        (Some(_), None) => {
            // `resource_provider/storage/provider.cpp` can make block disks; no containerizer can give one to a task.
            findings.warn(&node.place(), "makes block disks, which no task can use: Mesos only hands on mounted ones");
        }
    }
    let mode = member(&capability, "access_mode").and_then(object);
    if mode.is_none_or(|mode| member(&mode, "mode").is_none()) {
        findings.mistake(&node.place().member("access_mode").member("mode"), format!("is required: {}", READER.refused));
    }
}

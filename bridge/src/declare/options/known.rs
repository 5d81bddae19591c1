//! Every option by name: the table behind the reader, its error messages and docs/declarations.md.

use hawser_volume::{Filesystem, MountAccess, ObjectName};

use super::VolumeOptions;
use super::value::{boolean, flags, group, positive, size, text};
use crate::claim::{ContentSource, ForeignId};

/// What an option is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What the bridge may do.
    Policy,
    /// How the volume is made.
    Make,
    /// How it is used; a volume capability says the same.
    Use,
}

/// An option.
pub(super) struct Known {
    /// Its name in Hawser's documentation.
    pub name: &'static str,
    /// What else it is called, by REX-Ray and others.
    pub synonyms: &'static [&'static str],
    pub role: Role,
    /// Takes the value, which is not empty; gives a warning, or says what is wrong.
    pub set: fn(&mut VolumeOptions, &str) -> Result<Option<String>, String>,
}

impl Known {
    /// The option that is called `key`, in any case.
    pub fn of(key: &str) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.names().any(|name| name.eq_ignore_ascii_case(key)))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.synonyms.iter().copied())
    }
}

/// Every name of every option, synonyms included.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().flat_map(Known::names)
}

/// Options of REX-Ray and libStorage that have no meaning here, and what to write instead.
pub(super) const RETIRED: [(&str, &str); 3] = [
    ("opts", "is the field of libStorage's requests that holds options; write each of them as an option of its own"),
    (
        "preempt",
        "is REX-Ray's name for taking a volume from another node, dead or alive; say with takeover what must be known first",
    ),
    ("force", "is not done: a volume is taken from another node by the rules of takeover alone"),
];

/// An option that becomes a parameter of CreateVolume, after its value was checked.
macro_rules! parameter {
    ($name:literal, $synonyms:expr, $check:ident) => {
        parameter!($name, $synonyms, $check, $name)
    };
    ($name:literal, $synonyms:expr, $check:ident, $parameter:literal) => {
        Known {
            name: $name,
            synonyms: &$synonyms,
            role: Role::Make,
            set: |options, given| {
                options.parameters.insert($parameter.to_owned(), $check(given)?);
                Ok(None)
            },
        }
    };
}

/// An option that has a field of its own, read by the field's type.
macro_rules! field {
    ($name:literal, $synonyms:expr, $role:ident, $field:ident) => {
        Known {
            name: $name,
            synonyms: &$synonyms,
            role: Role::$role,
            set: |options, given| {
                options.$field = Some(given.parse().map_err(|error: hawser_volume::Error| error.to_string())?);
                Ok(None)
            },
        }
    };
}

/// An option that says what a new volume is a copy of.
macro_rules! source {
    ($name:literal, $variant:ident, $type:ty) => {
        Known {
            name: $name,
            synonyms: &[],
            role: Role::Make,
            set: |options, given| {
                let id: $type = given.parse().map_err(|error: hawser_volume::Error| error.to_string())?;
                options.source = Some(ContentSource::$variant(id));
                Ok(None)
            },
        }
    };
}

/// The options. The documentation has a row for each, which a test checks.
pub(super) const KNOWN: &[Known] = &[
    field!("backend", [], Policy, backend),
    field!("create", [], Policy, create),
    field!("takeover", [], Policy, takeover),
    field!("retain", [], Policy, retain),
    Known {
        name: "size",
        synonyms: &[],
        role: Role::Make,
        set: |options, given| {
            let (bytes, warning) = size(given)?;
            options.size = Some(bytes);
            Ok(warning)
        },
    },
    Known {
        name: "fsType",
        synonyms: &["newFsType", "fs"],
        role: Role::Make,
        set: |options, given| {
            options.filesystem = Some(given.parse::<Filesystem>().map_err(|error| error.to_string())?);
            Ok(None)
        },
    },
    Known {
        name: "overwriteFs",
        synonyms: &[],
        role: Role::Make,
        // REX-Ray heeds it in its command line only; what comes through Docker's API is forgotten at the mount (libstorage,
        // integration/linux: Mount has options of its own). Apps carry it because the examples did, so it is no mistake.
        set: |_, given| {
            let wanted = boolean(given)? == "true";
            Ok(wanted.then(|| {
                "is ignored: Hawser never formats a device that has data on it, only one that is proved blank".to_owned()
            }))
        },
    },
    parameter!("type", ["volumeType"], text),
    parameter!("iops", [], positive),
    parameter!("throughput", [], positive),
    parameter!("encrypted", [], boolean),
    parameter!("encryptionKey", ["kmsKeyId"], text, "kmsKeyId"),
    parameter!("availabilityZone", ["zone"], text),
    parameter!("provisioning", [], text),
    source!("snapshotID", SnapshotId, ForeignId),
    source!("snapshotName", SnapshotName, ObjectName),
    source!("volumeID", VolumeId, ForeignId),
    source!("volumeName", VolumeName, ObjectName),
    parameter!("blockSize", [], positive),
    parameter!("inodeSize", [], positive),
    parameter!("bytesPerInode", [], positive),
    parameter!("numberOfInodes", [], positive),
    parameter!("ext4BigAlloc", [], boolean),
    parameter!("ext4ClusterSize", [], positive),
    field!("accessMode", [], Use, access_mode),
    Known {
        name: "mountFlags",
        synonyms: &["mountOptions"],
        role: Role::Use,
        set: |options, given| {
            let group = options.mount.group;
            options.mount = MountAccess { group, ..flags(given)? };
            Ok(None)
        },
    },
    Known {
        name: "mountGroup",
        synonyms: &["gid"],
        role: Role::Use,
        set: |options, given| {
            options.mount.group = Some(group(given)?);
            Ok(None)
        },
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hawser_volume::mkfs;

    use super::*;

    #[test]
    fn no_name_means_two_things() {
        let mut seen = BTreeSet::new();
        for name in names().chain(RETIRED.iter().map(|(name, _)| *name)) {
            assert!(seen.insert(name.to_ascii_lowercase()), "{name} is there twice");
        }
    }

    #[test]
    fn every_parameter_of_mkfs_is_an_option() {
        for key in mkfs::KEYS {
            assert!(Known::of(key).is_some(), "{key}");
        }
    }

    #[test]
    fn every_option_has_its_row_in_the_documentation() {
        let documentation = include_str!("../../../../docs/declarations.md");
        let table = documentation.split_once("## Options").unwrap().1;
        for known in KNOWN {
            let row = table.lines().find(|line| line.starts_with(&format!("| `{}`", known.name)));
            let row = row.unwrap_or_else(|| panic!("docs/declarations.md has no row for {}", known.name));
            for synonym in known.synonyms {
                assert!(row.contains(&format!("`{synonym}`")), "the row of {} does not name {synonym}", known.name);
            }
        }
        for line in table.lines().filter(|line| line.starts_with("| `")) {
            let name = line.trim_start_matches("| `").split('`').next().unwrap();
            assert!(
                name.starts_with("parameter.") || Known::of(name).is_some(),
                "docs/declarations.md has {name}, which is no option"
            );
        }
    }
}

//! The one reader of option maps: Docker's `--opt`, `dvdi/…`, driver options, DVDI_VOLUME_OPTS, volume contexts.
//!
//! REX-Ray compares the names of options without regard to case (libstorage, `api/utils/utils_store.go`) and users write them in
//! any, so this reader does too. It tells every mistake, not only the first, and for a name that it does not know the nearest one
//! that it does: a dropped `overwritefs` is harmless, a dropped `size` makes a volume of another size.

mod known;
mod value;

use std::collections::BTreeMap;

use hawser_volume::error::shown;
use hawser_volume::{AccessMode, BackendName, Bytes, Filesystem, MkfsParameters, MountAccess, mkfs, parameters};

use super::nearest::nearest;
use crate::claim::ContentSource;
use crate::finding::{Findings, Place};
use crate::policy::{Create, Retain, Takeover};

pub use known::names;

use known::{KNOWN, Known, RETIRED, Role};

/// The prefix of an option that is handed to CreateVolume as it is, for drivers whose parameters Hawser does not know.
const VERBATIM: &str = "parameter.";

/// One option, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub value: String,
    pub place: Place,
}

/// Who carries the options: what can be said elsewhere as well must not be said twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A Docker volume driver: the options are all that is said.
    DockerDriver,
    /// A volume context: a volume capability stands beside it.
    VolumeContext,
}

/// What options can say; docs/declarations.md has a row for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeOptions {
    /// `backend`.
    pub backend: Option<BackendName>,
    /// `create`.
    pub create: Option<Create>,
    /// `takeover`.
    pub takeover: Option<Takeover>,
    /// `retain`.
    pub retain: Option<Retain>,
    /// `size`.
    pub size: Option<Bytes>,
    /// `fsType`, `newFsType`.
    pub filesystem: Option<Filesystem>,
    /// `accessMode`.
    pub access_mode: Option<AccessMode>,
    /// `mountFlags` and `mountGroup`; the filesystem is in its own field.
    pub mount: MountAccess,
    /// `snapshotID`, `snapshotName`, `volumeID` or `volumeName`.
    pub source: Option<ContentSource>,
    /// Everything that CreateVolume is told: `type`, `iops`, the parameters of mkfs, `parameter.…`.
    pub parameters: BTreeMap<String, String>,
}

impl VolumeOptions {
    /// Reads `entries`; what is wrong is in `findings`, and then the result is not to be used.
    pub(crate) fn read(entries: &[Entry], carrier: Carrier, findings: &mut Findings) -> Self {
        let mut options = Self::default();
        let mut given: BTreeMap<&'static str, &Entry> = BTreeMap::new();
        let (known, others): (Vec<_>, Vec<_>) =
            entries.iter().map(|entry| (Known::of(&entry.key), entry)).partition(|(known, _)| known.is_some());
        for (known, entry) in known.into_iter().filter_map(|(known, entry)| Some((known?, entry))) {
            if let Some(first) = given.insert(known.name, entry) {
                if first.value != entry.value {
                    findings.mistake(&entry.place, format!("says other than {}; they are the same option", shown(&first.key)));
                }
                continue;
            }
            if carrier == Carrier::VolumeContext && known.role == Role::Use {
                findings.mistake(&entry.place, "is said in the volume's capability; remove it here");
                continue;
            }
            if entry.value.trim().is_empty() {
                findings.mistake(&entry.place, "is empty; give a value or leave the option out");
                continue;
            }
            match (known.set)(&mut options, entry.value.trim()) {
                Ok(None) => {}
                Ok(Some(warning)) => findings.warn(&entry.place, warning),
                Err(mistake) => findings.mistake(&entry.place, mistake),
            }
        }
        others.into_iter().for_each(|(_, entry)| options.take_other(entry, findings));
        options.check_together(entries, &given, findings);
        options
    }

    /// Takes an option that has no name of its own. The named ones have been read, so a parameter that one of them sets is seen.
    fn take_other(&mut self, entry: &Entry, findings: &mut Findings) {
        let prefix = entry.key.get(..VERBATIM.len()).filter(|prefix| prefix.eq_ignore_ascii_case(VERBATIM));
        if let Some(name) = prefix.and_then(|prefix| entry.key.get(prefix.len()..)).filter(|name| !name.is_empty()) {
            let taken = self.parameters.keys().any(|other| other.eq_ignore_ascii_case(name));
            if taken || (name.eq_ignore_ascii_case("backend") && self.backend.is_some()) {
                findings.mistake(&entry.place, format!("gives the parameter {} twice", shown(name)));
            } else {
                self.parameters.insert(name.to_owned(), entry.value.clone());
            }
            return;
        }
        if let Some((_, instead)) = RETIRED.iter().find(|(name, _)| name.eq_ignore_ascii_case(&entry.key)) {
            findings.mistake(&entry.place, *instead);
            return;
        }
        let hint = match nearest(&entry.key, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the options are {}; write {VERBATIM}NAME to hand NAME to CreateVolume as it is", list()),
        };
        findings.mistake(&entry.place, format!("is not an option: {hint}"));
    }

    /// What can be judged only when everything has been read.
    fn check_together(&mut self, entries: &[Entry], given: &BTreeMap<&'static str, &Entry>, findings: &mut Findings) {
        let sources: Vec<_> =
            ["snapshotID", "snapshotName", "volumeID", "volumeName"].into_iter().filter_map(|name| given.get(name)).collect();
        if let [_, second, ..] = sources.as_slice() {
            findings.mistake(&second.place, "a volume can be made from one snapshot or one volume only");
        }
        if let Some(entry) = mkfs::KEYS.iter().find_map(|key| given.get(key)) {
            let mut wishes = self.parameters.clone();
            wishes.retain(|key, _| mkfs::KEYS.contains(&key.as_str()));
            let arguments = MkfsParameters::take_from("options", &mut wishes)
                .and_then(|(wishes, _)| wishes.arguments(self.filesystem.unwrap_or_default()));
            findings.check(&entry.place, arguments);
        }
        check_map("the options", entries, &self.parameters, findings);
    }
}

/// The limits of CSI for a map; a mistake is told at the entry that has the most of it. Says whether the map is within them.
pub(crate) fn check_map(what: &str, entries: &[Entry], map: &BTreeMap<String, String>, findings: &mut Findings) -> bool {
    let bad = |entry: &&Entry| entry.key.chars().chain(entry.value.chars()).any(char::is_control);
    let worst = entries.iter().find(bad).or_else(|| entries.iter().max_by_key(|entry| entry.key.len() + entry.value.len()));
    let checked = parameters::check_map(what, map);
    worst.is_none_or(|entry| findings.check(&entry.place, checked).is_some())
}

fn list() -> String {
    KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            place: Place::named("Opts").member(key),
        };
        pairs.iter().map(entry).collect()
    }

    fn read(pairs: &[(&str, &str)]) -> (VolumeOptions, Findings) {
        let mut findings = Findings::default();
        (VolumeOptions::read(&entries(pairs), Carrier::DockerDriver, &mut findings), findings)
    }

    #[test]
    fn everything_that_rexray_understood_is_understood_in_any_case() {
        let (options, findings) = read(&[
            ("SIZE", "5"),
            ("IOPS", "150"),
            ("VolumeType", "io1"),
            ("newfstype", "XFS"),
            ("overwriteFS", "false"),
            ("availabilityzone", "eu-west-1a"),
            ("Encrypted", "1"),
            ("encryptionkey", "arn:aws:kms:k"),
            ("snapshotid", "ebs:snap-1"),
        ]);
        assert_eq!(findings, Findings::default());
        assert_eq!(options.size, Some(Bytes::gib(5)));
        assert_eq!(options.filesystem, Some(Filesystem::Xfs));
        assert_eq!(options.source, Some(ContentSource::SnapshotId("ebs:snap-1".parse().unwrap())));
        let parameters: Vec<_> = options.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            parameters,
            ["availabilityZone=eu-west-1a", "encrypted=true", "iops=150", "kmsKeyId=arn:aws:kms:k", "type=io1"]
        );
    }

    #[test]
    fn policies_and_use_are_read() {
        let (options, findings) = read(&[
            ("backend", "ebs-eu"),
            ("create", "never"),
            ("takeover", "unreachable-after-10m"),
            ("retain", "delete-with-task"),
            ("accessMode", "multi_node_multi_writer"),
            ("mountOptions", "noatime,nodev"),
            ("mountGroup", "2000"),
            ("parameter.csi.other/Tier", "Gold"),
        ]);
        assert_eq!(findings.mistakes, []);
        assert_eq!(options.backend.unwrap().as_str(), "ebs-eu");
        assert_eq!((options.create, options.retain), (Some(Create::Never), Some(Retain::DeleteWithTask)));
        assert_eq!(options.takeover, Some(Takeover::UnreachableAfter(Duration::from_secs(600))));
        assert_eq!(options.access_mode, Some(AccessMode::MultiNodeMultiWriter));
        assert_eq!((options.mount.flags, options.mount.group), (vec!["noatime".to_owned(), "nodev".to_owned()], Some(2000)));
        assert_eq!(options.parameters, BTreeMap::from([("csi.other/Tier".to_owned(), "Gold".to_owned())]));
    }

    #[test]
    fn every_mistake_is_told_at_its_place() {
        for (key, value, said) in [
            ("sise", "5", "did you mean size?"),
            ("volumetypes", "gp3", "did you mean volumeType?"),
            ("colour", "red", "the options are backend, "),
            ("opts", "size=5", "write each"),
            ("preempt", "true", "takeover"),
            ("iops", "many", "a whole number"),
            ("iops", "0", "at least 1"),
            ("newFsType", "ntfs", "ext4, xfs or btrfs"),
            ("encrypted", "perhaps", "true or false"),
            ("type", "  ", "is empty"),
            ("type", "a\nb", "control characters"),
            ("create", "maybe", "if-absent or never"),
            ("backend", "../x", "backend name"),
            ("blockSize", "1000", "power of two"),
            ("parameter.", "x", "is not an option"),
            ("parameter.tier", "a\u{7}b", "control characters"),
            ("mountFlags", "secret=\u{7}", "control characters"),
        ] {
            let (_, findings) = read(&[(key, value)]);
            let [mistake] = findings.mistakes.as_slice() else { panic!("{key}={value}: {findings:?}") };
            assert!(mistake.text.contains(said), "{key}={value}: {mistake}");
            assert_eq!(mistake.place, Place::named("Opts").member(key));
        }
        let (_, findings) = read(&[("sise", "1"), ("iops", "x"), ("backend", "")]);
        assert_eq!(findings.mistakes.len(), 3, "all at once: {findings:?}");
    }

    #[test]
    fn the_value_of_a_mount_flag_is_never_repeated() {
        let (_, findings) = read(&[("mountFlags", "password=hunter2\u{7}")]);
        assert!(!format!("{findings:?}").contains("hunter2"));
    }

    #[test]
    fn synonyms_may_agree_and_must_not_contradict() {
        assert_eq!(read(&[("type", "gp3"), ("volumeType", "gp3")]).1.mistakes, []);
        let (_, findings) = read(&[("type", "gp3"), ("VOLUMETYPE", "io2")]);
        assert!(findings.mistakes[0].text.contains("says other than \"type\""), "{findings:?}");
        assert_eq!(read(&[("snapshotID", "a"), ("volumeID", "b")]).1.mistakes.len(), 1);
        for pair in [("iops", "100"), ("backend", "a")] {
            assert_eq!(read(&[(&format!("parameter.{}", pair.0), "7"), pair]).1.mistakes.len(), 1, "{pair:?}");
        }
        // mkfs.xfs has no clusters.
        assert_eq!(read(&[("fsType", "xfs"), ("bytesPerInode", "8192")]).1.mistakes.len(), 1);
    }

    #[test]
    fn overwriting_a_filesystem_is_ignored_with_a_word() {
        let (options, findings) = read(&[("overwritefs", "true"), ("size", "1")]);
        assert_eq!(findings.mistakes, []);
        assert!(findings.warnings[0].text.contains("never formats"), "{findings:?}");
        assert_eq!(options.parameters, BTreeMap::new());
    }

    #[test]
    fn what_a_capability_says_is_not_said_in_a_context() {
        let mut findings = Findings::default();
        let options = [("accessMode", "SINGLE_NODE_WRITER"), ("mountFlags", "ro"), ("size", "1GiB"), ("fsType", "xfs")];
        VolumeOptions::read(&entries(&options), Carrier::VolumeContext, &mut findings);
        assert_eq!(findings.mistakes.len(), 2, "{findings:?}");
    }

    proptest! {
        #[test]
        fn any_options_are_read_or_told(
            pairs in prop::collection::vec((prop_oneof![prop::sample::select(names().collect::<Vec<_>>()).prop_map(str::to_owned), any::<String>()], any::<String>()), 0..6)
        ) {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let (options, findings) = read(&pairs);
            for finding in findings.mistakes.iter().chain(&findings.warnings) {
                prop_assert!(finding.place.path.starts_with("Opts"), "{}", finding);
            }
            // Nothing but what was given: each parameter has a value that stands in the options.
            for (key, value) in &options.parameters {
                let said = |(_, given): &(&str, &str)| *value == *given || value == given.trim() || matches!(value.as_str(), "true" | "false");
                prop_assert!(pairs.iter().any(said), "{key}={value}");
            }
            prop_assert!(options.size.is_none() || pairs.iter().any(|(key, _)| key.eq_ignore_ascii_case("size")));
        }
    }
}

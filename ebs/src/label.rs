//! What Hawser writes on volumes and snapshots, and what others may.
//!
//! | tag | on | what it says |
//! |---|---|---|
//! | `hawser.dev/volume` | volumes | cluster and digest of the name: by it a volume is found |
//! | `hawser.dev/snapshot` | snapshots | the same for snapshots |
//! | `hawser.dev/asked` | volumes | a digest of what was asked for besides the size, or `adopted` |
//! | `hawser.dev/source` | volumes | what it was made from: `snapshot/…` or `volume/…` |
//! | `hawser.dev/copying` | snapshots | cut to make the volume of this `hawser.dev/volume`, and removed afterwards |
//! | `hawser.dev/iops-per-gib` | volumes | keep the operations in this proportion when it grows |
//! | `context.hawser.dev/…` | volumes | what the node is told |
//! | `CSIVolumeName`, `CSIVolumeSnapshotName`, `ebs.csi.aws.com/cluster` | both | what policies made for aws-ebs-csi-driver ask for |
//! | `Name` | both | what AWS' console shows, unless the user's tags say otherwise |

use std::collections::BTreeMap;

use hawser_volume::error::shown;
use hawser_volume::{Error, ObjectName, Result};

/// By which a volume is found.
pub const VOLUME: &str = "hawser.dev/volume";

/// By which a snapshot is found.
pub const SNAPSHOT: &str = "hawser.dev/snapshot";

/// Digest of what was asked for.
pub const ASKED: &str = "hawser.dev/asked";

/// In the place of that digest on a volume that something else made: nothing was asked for, so it fits whatever is.
pub const ADOPTED: &str = "adopted";

/// What a volume was made from.
pub const SOURCE: &str = "hawser.dev/source";

/// The volume that a snapshot was cut for.
pub const COPYING: &str = "hawser.dev/copying";

/// Operations a second for each GiB, whatever the size.
pub const IOPS_PER_GIB: &str = "hawser.dev/iops-per-gib";

/// Before the keys of a volume's context.
pub const CONTEXT: &str = "context.hawser.dev/";

/// What aws-ebs-csi-driver writes on all that is its own, and policies made for it ask for.
pub const MANAGED: (&str, &str) = ("ebs.csi.aws.com/cluster", "true");

/// Under which policies made for aws-ebs-csi-driver look for a volume's name.
pub const VOLUME_NAME: &str = "CSIVolumeName";

/// The same for a snapshot's.
pub const SNAPSHOT_NAME: &str = "CSIVolumeSnapshotName";

/// What AWS' console shows.
pub const NAME: &str = "Name";

/// Most tags of an object ("Tag restrictions" of EC2).
pub const TAGS_MAX: usize = 50;

/// Longest key and value, in characters.
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

/// The value of [`VOLUME`] or [`SNAPSHOT`] for a name. A digest, as EC2 takes fewer characters than CSI, and filters have patterns.
pub fn named(cluster: &str, name: &ObjectName) -> String {
    format!("{cluster}/{}", name.digest())
}

/// A pattern for the values that [`named`] gives in `cluster`.
pub fn any_of(cluster: &str) -> String {
    format!("{cluster}/*")
}

/// Refuses a tag that EC2 would refuse, or that is not the user's to write.
pub fn check(key: &str, value: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::invalid(format!("tag {} {why}", shown(key))));
    let lower = key.to_ascii_lowercase();
    let reserved = ["aws:", "hawser.dev/", CONTEXT, "kubernetes.io/cluster/"].iter().any(|prefix| lower.starts_with(prefix));
    if key.is_empty() || key.chars().count() > KEY_MAX {
        return wrong("must have a key of 1 to 128 characters");
    }
    if reserved || [MANAGED.0, VOLUME_NAME, SNAPSHOT_NAME].iter().any(|own| own.eq_ignore_ascii_case(key)) {
        return wrong("is reserved");
    }
    if value.chars().count() > VALUE_MAX {
        return wrong("has a value of more than 256 characters");
    }
    if key.chars().chain(value.chars()).any(char::is_control) {
        return wrong("has control characters");
    }
    Ok(())
}

/// The entries of a volume's context.
pub fn context(tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    tags.iter().filter_map(|(key, value)| Some((key.strip_prefix(CONTEXT)?.to_owned(), value.clone()))).collect()
}

/// Refuses more tags than an object can have.
pub fn count(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() <= TAGS_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!("{} tags, Hawser's own among them; EC2 allows {TAGS_MAX}: leave some out", tags.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_users_can_be_written() {
        for (key, value) in [("team", "db"), ("Name", "x"), ("kubernetes.io/created-for/pvc/name", "a"), ("ü", "")] {
            check(key, value).unwrap();
        }
        let long = "x".repeat(257);
        for (key, value) in [
            ("", "a"),
            ("aws:x", "a"),
            ("AWS:x", "a"),
            ("hawser.dev/volume", "a"),
            ("context.hawser.dev/name", "a"),
            ("csivolumename", "a"),
            ("ebs.csi.aws.com/cluster", "true"),
            ("a", long.as_str()),
            ("a", "b\nc"),
        ] {
            assert!(check(key, value).is_err(), "{key}");
        }
    }
}

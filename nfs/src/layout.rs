//! Where things are below the export, and whose a path is.

use std::path::{Path, PathBuf};

use hawser_volume::id::digest;
use hawser_volume::{NativeId, ObjectName};
use uuid::Uuid;

/// The directory, directly below the export, that is Hawser's own.
pub(crate) const HIDDEN: &str = ".hawser";

/// Directories in it.
pub(crate) const VOLUMES: &str = "volumes";
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const CLAIMS: &str = "claims";
pub(crate) const NODES: &str = "nodes";
pub(crate) const NEW: &str = "new";
pub(crate) const TRASH: &str = "trash";
pub(crate) const PROJECTS: &str = "projects";
pub(crate) const ALL: [&str; 7] = [VOLUMES, SNAPSHOTS, CLAIMS, NODES, NEW, TRASH, PROJECTS];

/// The file that says what the tree is.
pub(crate) const EXPORT: &str = "export.json";

/// The file by which the server's clock is read.
pub(crate) const CLOCK: &str = "clock";

/// Where files are that are being copied, in the directory of an object.
pub(crate) const ASIDE: &str = "aside";

/// The file that whoever copies touches, in the directory of an object.
pub(crate) const BEAT: &str = "beat";

/// Directories, directly below the export, for what is kept of deleted volumes.
pub(crate) const RETAINED: &str = "retained";
pub(crate) const ARCHIVED: &str = "archived";

/// The incarnation of a volume whose id is not ours.
const GIVEN: &str = "00000000";

/// Where a volume is kept. The id of a static volume, one of a directory that was there before, is the choice of whoever declared it;
/// its digest is one that no name has, as names have no control characters.
pub(crate) fn volume(id: &str) -> NativeId {
    NativeId::parse(id).unwrap_or_else(|| NativeId { digest: digest(&format!("\u{1}{id}")), incarnation: GIVEN.to_owned() })
}

/// A name in the trash for the object `id`, which is kept at `native`. One whose id was chosen may have been there before.
pub(crate) fn trashed(id: &str, native: NativeId) -> String {
    if id == native.to_string() {
        return native.to_string();
    }
    let random = Uuid::new_v4().simple().to_string();
    NativeId { incarnation: random[..GIVEN.len()].to_owned(), ..native }.to_string()
}

/// Whether `name` is one that [`trashed`] gives to the object `id`.
pub(crate) fn is_trashed(name: &str, id: &str) -> bool {
    name == id || NativeId::parse(id).is_none() && NativeId::parse(name).is_some_and(|name| name.digest == volume(id).digest)
}

/// The name of an object's content in its directory.
pub(crate) fn data(id: &NativeId) -> String {
    format!("data-{}", id.incarnation)
}

/// The content of a volume without a place of its own, relative to the export.
pub(crate) fn content(id: &NativeId) -> PathBuf {
    [HIDDEN, VOLUMES, &id.digest, &data(id)].iter().collect()
}

/// The claim of a path below the export.
pub(crate) fn claim(path: &Path) -> String {
    digest(&path.display().to_string())
}

/// A name for what is kept of a deleted volume: the volume's own where it is harmless, and the incarnation.
pub(crate) fn kept(name: &ObjectName, id: &NativeId) -> String {
    let text = name.as_str();
    let harmless = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) && !text.starts_with('.');
    let text = if harmless { text } else { &id.digest };
    format!("{text}-{}", id.incarnation)
}

/// What a path below the export shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The content of the volume with this id, which the path itself tells.
    Volume(NativeId),
    /// A directory that may be a volume's place; only its record tells.
    Place(PathBuf),
}

/// What is at `path`, relative to the export, or nothing if it can be no volume.
pub(crate) fn shown(path: &Path) -> Option<Shown> {
    let mut parts = path.iter();
    if parts.clone().next()? != HIDDEN {
        return Some(Shown::Place(path.to_owned()));
    }
    parts.next();
    let (shelf, digest, data) = (parts.next()?, parts.next()?.to_str()?, parts.next()?.to_str()?);
    if shelf != VOLUMES || parts.next().is_some() {
        return None;
    }
    let incarnation = data.strip_prefix("data-")?;
    NativeId::parse(&format!("{digest}-{incarnation}")).map(Shown::Volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_its_volume() {
        let id = NativeId::parse("0123456789abcdef0123456789abcdef-01234567").unwrap();
        assert_eq!(shown(&content(&id)), Some(Shown::Volume(id.clone())));
        assert_eq!(shown(Path::new("teams/a")), Some(Shown::Place("teams/a".into())));
        for other in ["", ".hawser", ".hawser/volumes", ".hawser/trash/x/data-01234567", ".hawser/volumes/x/data-1/y"] {
            assert_eq!(shown(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_static_volume_has_a_place_that_no_name_leads_to() {
        let given = volume("web");
        assert_eq!(volume("web"), given);
        for other in ["web2", "Web", "0123456789abcdef0123456789abcdef-01234567"] {
            assert_ne!(volume(other).digest, given.digest, "{other}");
        }
        assert_ne!("web".parse::<ObjectName>().unwrap().digest(), given.digest);
    }

    #[test]
    fn what_is_kept_has_a_harmless_name() {
        let id = NativeId::parse("0123456789abcdef0123456789abcdef-01234567").unwrap();
        let kept = |name: &str| kept(&name.parse().unwrap(), &id);
        assert_eq!(kept("pvc-1"), "pvc-1-01234567");
        for name in ["../x", "a/b", ".hidden", "ä"] {
            assert_eq!(kept(name), id.to_string(), "{name}");
        }
    }
}

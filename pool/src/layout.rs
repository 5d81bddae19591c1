//! Where things are below the root, and the shape of native ids.

use std::path::{Path, PathBuf};

use hawser_volume::{Error, ObjectName, Result};
use uuid::Uuid;

/// File names inside an object's directory.
pub(crate) const RECORD: &str = "record.json";
pub(crate) const LOCK: &str = "lock";
pub(crate) const IMAGE: &str = "image";
pub(crate) const DATA: &str = "data";

/// The four kinds of things that have a directory each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    Volumes,
    Snapshots,
    Groups,
}

impl Shelf {
    pub(crate) const ALL: [Shelf; 3] = [Shelf::Volumes, Shelf::Snapshots, Shelf::Groups];

    pub(crate) fn folder(self) -> &'static str {
        match self {
            Shelf::Volumes => "volumes",
            Shelf::Snapshots => "snapshots",
            Shelf::Groups => "groups",
        }
    }

    /// What one object is called in messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Shelf::Volumes => "volume",
            Shelf::Snapshots => "snapshot",
            Shelf::Groups => "group snapshot",
        }
    }
}

/// The paths below a root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn pool_record(&self) -> PathBuf {
        self.root.join("pool.json")
    }

    pub(crate) fn shelf(&self, shelf: Shelf) -> PathBuf {
        self.root.join(shelf.folder())
    }

    pub(crate) fn object(&self, shelf: Shelf, digest: &str) -> PathBuf {
        self.shelf(shelf).join(digest)
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    pub(crate) fn new_objects(&self) -> PathBuf {
        self.root.join("new")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// The native id of the volume whose image or data directory is, or once was, at `path`; objects in the trash keep their
    /// id as the name of their directory so that a device that is still bound to one can be told.
    pub(crate) fn volume_of(&self, path: &Path) -> Option<ObjectPath> {
        let mut parts = path.strip_prefix(&self.root).ok()?.iter();
        let folder = parts.next()?.to_str()?;
        let name = parts.next()?.to_str()?;
        let leaf = parts.next()?;
        if (leaf != IMAGE && leaf != DATA) || parts.next().is_some() {
            return None;
        }
        match folder {
            "volumes" => Some(ObjectPath::Current(name.to_owned())),
            "trash" => NativeId::parse(name).map(ObjectPath::Trashed),
            _ => None,
        }
    }
}

/// What a path of the kernel's says about a volume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ObjectPath {
    /// The volume that stands under this digest now.
    Current(String),
    /// A removed volume.
    Trashed(NativeId),
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether an object's directory can have this name.
pub(crate) fn is_digest(text: &str) -> bool {
    is_hex(text, 32)
}

/// Whether the object called `id` is, or was, in the folder called `digest`.
pub(crate) fn is_of_name(id: &str, digest: &str) -> bool {
    id.strip_prefix(digest).is_some_and(|rest| rest.starts_with('-'))
}

/// `<digest>-<incarnation>`: 32 and 8 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NativeId {
    pub(crate) digest: String,
    pub(crate) incarnation: String,
}

impl NativeId {
    /// The id of a new object called `name`.
    pub(crate) fn fresh(name: &ObjectName) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Self { digest: name.digest(), incarnation: random[..8].to_owned() }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (digest, incarnation) = text.split_once('-')?;
        (is_digest(digest) && is_hex(incarnation, 8))
            .then(|| Self { digest: digest.to_owned(), incarnation: incarnation.to_owned() })
    }

    /// Reads an id that a caller sent; one that this pool cannot have given names nothing.
    pub(crate) fn of(shelf: Shelf, text: &str) -> Result<Self> {
        Self::parse(text).ok_or_else(|| Error::not_found(format!("{} {text} does not exist", shelf.noun())))
    }
}

impl std::fmt::Display for NativeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.digest, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_image_path_names_its_volume() {
        let layout = Layout::new("/pool".into());
        let digest = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            layout.volume_of(Path::new(&format!("/pool/volumes/{digest}/image"))),
            Some(ObjectPath::Current(digest.into()))
        );
        let trashed = format!("/pool/trash/{digest}-01234567/image");
        assert!(matches!(layout.volume_of(Path::new(&trashed)), Some(ObjectPath::Trashed(id)) if id.incarnation == "01234567"));
        for other in ["/pool/snapshots/x/image", "/other/volumes/x/image", "/pool/volumes/x", "/pool/volumes/x/image/y"] {
            assert_eq!(layout.volume_of(Path::new(other)), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_native_id_or_not_found(text in any::<String>()) {
            match NativeId::of(Shelf::Volumes, &text) {
                Ok(id) => prop_assert_eq!(id.to_string(), text),
                Err(error) => prop_assert_eq!(error.kind(), hawser_volume::Kind::NotFound),
            }
        }
    }
}

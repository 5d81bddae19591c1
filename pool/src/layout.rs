//! Where things are below the root, and the shape of native ids.

use std::path::{Path, PathBuf};

use hawser_volume::NativeId;

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

/// Whether the object called `id` is, or was, in the folder called `digest`.
pub(crate) fn is_of_name(id: &str, digest: &str) -> bool {
    id.strip_prefix(digest).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
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
}

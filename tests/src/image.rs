//! The image that containers are made of where there is no registry: busybox alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::kernel::run;

/// Debian's package busybox-static brings it; another one may need libraries, which are not in the image.
const BUSYBOX: &str = "/bin/busybox";

/// The name of the image.
pub const NAME: &str = "localhost/busybox";

/// The archive of the root filesystem, made below `directory`; `import` makes an image of it.
pub fn archive(directory: &Path) -> PathBuf {
    let (root, archive) = (directory.join("image"), directory.join("image.tar"));
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap_or_else(|error| panic!("{BUSYBOX}: {error}; tests/install brings it"));
    for name in ["sh", "cat", "ls", "sleep", "true"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    run("tar", &["--create", "--file", archive.to_str().unwrap(), "--directory", root.to_str().unwrap(), "."]);
    archive
}

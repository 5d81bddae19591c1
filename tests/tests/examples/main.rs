//! What `charts/` gives to people who deploy Hawser: that every file does what it says, with the program as it is.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod accepted;
mod compose;
mod framework;
mod image;
mod nomad;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;

use hawser_tests::binary::workspace_root;

/// A file of `charts`.
fn chart(name: &str) -> PathBuf {
    let path = workspace_root().join("charts").join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The root filesystem of an image of the Containerfile, made below `directory` as it says, of what is on this machine.
fn root_of(image: &str, directory: &Path) -> PathBuf {
    let programs = image::collected().into_iter().find(|(name, _)| name == image).unwrap().1;
    let (root, hawser) = (directory.join("root"), image::stripped());
    let collected = Command::new(chart("image/collect")).arg(&root).arg(hawser).args(programs).output().unwrap();
    assert!(collected.status.success(), "{collected:?}");
    // It keeps every program where it is, and the one under test is elsewhere.
    std::fs::rename(root.join(hawser.strip_prefix("/").unwrap()), root.join("usr/bin/hawser")).unwrap();
    root
}

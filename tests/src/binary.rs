//! Where the program under test and the programs that test it are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that names a program to test instead of a freshly built one.
const VARIABLE: &str = "HAWSER_BIN";

/// The root of the workspace.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The `hawser` program: what `HAWSER_BIN` names, else built now into the directory that this test was built into. Cargo tells
/// the path of a binary only to the tests of its own package.
pub fn hawser() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => build("hawser", &[]),
    })
}

/// The program that kills itself at a step named by `HAWSER_KILL_AT`, and whose calls fail as ordered by `HAWSER_FAULTS`.
pub fn hawser_with_faults() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("hawser-faults", &["--features", "faults"]))
}

fn build(binary: &str, arguments: &[&str]) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let target = profile.parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "hawser", "--bin", binary, "--target-dir"]).arg(target).args(arguments);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(workspace_root()).status().unwrap();
    assert!(built.success(), "building hawser failed");
    profile.join(binary)
}

/// A program that `tests/install` put into `target/tools`.
pub fn tool(name: &str) -> PathBuf {
    let path = workspace_root().join("target/tools").join(name);
    assert!(path.exists(), "{} is missing; tests/install brings it", path.display());
    path
}

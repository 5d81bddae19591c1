//! Where the program under test and the programs that test it are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that names a program to test instead of a freshly built one.
pub const VARIABLE: &str = "HAWSER_BIN";
/// The same for the program with faults.
pub const FAULTS_VARIABLE: &str = "HAWSER_FAULTS_BIN";

/// The root of the workspace.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The `hawser` program: what `HAWSER_BIN` names, else built now into the directory that this test was built into. Cargo tells
/// the path of a binary only to the tests of its own package.
pub fn hawser() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named(VARIABLE).unwrap_or_else(|| build("hawser", &[])))
}

/// The program that kills itself at a step named by `HAWSER_KILL_AT`, and whose calls fail as ordered by `HAWSER_FAULTS`.
pub fn hawser_with_faults() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named(FAULTS_VARIABLE).unwrap_or_else(|| build("hawser-faults", &["--features", "faults"])))
}

/// The program on both sides of a node of the [rig](crate::rig).
pub fn rig_node() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| beside("rig-node"))
}

/// What stands for the `drv_cfg` of an [SDC](crate::rig::Sdc).
pub fn drv_cfg() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| beside("drv-cfg"))
}

/// The program that runs another one in a node of the [rig](crate::rig).
pub fn rig_run() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| beside("rig-run"))
}

/// A program of this package, which Cargo has built together with the test.
fn beside(name: &str) -> PathBuf {
    let path = profile().join(name);
    assert!(path.exists(), "{} is missing; `cargo build --package hawser-tests` builds it", path.display());
    path
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// The directory that this test was built below, such as `target/debug`.
fn profile() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let directory = program.parent().unwrap();
    // Tests are in a directory of their own there.
    if directory.ends_with("deps") { directory.parent().unwrap().to_owned() } else { directory.to_owned() }
}

/// The directory of everything that is built together with this test.
pub fn target() -> PathBuf {
    profile().parent().unwrap().to_owned()
}

fn build(binary: &str, arguments: &[&str]) -> PathBuf {
    let (profile, target) = (profile(), target());
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

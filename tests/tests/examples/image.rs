//! The container images: what is in them works with nothing else beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hawser_tests::Workspace;
use hawser_tests::binary::{hawser, tool};
use hawser_tests::kernel::run;

use crate::{accepted, chart, root_of};

/// The lines `collect ROOT PROGRAM…` of the Containerfile: the name of the image, and its programs besides `hawser`.
pub fn collected() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(chart("image/Containerfile")).unwrap();
    let lines = text.lines().filter_map(|line| line.trim().split_once("collect /").filter(|(before, _)| !before.contains('#')));
    let calls = lines.filter(|(before, _)| !before.contains("COPY")).map(|(_, call)| {
        let words: Vec<String> = call.trim_end_matches(" \\").split(' ').map(str::to_owned).collect();
        assert_eq!(words[1], "/usr/bin/hawser");
        (words[0].clone(), words[2..].to_vec())
    });
    calls.collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program with `root` as its root, with the kernel's filesystems and nothing else of this machine.
fn within(root: &Path, setup: &str, words: &[&str]) -> Output {
    let script = format!(
        "set -e; mount --bind \"$1\" \"$1\"; mount -t proc proc \"$1/proc\"; mount --rbind /dev \"$1/dev\"; mount --rbind /sys \"$1/sys\"; \
         mount -t tmpfs tmpfs \"$1/tmp\"; {setup} root=$1; shift; exec chroot \"$root\" \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(root).args(words);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap()
}

/// Everything that the node runs is there, with its libraries; and the demo makes, formats, mounts, grows and clones with it.
#[test]
fn everything_in_the_node_runs() {
    let workspace = Workspace::new();
    let root = root_of("node", workspace.path());
    assert!(!root.join("usr/bin/sh").exists() && !root.join("usr/bin/dash").exists(), "a shell");
    let programs = collected().into_iter().find(|(name, _)| name == "node").unwrap().1;
    assert!(programs.len() >= 5, "{programs:?}");
    for program in programs {
        // It says its version or how it is used. Without a library it ends with 127.
        let output = within(&root, "", &[&program, "-V"]);
        assert!(output.status.code().is_some_and(|code| code < 126), "{program}: {}", said(&output));
        assert!(!said(&output).contains("shared libraries"), "{program}: {}", said(&output));
    }
    let output = within(&root, "", &["/usr/bin/hawser", "demo"]);
    assert!(output.status.success() && said(&output).contains("Nothing is left"), "{}", said(&output));
}

/// `hawser doctor` gets as far as the name of the gateway, and knows the authorities of the image.
#[test]
fn the_doctor_and_the_controller_run_in_theirs() {
    let workspace = Workspace::new();
    let root = root_of("controller", &workspace.directory("controller"));
    let config = "backends:\n  flex:\n    type: scaleio\n    systems:\n      - gateways: [\"https://localhost:1\"]\n        user: u\n        \
                  password-file: /csi/password\n";
    fs::write(root.join("csi/config.yaml"), config).unwrap();
    fs::write(root.join("csi/password"), "secret").unwrap();
    // An engine gives this to each container.
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let output = within(&root, "", &["/usr/bin/hawser", "doctor", "--config", "/csi/config.yaml"]);
    let words = said(&output);
    assert!(
        output.status.code() == Some(2) && words.contains("localhost:1") && words.to_lowercase().contains("refused"),
        "{words}"
    );
    let output = within(&root, "mount -o remount,ro,bind \"$1\";", &["/usr/bin/hawser", "config", "check", "/csi/config.yaml"]);
    assert!(output.status.success(), "{}", said(&output));
}

/// The copy of the program that images in the tests have: without what only a debugger reads.
pub fn stripped() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hawser");
        run("strip", &["--strip-all", "-o", program.to_str().unwrap(), hawser().to_str().unwrap()]);
        program
    })
}

#[test]
fn the_containerfile_is_what_linters_and_shells_read() {
    let output = Command::new(tool("image").join("venv/bin/hadolint")).arg(chart("image/Containerfile")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let wrong = fs::read_to_string(chart("image/Containerfile"))
        .unwrap()
        .replace("ENTRYPOINT [\"/usr/bin/hawser\"]", "ENTRYPOINT hawser");
    let workspace = Workspace::new();
    let file = workspace.path().join("Containerfile");
    fs::write(&file, wrong).unwrap();
    let output = Command::new(tool("image").join("venv/bin/hadolint")).arg(file).output().unwrap();
    assert!(said(&output).contains("DL3025"), "{}", said(&output));
    run("sh", &["-n", chart("image/collect").to_str().unwrap()]);
}

/// What the images do when nothing is told to them.
#[test]
fn the_program_reads_the_commands_of_the_images() {
    let text = fs::read_to_string(chart("image/Containerfile")).unwrap();
    let commands: Vec<Vec<String>> =
        text.lines().filter_map(|line| line.strip_prefix("CMD ")).map(|words| serde_json::from_str(words).unwrap()).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        accepted::arguments(&command).unwrap();
    }
}

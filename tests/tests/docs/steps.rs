//! The first steps, taken as they are written.

use std::os::unix::process::CommandExt;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::hawser;
use hawser_tests::kernel::mounts_below;

use crate::blocks::page;

/// Where the page works.
const PLACE: &str = "/tmp/first-steps";

/// Ends what the script left when it failed midway.
struct Clean<'w>(&'w Workspace, u32);

impl Drop for Clean<'_> {
    fn drop(&mut self) {
        let group = i32::try_from(self.1).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        for mount in mounts_below(self.0.path()).iter().rev() {
            let _ = Command::new("umount").arg("--lazy").arg(&mount.point).status();
        }
    }
}

#[test]
fn the_first_steps_work_as_they_are_written() {
    let workspace = Workspace::new();
    let mut script = String::from("set -euo pipefail\n");
    let page = page("docs/first-steps.md");
    for block in page.blocks().iter().filter(|block| block.language == "sh") {
        for line in block.text.lines() {
            // The shell does not end at a command that was to fail and did not.
            match line.strip_prefix("! ") {
                Some(refused) => script += &format!("if {refused}; then echo 'was not refused: {refused}' >&2; exit 9; fi\n"),
                None => script += &format!("{line}\n"),
            }
        }
    }
    let place = workspace.path().join("steps");
    let script = script.replace(PLACE, place.to_str().unwrap());
    let path = format!("{}:{}", hawser().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).env("PATH", path).env("HAWSER_MOUNT_STATE", workspace.path().join("mounts")).process_group(0);
    let log = workspace.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut child = shell.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let clean = Clean(&workspace, child.id());
    let status = child.wait().unwrap();
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(status.success(), "{status}:\n{said}");
    assert!(!place.exists(), "the page leaves nothing behind");
    assert!(mounts_below(workspace.path()).is_empty(), "{said}");
    drop(clean);
}

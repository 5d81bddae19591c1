//! A program that is taken into a node as a whole.

use std::process::Command;

use hawser_tests::binary::rig_run;

#[test]
fn a_runner_takes_a_program_into_a_node() {
    let mut command = Command::new(rig_run());
    command.args(["sh", "-c", "hostname; echo $HAWSER_TEST_INSIDE $TMPDIR $WORD; stat --file-system --format=%T /tmp; exit 3"]);
    let output = command.env("WORD", "word").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "suite\n1 /tmp word\next2/ext3\n");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

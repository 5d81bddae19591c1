//! What is printed, to the letter.

use std::process::Command;

use hawser_tests::binary::hawser;
use serde_json::json;

use crate::mock::Mock;

#[test]
fn tables_ids_and_json_are_as_documented() {
    let mock = Mock::start();
    let hand = &mock.hand;
    // The mock has these from its start.
    let table = "\
NAME           ID  SIZE    STATUS    NODES         CONDITION
Mock Volume 1  1   100GiB  attached  mock.example  ok
";
    assert_eq!(hand.does(&["volume", "ls", "1"]), table.trim_end());
    assert_eq!(hand.does(&["volume", "ls", "-q"]), "1\n2\n3");
    assert_eq!(hand.does(&["volume", "ls", "-o", "name", "Volume 2"]), "2");
    assert_eq!(
        hand.json(&["volume", "ls", "Mock Volume 3"]),
        json!([{
            "id": "3", "name": "Mock Volume 3", "bytes": 107_374_182_400_u64, "status": "attached", "nodes": ["mock.example"],
            "condition": {"abnormal": false, "message": ""}, "context": {"name": "Mock Volume 3"}, "source": null, "topology": [],
        }])
    );
    hand.is_refused(&["volume", "ls", "Mock"], 64, &["means 3 volumes: Mock Volume 1 (1), Mock Volume 2 (2), Mock Volume 3 (3)"]);
    let plan = "\
ControllerPublishVolume
  volume_id: 2
  node_id: mock.example
  access_mode: MULTI_NODE_READER_ONLY
  fs_type: xfs
  readonly: true
";
    let arguments = ["volume", "attach", "2", "--access", "rox", "--fs", "xfs", "--read-only", "--dry-run"];
    assert_eq!(hand.does(&arguments), plan.trim_end());
    // What REX-Ray's users have in their fingers.
    let plan = hand.json(&[
        "volume",
        "c",
        "v",
        "--size",
        "1GiB",
        "--volumeType",
        "gp3",
        "--iops",
        "3000",
        "--availabilityZone",
        "eu-1a",
        "--encrypted",
        "--fsType",
        "xfs",
        "--dryRun",
    ]);
    let fields = plan[0]["fields"].as_array().unwrap();
    let parameters: Vec<&str> =
        fields.iter().filter(|field| field["name"] == "parameters").map(|field| field["value"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["availabilityZone=eu-1a", "encrypted=true", "iops=3000", "type=gp3"]);
    assert!(fields.contains(&json!({"name": "fs_type", "value": "xfs"})));
    hand.is_refused(&["volume", "c", "v", "--iops", "1", "--parameter", "IOPS=2"], 64, &["is given twice"]);
    let node = hand.json(&["node"]);
    assert_eq!((&node["id"], &node["driver"], &node["limit"]), (&json!("mock.example"), &json!("mock.example"), &json!(null)));
    assert_eq!(node["volumes"].as_array().unwrap().len(), 3);
    assert_eq!(hand.does(&["node", "-q"]), "mock.example");
    assert!(!mock.daemon.said().contains("/ControllerPublishVolume") && !mock.daemon.said().contains("/CreateVolume"));
}

#[test]
fn exit_codes_tell_failures_apart() {
    let mock = Mock::start();
    let hand = &mock.hand;
    for (arguments, code) in [
        (&["volume", "ls"][..], 0),
        (&["volume"], 64),
        (&["volume", "rm"], 64),
        (&["volume", "ls", "--no-such-option"], 64),
        (&["volume", "attach", "1", "--access", "everybody"], 64),
        (&["volume", "inspect", "nobody"], 66),
        (&["why", "nobody"], 66),
        (&["volume", "ls", "--endpoint", "/never/made.sock"], 75),
        (&["volume", "ls", "--endpoint", "tcp://127.0.0.1:1"], 64),
        (&["volume", "--help"], 0),
    ] {
        let done = hand.types(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.out, done.err);
        // No progress where nobody looks, and no control characters at all.
        assert!(!done.err.contains('\u{1b}') && !done.out.contains('\u{1b}'), "{arguments:?}");
    }
    let words = "there is no such socket; is the driver running";
    hand.is_refused(&["volume", "ls", "--endpoint", "/never/made.sock"], 75, &["/never/made.sock", words, "--endpoint"]);
}

#[test]
fn completion_knows_the_verbs() {
    let output = Command::new(hawser()).args(["completion", "bash"]).output().unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    for word in ["unmount", "snapshot", "inspect", "--dry-run", "--from-snapshot", "why"] {
        assert!(script.contains(word), "no {word}");
    }
}

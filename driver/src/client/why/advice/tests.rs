//! Every state that a volume can be found in, with what is advised.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hawser_bridge::door::operator::Held;
use hawser_bridge::driver::Abilities;
use hawser_bridge::ledger::{Door, Holding, Usage};
use hawser_volume::{Access, AccessKind, AccessMode, MountAccess};

use super::super::work::{Call, Takeover, Work};
use super::*;
use crate::client::record::{Attachment, Record};
use crate::client::trace::Mounted;
use crate::client::volume::{Condition, Volume};

/// A volume that nobody has, and a driver that tells everything.
fn idle() -> Report {
    Report {
        node: "a".to_owned(),
        driver: "d".to_owned(),
        can: Abilities { attach: true, list: true, list_nodes: true, get: true, node: true, ..Abilities::default() },
        volume: Volume { nodes: Some(Vec::new()), ..Volume::bare("v") },
        exists: true,
        work: Work { told: true, ..Work::default() },
        mounts: Vec::new(),
        record: None,
        unread: None,
        bridge: Err(String::new()),
    }
}

fn on(nodes: &[&str]) -> Report {
    let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    Report { volume: Volume { nodes: Some(nodes), ..Volume::bare("v") }, ..idle() }
}

fn mounted(by: Maker, report: Report) -> Report {
    let mount = Mounted { path: "/m".into(), filesystem: "ext4".to_owned(), read_only: false, by };
    Report { mounts: vec![mount], ..report }
}

fn held(uses: &[&str], report: Report) -> Report {
    let uses = uses.iter().map(|name| {
        let mut usage = Usage::new(Door::Docker, (*name).to_owned(), None);
        usage.targets.insert("/t".into());
        (PathBuf::from(format!("/s/{name}")), usage)
    });
    let holding = Holding { uses: uses.collect(), ..Holding::about_to_attach("boot") };
    let held = Held { holdings: [("v".to_owned(), holding)].into(), ..Held::default() };
    Report { bridge: Ok(held), ..report }
}

fn recorded(report: Report) -> Report {
    let record = Record {
        driver: "d".to_owned(),
        volume: "v".to_owned(),
        name: None,
        access: Access { kind: AccessKind::Mount(MountAccess::default()), mode: AccessMode::SingleNodeWriter },
        read_only: false,
        context: BTreeMap::new(),
        attachment: Attachment::Mine,
        staging: "/s".into(),
        paths: [(PathBuf::from("/m"), None)].into(),
    };
    Report { record: Some(record), ..report }
}

fn failed(code: &str, overcome: bool, mut report: Report) -> Report {
    report.work.failures.push(Failure {
        method: "NodeStageVolume".to_owned(),
        role: "all".to_owned(),
        node: None,
        code: code.to_owned(),
        message: "words".to_owned(),
        last: String::new(),
        times: 1,
        overcome_by: overcome.then(|| "NodeStageVolume".to_owned()),
    });
    report
}

fn calling(seconds: u64, runs: bool, mut report: Report) -> Report {
    let behind = if runs { Vec::new() } else { vec!["NodeUnstageVolume".to_owned()] };
    let (method, role) = ("NodeStageVolume".to_owned(), "all".to_owned());
    report.work.calls.push(Call { method, role, node: None, seconds, runs, callers: 1, behind });
    report
}

fn unwell(report: Report) -> Report {
    let condition = Some(Condition { abnormal: true, message: "two paths of four are gone".to_owned() });
    Report { volume: Volume { condition, ..report.volume }, ..report }
}

fn taken(outcome: &'static str, mut report: Report) -> Report {
    let [id, from, to, grade, time] = ["1", "node b", "a", "agent-gone", "t"].map(str::to_owned);
    report.work.takeovers.push(Takeover { id, from, to, grade, outcome, time, error: None });
    report
}

#[test]
fn every_state_has_its_advice() {
    let table: Vec<(&str, Report, bool, &[&str])> = vec![
        ("nobody has it", idle(), false, &["Nobody has it. hawser volume mount v PATH"]),
        ("the driver does not say", Report { volume: Volume::bare("v"), ..idle() }, false, &["does not tell who has a volume"]),
        ("attached here, used by nobody", on(&["a"]), false, &["mounted nowhere", "hawser volume detach v"]),
        (
            "attached elsewhere",
            on(&["b"]),
            false,
            &["b has it. If b is alive", "the bridge takes the volume over", "taint nodes b"],
        ),
        (
            "mounted by hand",
            recorded(mounted(Maker::Person, on(&["a"]))),
            false,
            &["mounted it at /m", "hawser volume unmount v"],
        ),
        ("mounting was cut off", recorded(on(&["a"])), false, &["mounted it, or began to, at /m", "hawser volume unmount v"]),
        ("a pod has it", mounted(Maker::Kubelet, on(&["a"])), false, &["delete or move the pod"]),
        ("somebody has it", mounted(Maker::Other, on(&["a"])), false, &["fuser -vm /m"]),
        ("the bridge has forgotten it", mounted(Maker::Bridge, on(&["a"])), true, &["does not have it on record"]),
        ("a task has it", held(&["pg"], on(&["a"])), false, &["end the tasks that use pg"]),
        ("a task had it", held(&[], on(&["a"])), false, &["gives it back by itself"]),
        ("a task has it, and it was taken away", held(&["pg"], on(&["b"])), true, &["storage system says that b has it"]),
        ("a task has it, and it was detached", held(&["pg"], idle()), true, &["storage system says that no node has it"]),
        ("mounted here and attached elsewhere", mounted(Maker::Other, on(&["b"])), true, &["says that b has it", "unmount it"]),
        (
            "the bridge is silent",
            Report { bridge: Err("refused".into()), ..idle() },
            true,
            &["The bridge of this machine does not answer"],
        ),
        ("the record is not readable", Report { unread: Some("denied".into()), ..idle() }, true, &["run the command as root"]),
        ("unwell", unwell(idle()), true, &["two paths of four are gone", "Nobody has it"]),
        ("a call failed", failed("UNAVAILABLE", false, on(&["a"])), true, &["NodeStageVolume failed last", "hawser doctor"]),
        ("a call failed and then did not", failed("UNAVAILABLE", true, on(&["a"])), false, &["hawser volume detach v"]),
        ("credentials are wrong", failed("UNAUTHENTICATED", false, idle()), true, &["mend the credentials"]),
        ("there is no room", failed("RESOURCE_EXHAUSTED", false, idle()), true, &["make room"]),
        ("a call is wrong", failed("INVALID_ARGUMENT", false, idle()), true, &["it is of no use to repeat the call"]),
        ("somebody must act", failed("FAILED_PRECONDITION", false, idle()), true, &["somebody has to act first"]),
        ("a fault", failed("INTERNAL", false, idle()), true, &["its log has all of it"]),
        ("a call runs", calling(5, true, on(&["a"])), false, &["hawser volume detach v"]),
        ("a call hangs", calling(300, true, on(&["a"])), true, &["has run for 5m", "Other volumes are not kept"]),
        ("a call waits", calling(300, false, on(&["a"])), false, &["waits its turn behind NodeUnstageVolume"]),
        ("a takeover is uncertain", taken("intended", on(&["a"])), true, &["docs/takeover.md"]),
        ("a takeover was made", taken("done", on(&["a"])), false, &["hawser volume detach v"]),
        ("it was never made", Report { exists: false, ..failed("RESOURCE_EXHAUSTED", false, idle()) }, true, &["make room"]),
        ("it is gone", Report { exists: false, ..failed("INTERNAL", true, idle()) }, false, &["Nothing has it any more"]),
    ];
    for (state, report, wrong, words) in table {
        let next = next(&report);
        let text = next.sentences.join("\n");
        assert_eq!(next.is_wrong, wrong, "{state}: {text}");
        for word in words {
            assert!(text.contains(word), "{state}: no {word:?} in {text}");
        }
        // Nobody is told to take away what somebody uses.
        let in_use = !report.mounts.is_empty() || report.holding().is_some_and(|holding| !holding.uses.is_empty());
        assert!(!(in_use && text.contains("volume detach")), "{state}: {text}");
    }
}

#[test]
fn what_is_in_use_is_never_advised_to_be_detached() {
    // A call that waits does not hide who has the volume.
    let report = calling(1, false, mounted(Maker::Kubelet, on(&["a"])));
    let text = next(&report).sentences.join("\n");
    assert!(text.contains("waits its turn") && text.contains("delete or move the pod") && !text.contains("detach"), "{text}");
}

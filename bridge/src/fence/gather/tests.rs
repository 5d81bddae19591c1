use std::collections::BTreeMap;
use std::time::SystemTime;

use super::*;
use crate::mesos::master::RegisteredAgent;

const BOOT: &str = "3c9e5a0e-1f2b-4f6a-9e55-6c1b7d2f0a11";

fn info(id: &str, hostname: &str, node: Option<&str>, boot: Option<&str>) -> AgentInfo {
    AgentInfo {
        id: id.parse().unwrap(),
        hostname: hostname.into(),
        nodes: node.map(str::to_owned).into_iter().collect(),
        numeric_nodes: Vec::new(),
        boot: boot.map(str::to_owned),
    }
}

fn view(registered: &[AgentInfo], recovered: &[AgentInfo], gone: &[&str]) -> MasterView {
    let mut view = MasterView::for_tests("m", SystemTime::UNIX_EPOCH, BTreeMap::new());
    for info in registered {
        view.registered.insert(
            info.id.clone(),
            RegisteredAgent { info: info.clone(), active: true, process: None, disks: Default::default() },
        );
    }
    view.recovered.extend(recovered.iter().map(|info| (info.id.clone(), info.clone())));
    view.gone.extend(gone.iter().map(|id| (id.parse().unwrap(), SystemTime::UNIX_EPOCH)));
    view
}

fn holder(agent: Option<&str>) -> Holder {
    Holder { agent: agent.map(|id| id.parse().unwrap()), boot: Some(BOOT.into()), ..Holder::on("n1".parse().unwrap()) }
}

fn with_memory(view: &MasterView, holder: &Holder, remembered: Remembered) -> Vec<Says> {
    about(view, holder, remembered, |_| Duration::ZERO)
}

fn names(view: &MasterView, holder: &Holder) -> Vec<String> {
    with_memory(view, holder, Remembered::Nobody).into_iter().map(|says| format!("{} {says}", says.name())).collect()
}

fn first_words(view: &MasterView, holder: &Holder) -> Vec<String> {
    names(view, holder).into_iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn without_a_record_the_agent_on_the_node_is_meant_and_no_other() {
    let on_node = info("A", "host-a", Some("n1"), None);
    assert_eq!(first_words(&view(std::slice::from_ref(&on_node), &[], &[]), &holder(None)), ["agent-registered"]);
    assert_eq!(first_words(&view(&[], std::slice::from_ref(&on_node), &[]), &holder(None)), ["agent-recovered"]);
    assert_eq!(first_words(&view(&[info("A", "n1", None, None)], &[], &[]), &holder(None)), ["agent-registered"]);
    // Its attribute names another node, whatever its hostname is; and a part of a name is no name.
    assert_eq!(first_words(&view(&[info("A", "n1", Some("n2"), None)], &[], &[]), &holder(None)), ["node-unknown"]);
    assert_eq!(first_words(&view(&[info("A", "n1.example", None, None)], &[], &[]), &holder(None)), ["node-unknown"]);
    // An agent that is gone has no node any more that Mesos would tell.
    assert_eq!(first_words(&view(&[], &[], &["A"]), &holder(None)), ["node-unknown"]);
}

#[test]
fn another_agent_on_the_node_is_life_unless_the_host_was_booted_since() {
    let with = |boot: Option<&str>| first_words(&view(&[info("B", "h", Some("n1"), boot)], &[], &["A"]), &holder(Some("A")));
    assert_eq!(with(None), ["agent-gone", "other-agent"]);
    assert_eq!(with(Some(BOOT)), ["agent-gone", "other-agent"]);
    assert_eq!(with(Some("3C9E5A0E1F2B4F6A9E556C1B7D2F0A11")), ["agent-gone", "other-agent"], "the same boot, spelt otherwise");
    assert_eq!(with(Some("yesterday")), ["agent-gone", "other-agent"]);
    assert_eq!(with(Some("11111111-1f2b-4f6a-9e55-6c1b7d2f0a11")), ["agent-gone", "rebooted"]);
    let unrecorded = Holder { boot: None, ..holder(Some("A")) };
    let other_boot = info("B", "h", Some("n1"), Some("11111111-1f2b-4f6a-9e55-6c1b7d2f0a11"));
    assert_eq!(first_words(&view(std::slice::from_ref(&other_boot), &[], &[]), &unrecorded), ["agent-unknown", "other-agent"]);
    // Nobody knows whether it is on node 42 or on node 042: life for both, and a reboot of neither.
    let number = AgentInfo { nodes: Vec::new(), numeric_nodes: vec![42.0], ..other_boot.clone() };
    let on_42 = Holder { node: "42".parse().unwrap(), ..holder(Some("A")) };
    assert_eq!(first_words(&view(&[number], &[], &["A"]), &on_42), ["agent-gone", "other-agent"]);
    // After a failover of the master it may be alive and on its way back.
    assert_eq!(first_words(&view(&[], &[other_boot], &["A"]), &holder(Some("A"))), ["agent-gone", "other-agent"]);
}

#[test]
fn an_agent_elsewhere_says_nothing_about_the_node() {
    let elsewhere = info("B", "host-b", Some("n2"), None);
    assert_eq!(first_words(&view(&[elsewhere], &[], &["A"]), &holder(Some("A"))), ["agent-gone"]);
}

#[test]
fn without_a_record_and_without_an_agent_the_one_that_was_seen_last_is_meant() {
    let seen = |names: &[&str]| Remembered::Agents(names.iter().map(|name| name.parse().unwrap()).collect());
    let words = |view: &MasterView, holder: &Holder, remembered: Remembered| -> Vec<String> {
        with_memory(view, holder, remembered).iter().map(|says| says.name().to_owned()).collect()
    };
    let gone = view(&[], &[], &["A"]);
    assert_eq!(words(&gone, &holder(None), seen(&["A"])), ["agent-gone"]);
    assert_eq!(words(&gone, &holder(None), seen(&["A", "B"])), ["agent-unknown"], "it may have been B");
    assert_eq!(words(&gone, &holder(None), Remembered::Uncertain("X".parse().unwrap())), ["node-uncertain"]);
    // Who is there now counts more than who was there, and what is on record more than what was seen.
    let there = view(&[info("B", "h", Some("n1"), None)], &[], &["A"]);
    assert_eq!(words(&there, &holder(None), seen(&["A"])), ["agent-registered"]);
    assert_eq!(words(&gone, &holder(Some("B")), seen(&["A"])), ["agent-unknown"]);
}

//! The files of charts/examples and of the documentation are right.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hawser_bridge::plan::{Caller, Plan};
use hawser_bridge::{Create, Takeover, declare};
use hawser_volume::{AccessMode, Bytes, Filesystem};

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/examples").join(name)).unwrap()
}

#[test]
fn every_example_is_planned_without_a_word() {
    let mut planned = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let plan = Plan::of(&fs::read_to_string(&path).unwrap());
            assert!(plan.mistakes.is_empty() && plan.warnings.is_empty(), "{}: {plan:#?}", path.display());
            assert!(!plan.claims.is_empty(), "{}", path.display());
            planned += 1;
        }
    }
    assert!(planned >= 4, "only {planned} examples");
}

#[test]
fn the_marathon_dvdi_example_says_what_it_shows() {
    let reading = declare::file(&example("marathon-dvdi.json"));
    let [claim] = reading.claims.as_slice() else { panic!("{reading:?}") };
    let named = claim.named().unwrap();
    assert_eq!((named.name.as_str(), named.create, named.size), ("shop-pgdata", Create::IfAbsent, Some(Bytes::gib(100))));
    let parameters = BTreeMap::from([("iops", "4000"), ("type", "gp3")].map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(named.parameters, parameters);
    assert_eq!(claim.backend.as_ref().unwrap().as_str(), "ebs");
    assert_eq!(
        (claim.access.mode, claim.read_only, claim.takeover),
        (AccessMode::SingleNodeWriter, false, Some(Takeover::BackendDead))
    );
    let mount = claim.access.mount().unwrap();
    assert_eq!((mount.filesystem, mount.flags.as_slice()), (Some(Filesystem::Xfs), ["noatime".to_owned()].as_slice()));
    let declared = &claim.declared;
    assert_eq!((declared.driver.as_deref(), declared.container_path.as_deref()), (Some("hawser"), Some("pgdata")));
    assert_eq!((declared.place.path.as_str(), declared.place.line), ("$.container.volumes[0]", Some(11)));
}

#[test]
fn the_same_volume_declared_to_mesos_is_the_same_claim() {
    let marathon = declare::file(&example("marathon-dvdi.json")).claims.remove(0);
    let mesos = declare::file(&example("mesos-docker-volume.json")).claims.remove(0);
    let (marathon, mesos) = (marathon.named().unwrap().clone(), mesos.named().unwrap().clone());
    assert_eq!((marathon.name, marathon.size, marathon.create), (mesos.name, mesos.size, mesos.create));
}

#[test]
fn mesos_calls_the_node_service_and_hawser_the_rest() {
    let plan = Plan::of(&example("mesos-csi-volume.json"));
    let calls = |index: usize| plan.claims[index].start.iter().map(|call| (call.rpc, call.by)).collect::<Vec<_>>();
    let node = [("NodeStageVolume", Caller::Mesos), ("NodePublishVolume", Caller::Mesos)];
    let attach = ("ControllerPublishVolume", Caller::Hawser);
    assert_eq!(calls(0), [&[attach][..], &node].concat(), "an id: nothing is made");
    assert_eq!(calls(1), [&[("CreateVolume", Caller::Hawser), attach][..], &node].concat());
    let id =
        |index: usize| plan.claims[1].start[index].arguments.iter().find(|(name, _)| *name == "volume_id").unwrap().1.clone();
    assert_eq!(
        (id(1), id(2)),
        ("<from CreateVolume>".into(), "{framework}{slot}log".into()),
        "Mesos knows the declared name only"
    );
}

/// Every block of JSON in the documentation is a file that somebody may copy.
#[test]
fn the_documentation_shows_files_without_mistakes() {
    let text = include_str!("../../../docs/declarations.md");
    let blocks: Vec<&str> = text.split("```json\n").skip(1).map(|rest| rest.split_once("```").expect("a block ends").0).collect();
    assert!(blocks.len() >= 5, "only {} blocks", blocks.len());
    for block in blocks {
        let reading = declare::file(block);
        assert!(reading.findings.mistakes.is_empty() && !reading.claims.is_empty(), "{block}\n{:#?}", reading.findings);
    }
}

//! Who has a volume, and how another one gets it.

use hawser_controller::Provisioner;
use hawser_controller::backend::scaleio::ScaleIo as Backend;
use hawser_controller::provision::{Attach, NewVolume};
use hawser_scaleio::ScaleIoConfig;
use hawser_scaleio::config::NodeIds;
use hawser_tests::scaleio::{ScaleIo, ScaleIoSettings};
use hawser_volume::{AccessMode, HostState, Kind, NodeId, Secrets, VolumeId};

use crate::ready::{access, attach, backend, config, pairs, soon, volume};

fn node(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn holders(array: &ScaleIo, id: &VolumeId) -> Vec<String> {
    array.world().volumes[id.native().split_once('-').unwrap().1].mapped.iter().map(|mapped| mapped.sdc.clone()).collect()
}

#[tokio::test]
async fn what_another_node_has_is_refused_and_a_takeover_takes_it_from_that_node_alone() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let [a, b] = ["node-a", "node-b"].map(|name| array.world().sdc(Some(name)).0);
    let wanted = backend.create(volume("wanted")).await.unwrap().id;
    let kept = backend.create(volume("kept")).await.unwrap().id;
    for id in [&wanted, &kept] {
        backend.attach(attach(id, "node-a")).await.unwrap();
    }
    // node-a lives: it is named, and nothing moves.
    let refused = backend.attach(attach(&wanted, "node-b")).await.unwrap_err();
    assert!(refused.kind() == Kind::Precondition && refused.to_string().contains("is mapped to SDC node-a"), "{refused}");
    assert_eq!(holders(&array, &wanted), [a.as_str()]);
    let state = async |name: &str| backend.host_state(&wanted, &node(name), soon()).await.unwrap();
    assert_eq!(state("node-a").await, HostState::Alive("the SDC of node node-a is connected".to_owned()));
    assert!(matches!(state("node-z").await, HostState::Unknown(why) if why.contains("node-z")));
    // node-a dies, and the array says so of its volumes. What decides that it is dead calls for this.
    array.world().connect(&a, false);
    assert_eq!(state("node-a").await, HostState::Dead("the SDC of node node-a is disconnected".to_owned()));
    assert!(backend.get(&wanted).await.unwrap().trouble.unwrap().contains("node-a"));
    assert_eq!(backend.attach(attach(&wanted, "node-b")).await.unwrap_err().kind(), Kind::Precondition, "nobody said to take it");
    backend.detach(&wanted, Some(&node("node-a")), &Secrets::default(), soon()).await.unwrap();
    backend.attach(attach(&wanted, "node-b")).await.unwrap();
    assert_eq!((holders(&array, &wanted), holders(&array, &kept)), (vec![b], vec![a]));
    // Who comes late takes it from nobody.
    backend.detach(&wanted, Some(&node("node-a")), &Secrets::default(), soon()).await.unwrap();
    assert_eq!(holders(&array, &wanted).len(), 1);
    assert!(array.world().shared.is_empty());
}

#[tokio::test]
async fn nodes_are_known_by_name_by_guid_and_by_configuration() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let (named, _) = array.world().sdc(Some("node-a"));
    let (plain, guid) = array.world().sdc(None);
    let of = |node_ids: NodeIds, nodes: &[(&str, &str)]| {
        let nodes = nodes.iter().map(|(id, guid)| (node(id), (*guid).to_owned())).collect();
        Backend::new("sio".parse().unwrap(), ScaleIoConfig { node_ids, nodes, ..config(&[&array]) }).unwrap()
    };
    let by_name = of(NodeIds::SdcName, &[]);
    let by_guid = of(NodeIds::SdcGuid, &[]);
    let configured = of(NodeIds::SdcName, &[("node-c", &guid.to_lowercase())]);
    let id = by_name.create(volume("a")).await.unwrap().id;
    for (backend, name, sdc) in [(&by_name, "node-a", &named), (&by_guid, guid.as_str(), &plain), (&configured, "node-c", &plain)]
    {
        backend.attach(attach(&id, name)).await.unwrap();
        assert_eq!(holders(&array, &id), [sdc.as_str()]);
        assert_eq!(backend.get(&id).await.unwrap().nodes, [node(name)]);
        backend.detach(&id, Some(&node(name)), &Secrets::default(), soon()).await.unwrap();
    }
    let unknown = by_name.attach(attach(&id, "node-z")).await.unwrap_err();
    assert!(unknown.kind() == Kind::NotFound && unknown.to_string().contains("node node-z has no SDC"), "{unknown}");
    // Two of one name are told apart by nobody.
    array.world().sdc(Some("node-a"));
    assert_eq!(by_name.attach(attach(&id, "node-a")).await.unwrap_err().kind(), Kind::Precondition);
}

#[tokio::test]
async fn an_sdc_that_has_gone_holds_nothing_and_one_that_lost_its_name_is_not_gone() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let (a, _) = array.world().sdc(Some("node-a"));
    let (b, _) = array.world().sdc(Some("node-b"));
    let id = backend.create(volume("a")).await.unwrap().id;
    backend.attach(attach(&id, "node-b")).await.unwrap();
    backend.detach(&id, Some(&node("long-gone")), &Secrets::default(), soon()).await.unwrap();
    assert_eq!(holders(&array, &id), [b.as_str()]);
    array.world().sdcs.get_mut(&b).unwrap()["name"] = serde_json::Value::Null;
    let error = backend.detach(&id, Some(&node("node-b")), &Secrets::default(), soon()).await.unwrap_err();
    assert!(error.kind() == Kind::Precondition && error.to_string().contains("which has no name"), "{error}");
    // From all: from each that has it.
    backend.detach(&id, None, &Secrets::default(), soon()).await.unwrap();
    assert!(holders(&array, &id).is_empty());
    backend.attach(attach(&id, "node-a")).await.unwrap();
    array.world().sdcs.remove(&a);
    backend.detach(&id, None, &Secrets::default(), soon()).await.unwrap_err();
}

#[tokio::test]
async fn readers_share_and_writers_do_not() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    for name in ["node-a", "node-b", "node-c"] {
        array.world().sdc(Some(name));
    }
    let id = backend.create(volume("a")).await.unwrap().id;
    let read = |node: &str| Attach { access: access(AccessMode::MultiNodeReaderOnly), ..attach(&id, node) };
    for name in ["node-a", "node-b", "node-a"] {
        backend.attach(read(name)).await.unwrap();
    }
    assert!(array.world().volumes.values().all(|volume| volume.mapped.iter().all(|mapped| mapped.mode == "ReadOnly")));
    assert_eq!(backend.attach(attach(&id, "node-c")).await.unwrap_err().kind(), Kind::Precondition);
    assert_eq!(backend.attach(attach(&id, "node-a")).await.unwrap_err().kind(), Kind::Precondition, "the other one reads");
    backend.detach(&id, Some(&node("node-b")), &Secrets::default(), soon()).await.unwrap();
    assert_eq!(backend.attach(attach(&id, "node-a")).await.unwrap_err().kind(), Kind::AlreadyExists, "it reads");
    backend.detach(&id, Some(&node("node-a")), &Secrets::default(), soon()).await.unwrap();
    backend.attach(attach(&id, "node-c")).await.unwrap();
    assert_eq!(backend.attach(read("node-a")).await.unwrap_err().kind(), Kind::Precondition, "a writer has it");
    // One that was alone with reading is told so again when another one has come to read.
    backend.detach(&id, Some(&node("node-c")), &Secrets::default(), soon()).await.unwrap();
    let alone = |node: &str| Attach { read_only: true, ..attach(&id, node) };
    let told = backend.attach(alone("node-a")).await.unwrap();
    backend.attach(read("node-b")).await.unwrap();
    assert_eq!(backend.attach(alone("node-a")).await.unwrap(), told);
    assert_eq!(backend.attach(alone("node-c")).await.unwrap_err().kind(), Kind::Precondition, "it would not be alone");
}

#[tokio::test]
async fn limits_are_those_of_the_volume_on_whichever_node() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    array.world().sdc(Some("node-a"));
    let parameters = pairs(&[("bandwidthLimitInKbps", "10240"), ("iopsLimit", "500")]);
    let made = backend.create(NewVolume { parameters, ..volume("a") }).await.unwrap();
    let wish = || Attach { context: made.context.clone(), ..attach(&made.id, "node-a") };
    for _ in 0..2 {
        backend.attach(wish()).await.unwrap();
        let limits: Vec<_> = array
            .world()
            .volumes
            .values()
            .flat_map(|volume| volume.mapped.iter().map(|m| (m.kbps, m.iops)).collect::<Vec<_>>())
            .collect();
        assert_eq!(limits, [(10_240, 500)]);
        // A call that ended between the two steps has left none, and somebody may have set others.
        array.world().volumes.values_mut().for_each(|volume| volume.mapped[0].iops = 0);
    }
    assert_eq!(array.asked()["setMappedSdcLimits"], 2);
    assert_eq!(array.asked()["addMappedSdc"], 1);
}

#[tokio::test]
async fn an_sdc_that_can_take_no_more_is_said_to_be_full() {
    let array = ScaleIo::start(ScaleIoSettings { volumes_per_sdc: 1, ..ScaleIoSettings::default() }).await;
    let backend = backend(&[&array]);
    array.world().sdc(Some("node-a"));
    for (name, kind) in [("a", None), ("b", Some(Kind::Exhausted))] {
        let id = backend.create(volume(name)).await.unwrap().id;
        assert_eq!(backend.attach(attach(&id, "node-a")).await.err().map(|error| error.kind()), kind);
    }
}

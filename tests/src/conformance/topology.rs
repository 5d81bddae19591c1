//! Where a volume can be reached from.

use hawser_proto::csi;
use tonic::Code;

use crate::client::{create_request, map};
use crate::plugin::Plugin;
use crate::refusal::refused;

super::table! {
    a_volume_is_where_its_node_is: [Placed],
    a_place_elsewhere_is_refused_and_one_of_several_is_enough: [Placed, Here],
    the_nodes_of_one_root_are_in_one_place: [Placed],
}

async fn here(plugin: &Plugin) -> csi::Topology {
    plugin.a().node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner().accessible_topology.unwrap()
}

async fn a_volume_is_where_its_node_is(plugin: &Plugin) {
    let a = plugin.a();
    let volume = a.create("one", plugin.small(), &plugin.usage()).await;
    let [place] = &volume.accessible_topology[..] else { panic!("{:?}", volume.accessible_topology) };
    // A node may have more to say of its place.
    let here = here(plugin).await.segments;
    assert!(!place.segments.is_empty() && place.segments.iter().all(|(key, value)| here.get(key) == Some(value)), "{here:?}");
    assert_eq!(a.volumes().await[0].volume.as_ref().unwrap().accessible_topology, volume.accessible_topology);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn a_place_elsewhere_is_refused_and_one_of_several_is_enough(plugin: &Plugin) {
    let a = plugin.a();
    let here = here(plugin).await;
    let elsewhere = csi::Topology { segments: map([("csi.hawser.dev/local", "00000000-0000-0000-0000-000000000000")]) };
    let another = csi::Topology { segments: map([("topology.kubernetes.io/zone", "z")]) };
    let with = |requisite: &[&csi::Topology]| {
        let requisite: Vec<csi::Topology> = requisite.iter().map(|topology| (*topology).clone()).collect();
        csi::CreateVolumeRequest {
            accessibility_requirements: Some(csi::TopologyRequirement { preferred: requisite.clone(), requisite }),
            ..create_request("one", plugin.small(), &plugin.usage())
        }
    };
    for places in [&[&elsewhere][..], &[&another], &[&elsewhere, &another]] {
        refused(a.try_create(with(places)).await, Code::ResourceExhausted, &["local"]);
    }
    assert!(a.volumes().await.is_empty());
    let volume = a.try_create(with(&[&elsewhere, &here])).await.unwrap();
    assert_eq!(volume.accessible_topology, [here]);
    a.delete(&volume.volume_id).await.unwrap();
}

async fn the_nodes_of_one_root_are_in_one_place(plugin: &Plugin) {
    let there = plugin.b().await.node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(there.accessible_topology.unwrap(), here(plugin).await);
}

//! What the plugin says of itself.

use std::collections::BTreeSet;

use hawser_proto::csi;
use hawser_proto::csi::controller_service_capability::rpc::Type as ControllerType;
use hawser_proto::csi::node_service_capability::rpc::Type as NodeType;

use super::Need;
use crate::plugin::Plugin;

super::table! {
    it_has_a_name_and_a_version: [],
    it_is_ready: [],
    a_node_has_its_id_and_a_place: [Placed],
    places_are_advertised_where_a_node_has_one: [],
    it_advertises_what_the_suite_believes_of_it: [],
    the_spec_level_decides_which_health_is_advertised: [],
}

async fn it_has_a_name_and_a_version(plugin: &Plugin) {
    let info = plugin.a().identity().get_plugin_info(csi::GetPluginInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.name, "csi.hawser.dev");
    assert!(!info.vendor_version.is_empty());
    assert!(info.manifest.values().all(|value| !value.is_empty()), "{:?}", info.manifest);
}

async fn it_is_ready(plugin: &Plugin) {
    let probe = plugin.a().identity().probe(csi::ProbeRequest {}).await.unwrap().into_inner();
    assert_ne!(probe.ready, Some(false));
}

async fn a_node_has_its_id_and_a_place(plugin: &Plugin) {
    let info = plugin.a().node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.node_id, plugin.a().node_id());
    let is_unlimited = plugin.has(Need::Limited) && !plugin.has(Need::Few);
    assert_eq!(info.max_volumes_per_node == 0, is_unlimited, "no limit is configured");
    let segments = info.accessible_topology.unwrap().segments;
    assert!(segments.contains_key("csi.hawser.dev/local"), "{segments:?}");
}

async fn places_are_advertised_where_a_node_has_one(plugin: &Plugin) {
    use csi::plugin_capability::{Type, service};
    let request = csi::GetPluginCapabilitiesRequest {};
    let answer = plugin.a().identity().get_plugin_capabilities(request).await.unwrap().into_inner();
    let is_constraint = |capability: &csi::PluginCapability| matches!(&capability.r#type, Some(Type::Service(service)) if service.r#type() == service::Type::VolumeAccessibilityConstraints);
    let info = plugin.a().node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap().into_inner();
    // COs that are told of places refuse to use a node that has none.
    assert_eq!(answer.capabilities.iter().any(is_constraint), info.accessible_topology.is_some());
}

/// The controller's capabilities, without those of the spec level.
async fn controller(plugin: &Plugin) -> BTreeSet<ControllerType> {
    use csi::controller_service_capability::Type;
    let request = csi::ControllerGetCapabilitiesRequest {};
    let answer = plugin.a().controller().controller_get_capabilities(request).await.unwrap().into_inner();
    let found: Vec<ControllerType> = answer
        .capabilities
        .into_iter()
        .map(|capability| match capability.r#type.unwrap() {
            Type::Rpc(rpc) => rpc.r#type(),
        })
        .collect();
    let unique: BTreeSet<ControllerType> = found.iter().copied().collect();
    assert_eq!(found.len(), unique.len(), "a capability is advertised twice: {found:?}");
    unique
}

async fn node(plugin: &Plugin) -> BTreeSet<NodeType> {
    use csi::node_service_capability::Type;
    let answer = plugin.a().node().node_get_capabilities(csi::NodeGetCapabilitiesRequest {}).await.unwrap().into_inner();
    answer
        .capabilities
        .into_iter()
        .map(|capability| match capability.r#type.unwrap() {
            Type::Rpc(rpc) => rpc.r#type(),
        })
        .collect()
}

async fn it_advertises_what_the_suite_believes_of_it(plugin: &Plugin) {
    use ControllerType::*;
    let all: &[ControllerType] = &[
        CreateDeleteVolume,
        PublishUnpublishVolume,
        ListVolumes,
        ExpandVolume,
        ListVolumesPublishedNodes,
        VolumeCondition,
        GetVolume,
        SingleNodeMultiWriter,
    ];
    let by_need: [(Need, &[ControllerType]); 4] = [
        (Need::Room, &[GetCapacity]),
        (Need::Cut, &[CreateDeleteSnapshot, ListSnapshots, CloneVolume, GetSnapshot]),
        (Need::ReadOnly, &[PublishReadonly]),
        (Need::Modify, &[ModifyVolume]),
    ];
    let more = by_need.iter().filter(|(need, _)| plugin.has(*need)).flat_map(|(_, types)| *types);
    assert_eq!(controller(plugin).await, all.iter().chain(more).copied().collect());
    let groups = plugin.a().groups().group_controller_get_capabilities(csi::GroupControllerGetCapabilitiesRequest {}).await;
    let groups = groups.map(|answer| answer.into_inner().capabilities.len()).unwrap_or_default();
    assert_eq!(groups, usize::from(plugin.has(Need::Group)));
}

async fn the_spec_level_decides_which_health_is_advertised(plugin: &Plugin) {
    let (controller_before, node_before) = (controller(plugin).await, node(plugin).await);
    use NodeType::*;
    let expected = [StageUnstageVolume, GetVolumeStats, ExpandVolume, VolumeCondition, SingleNodeMultiWriter, VolumeMountGroup];
    assert_eq!(node_before, BTreeSet::from(expected));
    plugin.reconfigure(|settings| settings.spec_level = "1.13").await;
    let controller_after = controller(plugin).await;
    let added: Vec<_> = controller_after.difference(&controller_before).collect();
    let removed: Vec<_> = controller_before.difference(&controller_after).collect();
    assert_eq!(added, [&ControllerType::GetVolumeHealth, &ControllerType::ListVolumeHealth]);
    assert_eq!(removed, [&ControllerType::VolumeCondition]);
    let expected = [
        StageUnstageVolume,
        GetVolumeStats,
        ExpandVolume,
        SingleNodeMultiWriter,
        VolumeMountGroup,
        GetVolumeHealth,
        GetStorageHealth,
    ];
    assert_eq!(node(plugin).await, BTreeSet::from(expected));
}

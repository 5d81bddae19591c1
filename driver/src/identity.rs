//! CSI's Identity service. It answers from memory, whatever the backends are doing: a Probe that fails because a storage system
//! is away would have the plugin killed, which mends nothing.

use std::collections::BTreeMap;

use hawser_proto::csi;
use hawser_volume::Expansion;
use tonic::{Request, Response, Status, async_trait};

use crate::config::PluginName;

/// What the plugin says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: PluginName,
    /// More about it, for people.
    pub manifest: BTreeMap<String, String>,
    /// Whether the Controller service is served.
    pub controller: bool,
    /// Whether the GroupController service is served.
    pub groups: bool,
    /// Whether some volumes can be reached from some places only. A CO that is told so wants a place of each node (external-provisioner
    /// refuses to provision for a node without one), so it is not said where no backend has any.
    pub places: bool,
    /// How volumes can grow.
    pub expansions: Vec<Expansion>,
}

#[async_trait]
impl csi::identity_server::Identity for Identity {
    async fn get_plugin_info(
        &self,
        _request: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: self.name.to_string(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: self.manifest.clone(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _request: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        use csi::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
        let mut kinds = Vec::new();
        if self.places {
            kinds.push(service_capability(service::Type::VolumeAccessibilityConstraints));
        }
        if self.controller {
            kinds.push(service_capability(service::Type::ControllerService));
        }
        if self.groups {
            kinds.push(service_capability(service::Type::GroupControllerService));
        }
        fn service_capability(kind: service::Type) -> Type {
            Type::Service(Service { r#type: kind.into() })
        }
        for expansion in &self.expansions {
            let kind = match expansion {
                Expansion::Online => volume_expansion::Type::Online,
                Expansion::Offline => volume_expansion::Type::Offline,
            };
            kinds.push(Type::VolumeExpansion(VolumeExpansion { r#type: kind.into() }));
        }
        let capabilities = kinds.into_iter().map(|kind| csi::PluginCapability { r#type: Some(kind) }).collect();
        Ok(Response::new(csi::GetPluginCapabilitiesResponse { capabilities }))
    }

    async fn probe(&self, _request: Request<csi::ProbeRequest>) -> Result<Response<csi::ProbeResponse>, Status> {
        Ok(Response::new(csi::ProbeResponse { ready: Some(true) }))
    }
}

//! A CSI Node service for Mesos' `volume/csi` isolator, which calls Node RPCs and no Controller RPC.
//!
//! What a Controller would do happens here: NodeStageVolume makes a volume by its name when its context says so, attaches it, and
//! stages it; NodeUnstageVolume takes it off this node again. The answers are those that a real Mesos needs:
//!
//! * the same Stage and Publish again, also at the same time, are success (each further container of an agent repeats them);
//! * a Stage that takes longer than Mesos waits goes on, and the next one finds it done;
//! * an Unpublish or Unstage of what is not here is success, and never says so while anything is mounted at the path.

use hawser_proto::csi;
use hawser_proto::csi::identity_server::Identity;
use hawser_proto::csi::node_server::Node;
use hawser_volume::{Result, request};
use tonic::{Request, Response, Status, async_trait};

use crate::declare::context;
use crate::driver::Context;
use crate::lifecycle::{Lifecycle, Request as Wanted};

/// The services of the endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Isolator {
    lifecycle: Lifecycle,
}

impl Isolator {
    /// Services over `lifecycle`.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle }
    }
}

/// What a Stage or Publish asks for.
fn wanted(
    id: &str,
    context: &Context,
    capability: Option<&csi::VolumeCapability>,
    staging: &str,
    read_only: bool,
) -> Result<Wanted> {
    request::required("volume_id", id)?;
    let staging = request::path("staging_target_path", staging)?;
    let access = request::access(capability)?;
    let read_only = read_only || access.mode.is_read_only();
    let (claim, warnings) = context::claim(id, context, access, read_only).into_result()?;
    for warning in warnings {
        tracing::warn!(volume = id, "{warning}");
    }
    Ok(Wanted { name: id.to_owned(), claim, staging })
}

#[async_trait]
impl Node for Isolator {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let wanted = wanted(
            &request.volume_id,
            &request.volume_context,
            request.volume_capability.as_ref(),
            &request.staging_target_path,
            false,
        )?;
        self.lifecycle.stage(wanted, deadline).await?;
        Ok(Response::new(csi::NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        request::required("volume_id", &request.volume_id)?;
        let staging = request::path("staging_target_path", &request.staging_target_path)?;
        self.lifecycle.unstage(&request.volume_id, &staging, deadline).await?;
        Ok(Response::new(csi::NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let target = request::path("target_path", &request.target_path)?;
        // What is published read-only may be staged for writing: the flag is this target's alone.
        let wanted = wanted(
            &request.volume_id,
            &request.volume_context,
            request.volume_capability.as_ref(),
            &request.staging_target_path,
            false,
        )?;
        self.lifecycle.publish(wanted, target, request.readonly, deadline).await?;
        Ok(Response::new(csi::NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        request::required("volume_id", &request.volume_id)?;
        let target = request::path("target_path", &request.target_path)?;
        self.lifecycle.unpublish(&request.volume_id, &target, deadline).await?;
        Ok(Response::new(csi::NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        use csi::node_service_capability::{Rpc, Type, rpc};
        let stage = Type::Rpc(Rpc { r#type: rpc::Type::StageUnstageVolume.into() });
        let capabilities = vec![csi::NodeServiceCapability { r#type: Some(stage) }];
        Ok(Response::new(csi::NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(&self, _: Request<csi::NodeGetInfoRequest>) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        let node_id = self.lifecycle.driver().node_id.clone();
        Ok(Response::new(csi::NodeGetInfoResponse { node_id, ..Default::default() }))
    }

    async fn node_get_volume_stats(
        &self,
        _: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        Err(not_here("NodeGetVolumeStats"))
    }

    async fn node_get_volume_health(
        &self,
        _: Request<csi::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<csi::NodeGetVolumeHealthResponse>, Status> {
        Err(not_here("NodeGetVolumeHealth"))
    }

    async fn node_expand_volume(
        &self,
        _: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        Err(not_here("NodeExpandVolume"))
    }
}

fn not_here(method: &str) -> Status {
    Status::unimplemented(format!("{method}: this is the endpoint for Mesos' volume/csi isolator; ask the driver's own endpoint"))
}

#[async_trait]
impl Identity for Isolator {
    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        let driver = self.lifecycle.driver();
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: driver.name.clone(),
            vendor_version: driver.version.clone(),
            ..Default::default()
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(csi::GetPluginCapabilitiesResponse::default()))
    }

    /// Always ready: a Mesos agent asks once, and gives the plugin up for good after an error.
    async fn probe(&self, _: Request<csi::ProbeRequest>) -> Result<Response<csi::ProbeResponse>, Status> {
        Ok(Response::new(csi::ProbeResponse { ready: Some(true) }))
    }
}

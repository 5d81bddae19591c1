//! A stand-in for a CSI plugin with a Node service: volumes are directories, and what was asked is recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::unfold;
use hawser_proto::csi;
use hawser_proto::csi::identity_server::{Identity, IdentityServer};
use hawser_proto::csi::node_server::{Node, NodeServer};
use hawser_tests::kernel::{mount_at, mounts_below};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};

/// The plugin.
#[derive(Debug)]
pub struct CsiPlugin {
    service: Service,
    // Of its own, so that it goes with all its connections.
    runtime: Option<Runtime>,
}

#[derive(Debug, Clone)]
struct Service {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    contexts: Vec<BTreeMap<String, String>>,
    refusal: Option<String>,
}

impl CsiPlugin {
    /// Serves `socket`; its volumes are directories in `directory`.
    pub fn start(socket: &Path, directory: &Path) -> Self {
        let service = Service { directory: directory.to_owned(), state: Arc::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = UnixListener::bind(socket).unwrap();
        let incoming = unfold(listener, async |listener| Some((listener.accept().await.map(|(stream, _)| stream), listener)));
        let server =
            Server::builder().add_service(IdentityServer::new(service.clone())).add_service(NodeServer::new(service.clone()));
        runtime.spawn(async move { server.serve_with_incoming(Box::pin(incoming)).await.unwrap() });
        drop(entered);
        Self { service, runtime: Some(runtime) }
    }

    /// Has the next NodeStageVolume refused with these words.
    pub fn refuse_to_stage(&self, words: &str) {
        self.service.state().refusal = Some(words.to_owned());
    }

    /// Takes away what is published below `targets`, as the loss of the machine does that the plugin is on.
    pub fn lose_mounts(targets: &Path) {
        for mount in mounts_below(targets).iter().rev().filter(|mount| mount.point != targets) {
            unmount(&mount.point, UnmountFlags::NOFOLLOW).unwrap();
        }
    }

    /// The RPCs since the last time, each with its volume if it has one.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.service.state().asked)
    }

    /// The contexts of the volumes that were staged since the last time.
    pub fn contexts(&self) -> Vec<BTreeMap<String, String>> {
        std::mem::take(&mut self.service.state().contexts)
    }
}

impl Drop for CsiPlugin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, asked: String) {
        self.state().asked.push(asked);
    }
}

#[async_trait]
impl Identity for Service {
    async fn probe(&self, _: Request<csi::ProbeRequest>) -> Result<Response<csi::ProbeResponse>, Status> {
        self.note("Probe".to_owned());
        Ok(Response::new(Default::default()))
    }

    async fn get_plugin_info(
        &self,
        _: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        self.note("GetPluginInfo".to_owned());
        Ok(Response::new(csi::GetPluginInfoResponse {
            name: "stand-in.example.org".to_owned(),
            vendor_version: "1".to_owned(),
            ..Default::default()
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        self.note("GetPluginCapabilities".to_owned());
        Ok(Response::new(Default::default()))
    }
}

#[async_trait]
impl Node for Service {
    async fn node_get_capabilities(
        &self,
        _: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        use csi::node_service_capability::{Rpc, Type, rpc};
        self.note("NodeGetCapabilities".to_owned());
        let stage = Type::Rpc(Rpc { r#type: rpc::Type::StageUnstageVolume.into() });
        let capabilities = vec![csi::NodeServiceCapability { r#type: Some(stage) }];
        Ok(Response::new(csi::NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.note(format!("NodeStageVolume {}", request.volume_id));
        let mut state = self.state();
        state.contexts.push(request.volume_context);
        state
            .refusal
            .take()
            .map_or_else(|| Ok(Response::new(Default::default())), |words| Err(Status::failed_precondition(words)))
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.note(format!("NodePublishVolume {}", request.volume_id));
        let (volume, target) = (self.directory.join(&request.volume_id), Path::new(&request.target_path));
        fs::create_dir_all(&volume).unwrap();
        fs::create_dir_all(target).unwrap();
        if mount_at(target).is_none() {
            mount_bind(&volume, target).unwrap();
        }
        Ok(Response::new(Default::default()))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.note(format!("NodeUnpublishVolume {}", request.volume_id));
        let target = Path::new(&request.target_path);
        while mount_at(target).is_some() {
            unmount(target, UnmountFlags::NOFOLLOW).map_err(|error| Status::internal(error.to_string()))?;
        }
        let _ = fs::remove_dir(target);
        Ok(Response::new(Default::default()))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        self.note(format!("NodeUnstageVolume {}", request.into_inner().volume_id));
        Ok(Response::new(Default::default()))
    }
}

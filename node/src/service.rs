//! CSI's Node service: proto in, checked and put in line, carried out on a thread that may block.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hawser_host::Host;
use hawser_proto::csi;
use hawser_volume::queue::{Calls, Failures, Key, Queue};
use hawser_volume::{
    BackendName, Deadline, Error, Kind, NodeId, Result, Secrets, Segments, SizeRange, SpecLevel, VolumeId, parameters, request,
};
use prost::Message;
use tonic::{Request, Response, Status, async_trait};

use crate::attach::{Attach, Attacher};
use crate::expand::{self, Expand};
use crate::publish::{self, Publish};
use crate::stage::{self, Stage};
use crate::stats::{self, Size, Stats};

/// How long the work of one call may take, whether or not its caller still waits: mkfs and fsck of a large volume included.
const WORK: Duration = Duration::from_secs(600);

/// How long statistics may take. A filesystem that does not answer by then is reported as such.
const STATS: Duration = Duration::from_secs(5);

/// Who this node is.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The id that NodeGetInfo answers.
    pub id: NodeId,
    /// What is advertised.
    pub level: SpecLevel,
}

/// The node service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    config: NodeConfig,
    pub(crate) backends: BTreeMap<BackendName, Arc<dyn Attacher>>,
    pub(crate) host: Arc<dyn Host>,
    failures: Failures,
    stage: Calls<csi::NodeStageVolumeResponse>,
    unstage: Calls<csi::NodeUnstageVolumeResponse>,
    publish: Calls<csi::NodePublishVolumeResponse>,
    unpublish: Calls<csi::NodeUnpublishVolumeResponse>,
    expand: Calls<csi::NodeExpandVolumeResponse>,
}

impl Node {
    /// The service over `backends`, whose calls take their turns in `queue`; makes the node known to each backend.
    pub fn new(
        config: NodeConfig,
        backends: BTreeMap<BackendName, Arc<dyn Attacher>>,
        host: Arc<dyn Host>,
        queue: &Queue,
    ) -> Result<Self> {
        for (name, backend) in &backends {
            backend
                .register(&config.id)
                .map_err(|e| e.while_doing(format_args!("register node {} with backend {name}", config.id)))?;
        }
        let inner = Inner {
            config,
            backends,
            host,
            failures: queue.failures().clone(),
            stage: Calls::new(queue, "NodeStageVolume"),
            unstage: Calls::new(queue, "NodeUnstageVolume"),
            publish: Calls::new(queue, "NodePublishVolume"),
            unpublish: Calls::new(queue, "NodeUnpublishVolume"),
            expand: Calls::new(queue, "NodeExpandVolume"),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    fn attacher(&self, volume: &VolumeId) -> Result<Arc<dyn Attacher>> {
        self.backends.get(volume.backend()).cloned().ok_or_else(|| {
            let names: Vec<&str> = self.backends.keys().map(BackendName::as_str).collect();
            Error::precondition(format!(
                "backend {} is not configured on this node; configured are {}",
                volume.backend(),
                names.join(", ")
            ))
        })
    }

    fn keys(&self, volume: &VolumeId) -> [Key; 1] {
        [self.key(&volume.to_string())]
    }

    /// Two node services in one process (as in `hawser demo`) are two nodes; their calls do not wait for each other.
    fn key(&self, volume: &str) -> Key {
        Key::within("node", self.config.id.to_string(), volume)
    }

    fn attach(&self, volume: VolumeId) -> Attach {
        Attach {
            volume,
            node: self.config.id.clone(),
            publish_context: BTreeMap::new(),
            volume_context: BTreeMap::new(),
            mount_flags: Vec::new(),
            read_only: false,
            secrets: Secrets::default(),
            patience: Deadline::after(WORK),
            deadline: Deadline::after(WORK),
        }
    }
}

/// Runs `work` on a thread where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("the call panicked; see the log").caused_by(error)),
    }
}

impl Inner {
    async fn stage(&self, request: csi::NodeStageVolumeRequest, deadline: Deadline) -> Result<csi::NodeStageVolumeResponse> {
        let encoded = request.encode_to_vec();
        request::required("volume_id", &request.volume_id)?;
        let path = request::path("staging_target_path", &request.staging_target_path)?;
        let access = request::access(request.volume_capability.as_ref())?;
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        parameters::check_map("publish_context", &request.publish_context)?;
        parameters::check_map("volume_context", &request.volume_context)?;
        let attacher = self.attacher(&volume)?;
        let keys = self.keys(&volume);
        let attach = Attach {
            publish_context: request.publish_context,
            volume_context: request.volume_context,
            mount_flags: access.mount().map(|mount| mount.flags.clone()).unwrap_or_default(),
            read_only: access.mode.is_read_only(),
            secrets: request::secrets(request.secrets)?,
            patience: deadline,
            ..self.attach(volume)
        };
        let (host, stage) = (Arc::clone(&self.host), Stage { attach, access, path });
        let work =
            blocking(move || stage::stage(host.as_ref(), attacher.as_ref(), &stage).map(|()| csi::NodeStageVolumeResponse {}));
        self.stage.run(keys, &encoded, deadline, work).await
    }

    async fn unstage(
        &self,
        request: csi::NodeUnstageVolumeRequest,
        deadline: Deadline,
    ) -> Result<csi::NodeUnstageVolumeResponse> {
        let encoded = request.encode_to_vec();
        request::required("volume_id", &request.volume_id)?;
        let path = request::path("staging_target_path", &request.staging_target_path)?;
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        let attacher = self.attacher(&volume)?;
        let keys = self.keys(&volume);
        let (host, attach) = (Arc::clone(&self.host), self.attach(volume));
        let work = blocking(move || {
            stage::unstage(host.as_ref(), attacher.as_ref(), &attach, &path).map(|()| csi::NodeUnstageVolumeResponse {})
        });
        self.unstage.run(keys, &encoded, deadline, work).await
    }

    async fn publish(
        &self,
        request: csi::NodePublishVolumeRequest,
        deadline: Deadline,
    ) -> Result<csi::NodePublishVolumeResponse> {
        let encoded = request.encode_to_vec();
        request::required("volume_id", &request.volume_id)?;
        let target = request::path("target_path", &request.target_path)?;
        let access = request::access(request.volume_capability.as_ref())?;
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        if request.staging_target_path.is_empty() {
            // CSI spec, NodePublishVolume: FAILED_PRECONDITION when the plugin stages and no staging path is set.
            return Err(Error::precondition(
                "staging_target_path is required: this plugin stages volumes before it publishes them",
            ));
        }
        let staging = request::path("staging_target_path", &request.staging_target_path)?;
        parameters::check_map("publish_context", &request.publish_context)?;
        parameters::check_map("volume_context", &request.volume_context)?;
        let attacher = self.attacher(&volume)?;
        let keys = self.keys(&volume);
        let host = Arc::clone(&self.host);
        let publish = Publish { volume, access, staging, target, read_only: request.readonly };
        let work = blocking(move || {
            publish::publish(host.as_ref(), attacher.as_ref(), &publish).map(|()| csi::NodePublishVolumeResponse {})
        });
        self.publish.run(keys, &encoded, deadline, work).await
    }

    async fn unpublish(
        &self,
        request: csi::NodeUnpublishVolumeRequest,
        deadline: Deadline,
    ) -> Result<csi::NodeUnpublishVolumeResponse> {
        let encoded = request.encode_to_vec();
        request::required("volume_id", &request.volume_id)?;
        let target = request::path("target_path", &request.target_path)?;
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        let attacher = self.attacher(&volume)?;
        let keys = self.keys(&volume);
        let host = Arc::clone(&self.host);
        let work = blocking(move || {
            publish::unpublish(host.as_ref(), attacher.as_ref(), &volume, &target).map(|()| csi::NodeUnpublishVolumeResponse {})
        });
        self.unpublish.run(keys, &encoded, deadline, work).await
    }

    async fn expand(&self, request: csi::NodeExpandVolumeRequest, deadline: Deadline) -> Result<csi::NodeExpandVolumeResponse> {
        let encoded = request.encode_to_vec();
        request::required("volume_id", &request.volume_id)?;
        let path = PathBuf::from(request::required("volume_path", &request.volume_path)?);
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        let range = request.capacity_range.map(|range| SizeRange::new(range.required_bytes, range.limit_bytes)).transpose()?;
        let attacher = self.attacher(&volume)?;
        let keys = self.keys(&volume);
        let (host, expand) = (Arc::clone(&self.host), Expand { attach: self.attach(volume), path, range });
        let work = blocking(move || {
            let size = expand::expand(host.as_ref(), attacher.as_ref(), &expand)?;
            Ok(csi::NodeExpandVolumeResponse { capacity_bytes: size.to_proto() })
        });
        self.expand.run(keys, &encoded, deadline, work).await
    }

    /// Never waits for the volume's turn: what hangs there must not hang here.
    async fn stats(&self, volume: VolumeId, path: PathBuf) -> Result<Stats> {
        let attacher = self.attacher(&volume)?;
        let (host, asked) = (Arc::clone(&self.host), volume.clone());
        let work = blocking(move || stats::stats(host.as_ref(), attacher.as_ref(), &asked, &path));
        match tokio::time::timeout(STATS, work).await {
            Ok(stats) => stats,
            Err(_) => Err(Error::unavailable(format!("volume {volume} has not answered for {} s", STATS.as_secs()))),
        }
    }

    async fn get_stats(&self, request: csi::NodeGetVolumeStatsRequest) -> Result<csi::NodeGetVolumeStatsResponse> {
        request::required("volume_id", &request.volume_id)?;
        let path = PathBuf::from(request::required("volume_path", &request.volume_path)?);
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        let stats = self.stats(volume, path).await?;
        let usage = match stats.size {
            // What the server does not know any more has no size.
            None => Vec::new(),
            Some(Size::Device(size)) => vec![csi::VolumeUsage {
                total: size.to_proto(),
                unit: csi::volume_usage::Unit::Bytes.into(),
                ..Default::default()
            }],
            Some(Size::Filesystem(usage)) => {
                let space = |space: hawser_host::usage::Space, unit: csi::volume_usage::Unit| csi::VolumeUsage {
                    available: to_proto(space.available),
                    total: to_proto(space.total),
                    used: to_proto(space.used),
                    unit: unit.into(),
                };
                vec![space(usage.bytes, csi::volume_usage::Unit::Bytes), space(usage.inodes, csi::volume_usage::Unit::Inodes)]
            }
        };
        let condition = match stats.trouble {
            Some(trouble) => csi::VolumeCondition { abnormal: true, message: trouble.message() },
            None => csi::VolumeCondition { abnormal: false, message: "healthy".to_owned() },
        };
        Ok(csi::NodeGetVolumeStatsResponse { usage, volume_condition: Some(condition) })
    }

    async fn volume_health(&self, request: csi::NodeGetVolumeHealthRequest) -> Result<csi::NodeGetVolumeHealthResponse> {
        let volume: VolumeId = request::id("volume_id", &request.volume_id)?;
        let text =
            if request.volume_publish_path.is_empty() { &request.staging_target_path } else { &request.volume_publish_path };
        let path = PathBuf::from(request::required("volume_publish_path or staging_target_path", text)?);
        let trouble = match self.stats(volume.clone(), path).await {
            Ok(stats) => stats.trouble.map(|trouble| (trouble.reason(), trouble.message())),
            Err(error) if error.kind() == Kind::Unavailable => Some(("NoAnswer", error.to_string())),
            Err(error) => return Err(error),
        };
        let health_statuses = trouble
            .into_iter()
            .map(|(reason, message)| csi::volume_health::VolumeHealthEntry {
                status: csi::VolumeHealthErrorType::Inaccessible.into(),
                reason: reason.to_owned(),
                message,
            })
            .collect();
        Ok(csi::NodeGetVolumeHealthResponse {
            volume_health: Some(csi::VolumeHealth { volume_id: volume.to_string(), health_statuses }),
        })
    }

    fn capabilities(&self) -> csi::NodeGetCapabilitiesResponse {
        use csi::node_service_capability::{Rpc, Type, rpc};
        let mut types = vec![
            rpc::Type::StageUnstageVolume,
            rpc::Type::GetVolumeStats,
            rpc::Type::ExpandVolume,
            rpc::Type::SingleNodeMultiWriter,
            rpc::Type::VolumeMountGroup,
        ];
        match self.config.level {
            SpecLevel::V1_12 => types.push(rpc::Type::VolumeCondition),
            SpecLevel::V1_13 => types.extend([rpc::Type::GetVolumeHealth, rpc::Type::GetStorageHealth]),
        }
        let capability = |kind: rpc::Type| csi::NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        csi::NodeGetCapabilitiesResponse { capabilities: types.into_iter().map(capability).collect() }
    }

    fn info(&self) -> csi::NodeGetInfoResponse {
        let segments: Segments = self.backends.values().flat_map(|backend| backend.place()).collect();
        // The CO counts the volumes of all backends together, so only a limit that all of them share would be true; zero means
        // that the CO need not count.
        let limits: Vec<Option<u32>> = self.backends.values().map(|backend| backend.max_volumes()).collect();
        let total: Option<i64> = limits.into_iter().map(|limit| limit.map(i64::from)).sum();
        csi::NodeGetInfoResponse {
            node_id: self.config.id.to_string(),
            max_volumes_per_node: total.unwrap_or(0),
            accessible_topology: (!segments.is_empty()).then_some(csi::Topology { segments }),
        }
    }
}

fn to_proto(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Answers or reports.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(Status::from)
}

impl Node {
    /// Answers or reports; a call that was refused before it was put in line is on record too.
    fn noted<T>(&self, key: Key, method: &'static str, result: Result<T>) -> Result<Response<T>, Status> {
        if let Err(error) = &result {
            self.inner.failures.refused([key], method, error);
        }
        answer(result)
    }
}

#[async_trait]
impl csi::node_server::Node for Node {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let key = self.inner.key(&request.volume_id);
        let answered = self.inner.stage(request, deadline).await;
        self.noted(key, "NodeStageVolume", answered)
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let key = self.inner.key(&request.volume_id);
        let answered = self.inner.unstage(request, deadline).await;
        self.noted(key, "NodeUnstageVolume", answered)
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let key = self.inner.key(&request.volume_id);
        let answered = self.inner.publish(request, deadline).await;
        self.noted(key, "NodePublishVolume", answered)
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let key = self.inner.key(&request.volume_id);
        let answered = self.inner.unpublish(request, deadline).await;
        self.noted(key, "NodeUnpublishVolume", answered)
    }

    async fn node_expand_volume(
        &self,
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        let deadline = request::deadline(&request);
        let request = request.into_inner();
        let key = self.inner.key(&request.volume_id);
        let answered = self.inner.expand(request, deadline).await;
        self.noted(key, "NodeExpandVolume", answered)
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        answer(self.inner.get_stats(request.into_inner()).await)
    }

    async fn node_get_capabilities(
        &self,
        _request: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        Ok(Response::new(self.inner.capabilities()))
    }

    async fn node_get_info(
        &self,
        _request: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        Ok(Response::new(self.inner.info()))
    }

    async fn node_get_volume_health(
        &self,
        request: Request<csi::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<csi::NodeGetVolumeHealthResponse>, Status> {
        answer(self.inner.volume_health(request.into_inner()).await)
    }

    async fn node_get_storage_health(
        &self,
        _request: Request<csi::NodeGetStorageHealthRequest>,
    ) -> Result<Response<csi::NodeGetStorageHealthResponse>, Status> {
        Ok(Response::new(csi::NodeGetStorageHealthResponse::default()))
    }
}

//! A CSI driver, as its client sees it: ours or anybody's.
//!
//! Nothing here knows whose driver it is. What it can do is asked once, when the bridge has connected; what it cannot do is left
//! out, as the spec tells a CO to (a driver without PUBLISH_UNPUBLISH_VOLUME needs no ControllerPublishVolume, and so on).
//!
//! The bridge asks again for as long as its own deadline allows when a driver answers UNAVAILABLE, or ABORTED, which means that
//! another call for the volume is under way (CSI spec, error scheme): its callers, Mesos and Docker, give up at the first error.

/// A function that makes one call with a client of its own.
macro_rules! rpc {
    ($client:expr, $method:ident) => {
        |request| {
            let mut client = $client;
            async move { client.$method(request).await }
        }
    };
}

mod ask;
mod by_hand;
mod left;
mod retry;

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::join_all;
use hawser_proto::csi;
use hawser_proto::csi::controller_client::ControllerClient;
use hawser_proto::csi::identity_client::IdentityClient;
use hawser_proto::csi::node_client::NodeClient;
use hawser_proto::hawser::GetHostStateRequest;
use hawser_proto::hawser::get_host_state_response::State;
use hawser_proto::hawser::hosts_client::HostsClient;
use hawser_volume::secrets::HOLDER_IS_DEAD;
use hawser_volume::{Bytes, Deadline, Error, HostState, Kind, Result};
use tonic::transport::{Channel, Endpoint};

pub use ask::Abilities;
use ask::Own;
pub use by_hand::status;
use retry::{Patience, calling, calling_with};

/// A string map, as CSI has several of them.
pub type Context = BTreeMap<String, String>;

/// How many volumes are asked for at once when all of them are looked through.
const PAGE: i32 = 500;

/// A driver that has been asked what it can do.
#[derive(Debug, Clone)]
pub struct Driver {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The id of this node, as its Controller service knows it.
    pub node_id: String,
    /// What it can do.
    pub can: Abilities,
    own: Option<Own>,
    controller: Channel,
    node: Channel,
}

/// A volume that is to be used on this node, in the words of CSI.
#[derive(Debug, Clone)]
pub struct Use {
    /// The volume.
    pub id: String,
    /// What its creator said of it.
    pub context: Context,
    /// How it is used.
    pub capability: csi::VolumeCapability,
    /// Without writing.
    pub read_only: bool,
    /// What attaching it answered.
    pub publish_context: Context,
    /// Where it is staged.
    pub staging: PathBuf,
}

/// A channel to the driver that listens at `endpoint` (`unix:///path/csi.sock` or a path). Connects when it is first used, and
/// again after the driver was restarted.
pub fn channel(endpoint: &str) -> Result<Channel> {
    let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:")).unwrap_or(endpoint);
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("endpoint {endpoint:?}: give unix:///path/csi.sock or an absolute path")));
    }
    let endpoint = Endpoint::try_from(format!("unix://{path}"))
        .map_err(|error| Error::invalid(format!("endpoint {endpoint:?}")).caused_by(error))?;
    Ok(endpoint.connect_lazy())
}

impl Driver {
    /// A driver behind these channels (the same twice if one process serves both halves). Waits until it answers, or until
    /// `deadline`. `Unsupported` without a Node service.
    pub async fn connect(controller: Channel, node: Channel, deadline: Deadline) -> Result<Self> {
        let driver = Self::connect_any(controller, node, deadline).await?;
        if !driver.can.node {
            return Err(Error::unsupported(format!("driver {} serves no Node service on this socket", driver.name)));
        }
        Ok(driver)
    }

    /// The same without the Node service, if there is none: `node_id` is empty then.
    pub async fn connect_any(controller: Channel, node: Channel, deadline: Deadline) -> Result<Self> {
        let asked = ask::ask(&controller, &node, deadline).await?;
        let ask::Asked { name, version, node_id, own, can } = asked;
        Ok(Self { name, version, node_id, own, can, controller, node })
    }

    /// Whether it is ready, as its Identity service says.
    pub async fn probe(&self, deadline: Deadline) -> Result<()> {
        let client = IdentityClient::new(self.node.clone());
        let answer =
            calling("Probe", "the driver", deadline, csi::ProbeRequest {}, async |request| client.clone().probe(request).await);
        match answer.await?.ready {
            Some(false) => Err(Error::unavailable(format!("driver {} says that it is not ready", self.name))),
            _ => Ok(()),
        }
    }

    fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.controller.clone())
    }

    fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.node.clone())
    }

    /// CreateVolume: makes the volume, or finds the one of this name.
    pub async fn create(&self, request: csi::CreateVolumeRequest, deadline: Deadline) -> Result<csi::Volume> {
        if !self.can.create {
            return Err(Error::unsupported(format!(
                "driver {} cannot make volumes (CREATE_DELETE_VOLUME); make {:?} by its own means and name it by its id",
                self.name, request.name
            )));
        }
        let name = request.name.clone();
        let answer = calling("CreateVolume", &name, deadline, request, rpc!(self.controller(), create_volume));
        let volume = answer.await?.volume;
        volume.ok_or_else(|| Error::internal(format!("CreateVolume {name}: driver {} answered without a volume", self.name)))
    }

    /// GetCapacity: what is free for volumes of these parameters and this use; nothing when the driver cannot tell.
    pub async fn capacity(
        &self,
        capability: csi::VolumeCapability,
        parameters: Context,
        deadline: Deadline,
    ) -> Result<Option<Bytes>> {
        if !self.can.capacity {
            return Ok(None);
        }
        let request = csi::GetCapacityRequest { volume_capabilities: vec![capability], parameters, accessible_topology: None };
        let answer = calling("GetCapacity", "of a profile", deadline, request, rpc!(self.controller(), get_capacity)).await?;
        let bytes = u64::try_from(answer.available_capacity);
        let wrong = |_| Error::internal(format!("GetCapacity: driver {} says {}", self.name, answer.available_capacity));
        bytes.map(|bytes| Some(Bytes::new(bytes))).map_err(wrong)
    }

    /// DeleteVolume.
    pub async fn delete(&self, id: &str, deadline: Deadline) -> Result<()> {
        let request = csi::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
        calling("DeleteVolume", id, deadline, request, rpc!(self.controller(), delete_volume)).await.map(drop)
    }

    /// ControllerPublishVolume to this node; nothing to do for a driver without it.
    pub async fn attach(&self, volume: &Use, deadline: Deadline) -> Result<Context> {
        self.attach_to(volume, &self.node_id, deadline).await
    }

    /// ControllerPublishVolume to `node`; nothing to do for a driver without it.
    pub async fn attach_to(&self, volume: &Use, node: &str, deadline: Deadline) -> Result<Context> {
        if !self.can.attach {
            return Ok(Context::new());
        }
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: volume.id.clone(),
            node_id: node.to_owned(),
            volume_capability: Some(volume.capability.clone()),
            readonly: volume.read_only && self.can.attach_read_only,
            volume_context: volume.context.clone(),
            ..Default::default()
        };
        let answer =
            calling("ControllerPublishVolume", &volume.id, deadline, request, rpc!(self.controller(), controller_publish_volume));
        Ok(answer.await?.publish_context)
    }

    /// ControllerUnpublishVolume from `node`; nothing to do for a driver without it.
    pub async fn detach(&self, id: &str, node: &str, deadline: Deadline) -> Result<()> {
        self.detach_with(id, node, Context::new(), deadline).await
    }

    /// The same from a node that was proved dead. Hawser's own driver is told so, and may then use force where its storage system
    /// would wait for the node; other drivers know no such word.
    pub async fn detach_dead(&self, id: &str, node: &str, deadline: Deadline) -> Result<()> {
        let told = self.is_own().then(|| (HOLDER_IS_DEAD.to_owned(), "true".to_owned()));
        self.detach_with(id, node, told.into_iter().collect(), deadline).await
    }

    async fn detach_with(&self, id: &str, node: &str, secrets: Context, deadline: Deadline) -> Result<()> {
        if !self.can.attach {
            return Ok(());
        }
        let request = csi::ControllerUnpublishVolumeRequest { volume_id: id.to_owned(), node_id: node.to_owned(), secrets };
        let call = rpc!(self.controller(), controller_unpublish_volume);
        gone_is_done(calling("ControllerUnpublishVolume", id, deadline, request, call).await.map(drop))
    }

    /// NodeStageVolume; nothing to do for a driver without it.
    pub async fn stage(&self, volume: &Use, deadline: Deadline) -> Result<()> {
        if !self.can.stage {
            return Ok(());
        }
        let request = csi::NodeStageVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context: volume.publish_context.clone(),
            staging_target_path: text(&volume.staging)?,
            volume_capability: Some(volume.capability.clone()),
            volume_context: volume.context.clone(),
            ..Default::default()
        };
        let call = rpc!(self.node(), node_stage_volume);
        calling("NodeStageVolume", &volume.id, deadline, request, call).await.map(drop)
    }

    /// NodeUnstageVolume; nothing to do for a driver without it. `Internal` when a mount is left there all the same.
    pub async fn unstage(&self, id: &str, staging: &std::path::Path, deadline: Deadline) -> Result<()> {
        if !self.can.stage {
            return Ok(());
        }
        let request = csi::NodeUnstageVolumeRequest { volume_id: id.to_owned(), staging_target_path: text(staging)? };
        let call = rpc!(self.node(), node_unstage_volume);
        gone_is_done(calling("NodeUnstageVolume", id, deadline, request, call).await.map(drop))?;
        left::nothing_at(staging, &self.name, "NodeUnstageVolume").await
    }

    /// NodePublishVolume at `target`.
    pub async fn publish(&self, volume: &Use, target: &std::path::Path, read_only: bool, deadline: Deadline) -> Result<()> {
        let request = csi::NodePublishVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context: volume.publish_context.clone(),
            staging_target_path: if self.can.stage { text(&volume.staging)? } else { String::new() },
            target_path: text(target)?,
            volume_capability: Some(volume.capability.clone()),
            readonly: read_only,
            volume_context: volume.context.clone(),
            ..Default::default()
        };
        let call = rpc!(self.node(), node_publish_volume);
        calling("NodePublishVolume", &volume.id, deadline, request, call).await.map(drop)
    }

    /// NodeUnpublishVolume from `target`. `Internal` when a mount is left there all the same.
    pub async fn unpublish(&self, id: &str, target: &std::path::Path, deadline: Deadline) -> Result<()> {
        let request = csi::NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path: text(target)? };
        let call = rpc!(self.node(), node_unpublish_volume);
        gone_is_done(calling("NodeUnpublishVolume", id, deadline, request, call).await.map(drop))?;
        left::nothing_at(target, &self.name, "NodeUnpublishVolume").await
    }

    /// The nodes that have a volume; nothing when the driver cannot tell.
    pub async fn holders(&self, id: &str, deadline: Deadline) -> Result<Option<Vec<String>>> {
        if self.can.get {
            let request = csi::ControllerGetVolumeRequest { volume_id: id.to_owned() };
            let call = rpc!(self.controller(), controller_get_volume);
            let answer = calling("ControllerGetVolume", id, deadline, request, call).await?;
            if let Some(status) = answer.status.filter(|_| self.can.list_nodes) {
                return Ok(Some(status.published_node_ids));
            }
        }
        if !self.can.list_nodes {
            return Ok(None);
        }
        let found = self.find(deadline, |volume| volume.volume_id == id).await?;
        Ok(Some(found.and_then(|entry| entry.status).map(|status| status.published_node_ids).unwrap_or_default()))
    }

    /// Whether the storage system of a volume knows that the host of `node` is up, or that it is not. Only Hawser's own driver is asked:
    /// CSI has no such call.
    pub async fn host_state(&self, id: &str, node: &str, deadline: Deadline) -> Result<HostState> {
        if !self.is_own() {
            return Ok(HostState::Unknown(format!(
                "CSI has no call by which driver {} could say whether a host is up",
                self.name
            )));
        }
        let request = GetHostStateRequest { volume_id: id.to_owned(), node_id: node.to_owned() };
        let call = rpc!(HostsClient::new(self.controller.clone()), get_host_state);
        let answer = calling("GetHostState", id, deadline, request, call).await?;
        Ok(match answer.state() {
            State::Alive => HostState::Alive(answer.reason),
            State::Dead => HostState::Dead(answer.reason),
            State::Unknown => HostState::Unknown(answer.reason),
        })
    }

    /// Every volume that the driver lists, with who has it.
    pub async fn list(&self, deadline: Deadline) -> Result<Vec<csi::list_volumes_response::Entry>> {
        let mut all = Vec::new();
        self.pages(Patience::Lasting, String::new(), deadline, |entries| {
            all.extend(entries);
            false
        })
        .await?;
        Ok(all)
    }

    /// Every volume of the backends that answer. Another driver than Hawser's own answers or does not, as one.
    pub async fn list_partly(&self, deadline: Deadline) -> Result<Partly<csi::list_volumes_response::Entry>> {
        self.partly(self.list(deadline), |backend| self.list_backend(backend, Patience::Short, deadline)).await
    }

    /// Every volume of one of [its backends](Self::backends), while others may be away.
    async fn list_backend(
        &self,
        backend: &str,
        patience: Patience,
        deadline: Deadline,
    ) -> Result<Vec<csi::list_volumes_response::Entry>> {
        let mut all = Vec::new();
        self.pages(patience, only(backend), deadline, |entries| {
            all.extend(entries);
            false
        })
        .await?;
        Ok(all)
    }

    /// What all of the driver says in one answer where it has one backend or is not Hawser's own, and else each backend. That one is away is
    /// an answer: the driver has waited for its storage already. An error when all are.
    async fn partly<'d, T, F: Future<Output = Result<Vec<T>>>>(
        &'d self,
        whole: impl Future<Output = Result<Vec<T>>>,
        one: impl Fn(&'d str) -> F,
    ) -> Result<Partly<T>> {
        let backends = self.backends();
        if backends.len() < 2 {
            return Ok(Partly { all: whole.await?, missing: Vec::new() });
        }
        let mut partly = Partly { all: Vec::new(), missing: Vec::new() };
        for (backend, answer) in backends.iter().zip(join_all(backends.iter().map(|backend| one(backend))).await) {
            match answer {
                Ok(some) => partly.all.extend(some),
                Err(error) => partly.missing.push((backend.clone(), error)),
            }
        }
        if partly.missing.len() == backends.len()
            && let Some((_, error)) = partly.missing.pop()
        {
            return Err(error);
        }
        Ok(partly)
    }

    /// The first volume of the list that is `wanted`.
    pub async fn find(
        &self,
        deadline: Deadline,
        wanted: impl Fn(&csi::Volume) -> bool,
    ) -> Result<Option<csi::list_volumes_response::Entry>> {
        let mut found = None;
        self.pages(Patience::Lasting, String::new(), deadline, |entries| {
            found = entries.into_iter().find(|entry| entry.volume.as_ref().is_some_and(&wanted));
            found.is_some()
        })
        .await?;
        Ok(found)
    }

    /// The volumes that are called `name`: that is their id, or what their context says under `key`. Those of one backend, if Hawser's own
    /// driver is asked and it is said which; the others may be away then.
    pub async fn called(&self, name: &str, key: &str, backend: Option<&str>, deadline: Deadline) -> Result<Vec<csi::Volume>> {
        let token = backend.filter(|_| self.is_own()).map(only).unwrap_or_default();
        let mut all: Vec<csi::Volume> = Vec::new();
        self.pages(Patience::Lasting, token, deadline, |entries| {
            let volumes = entries.into_iter().filter_map(|entry| entry.volume);
            all.extend(
                volumes
                    .filter(|volume| volume.volume_id == name || volume.volume_context.get(key).is_some_and(|said| said == name)),
            );
            false
        })
        .await?;
        Ok(all)
    }

    /// Gives each page of volumes from `token` on to `take` until that has enough.
    async fn pages(
        &self,
        patience: Patience,
        mut token: String,
        deadline: Deadline,
        mut take: impl FnMut(Vec<csi::list_volumes_response::Entry>) -> bool,
    ) -> Result<()> {
        if !self.can.list {
            return Err(Error::unsupported(format!("driver {} cannot list its volumes (LIST_VOLUMES)", self.name)));
        }
        loop {
            let request = csi::ListVolumesRequest { max_entries: PAGE, starting_token: token.clone() };
            let call = rpc!(self.controller(), list_volumes);
            let answer = calling_with(patience, "ListVolumes", "its volumes", deadline, request, call).await?;
            if take(answer.entries) || !self.is_more("ListVolumes", &mut token, answer.next_token)? {
                return Ok(());
            }
        }
    }

    /// Whether it is Hawser's own, whichever name it was given.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The backends of Hawser's own driver; none of anybody else's.
    pub fn backends(&self) -> &[String] {
        self.own.as_ref().map_or(&[], |own| &own.backends)
    }

    /// The backend of Hawser's own driver that makes what nobody says a backend for.
    pub fn default_backend(&self) -> Option<&str> {
        self.own.as_ref()?.default.as_deref()
    }

    /// Goes to the page after the one that began at `token`, if there is one.
    fn is_more(&self, method: &str, token: &mut String, next: String) -> Result<bool> {
        if !next.is_empty() && next == *token {
            return Err(Error::internal(format!("{method}: driver {} repeats the token {token:?} for ever", self.name)));
        }
        *token = next;
        Ok(!token.is_empty())
    }
}

/// What there is of something that a driver's backends have.
#[derive(Debug)]
pub struct Partly<T> {
    /// What the backends have that answered.
    pub all: Vec<T>,
    /// The other backends, each with what came of asking.
    pub missing: Vec<(String, Error)>,
}

/// The token with which Hawser's own driver lists one backend.
fn only(backend: &str) -> String {
    format!("={backend}:")
}

/// A volume that does not exist is not staged, published or attached anywhere. The spec lets a driver say NOT_FOUND then.
fn gone_is_done(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        result => result,
    }
}

/// A path as a message carries it.
fn text(path: &std::path::Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::invalid(format!("path {}: CSI carries only paths that are UTF-8", path.display())))
}

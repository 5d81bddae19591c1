//! The Hosts service: what storage systems know of the hosts behind nodes. Asked before a volume is taken from one that seems dead.

use async_trait::async_trait;
use hawser_proto::hawser::get_host_state_response::State;
use hawser_proto::hawser::hosts_server::Hosts;
use hawser_proto::hawser::{GetHostStateRequest, GetHostStateResponse};
use hawser_volume::{Deadline, HostState, NodeId, Result, VolumeId, request};
use tonic::{Request, Response, Status};

use super::{Controller, Inner};

#[async_trait]
impl Hosts for Controller {
    async fn get_host_state(&self, request: Request<GetHostStateRequest>) -> Result<Response<GetHostStateResponse>, Status> {
        let deadline = request::deadline(&request);
        let state = host_state(&self.inner, request.into_inner(), deadline).await.map_err(Status::from)?;
        let (state, reason) = match state {
            HostState::Alive(reason) => (State::Alive, reason),
            HostState::Dead(reason) => (State::Dead, reason),
            HostState::Unknown(reason) => (State::Unknown, reason),
        };
        Ok(Response::new(GetHostStateResponse { state: state.into(), reason }))
    }
}

async fn host_state(inner: &Inner, request: GetHostStateRequest, deadline: Deadline) -> Result<HostState> {
    let id: VolumeId = request::id("volume_id", &request.volume_id)?;
    let node: NodeId = request::id("node_id", &request.node_id)?;
    inner.backends.owner(id.backend())?.host_state(&id, &node, deadline).await
}

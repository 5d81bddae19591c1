//! A connection to a driver, and what it can do.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_proto::csi;
use hawser_proto::csi::controller_client::ControllerClient;
use hawser_proto::csi::identity_client::IdentityClient;
use hawser_proto::csi::node_client::NodeClient;
use hawser_volume::{Error, Result};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// What a driver can do, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abilities {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) node_id: String,
    pub(crate) attach: bool,
    pub(crate) stage: bool,
    pub(crate) statistics: bool,
    pub(crate) snapshots: bool,
    pub(crate) list: bool,
    pub(crate) capacity: bool,
}

/// A driver under load.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    pub(crate) endpoint: String,
    pub(crate) can: Abilities,
    channel: Channel,
    timeout: Duration,
}

fn said(what: &str) -> impl Fn(Status) -> Error + '_ {
    move |status| Error::unavailable(format!("{what}: {:?}: {}", status.code(), status.message()))
}

impl Driver {
    /// Connects and asks.
    pub(crate) async fn connect(endpoint: &str, timeout: Duration) -> Result<Self> {
        let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.strip_prefix("unix:")).unwrap_or(endpoint);
        let channel = Endpoint::try_from(format!("unix://{path}"))
            .map_err(|error| Error::invalid(format!("endpoint {endpoint:?}")).caused_by(error))?
            .connect()
            .await
            .map_err(|error| Error::unavailable(format!("connect to {endpoint}")).caused_by(error))?;
        let mut driver = Self { endpoint: endpoint.to_owned(), can: Abilities::default(), channel, timeout };
        driver.can = driver.ask().await?;
        Ok(driver)
    }

    /// A request with this run's deadline.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    pub(crate) fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone())
    }

    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    async fn ask(&self) -> Result<Abilities> {
        use csi::controller_service_capability::rpc::Type as Of;
        use csi::node_service_capability::rpc::Type as OfNode;
        let info = self
            .identity()
            .get_plugin_info(self.request(csi::GetPluginInfoRequest {}))
            .await
            .map_err(said("GetPluginInfo"))?
            .into_inner();
        let controller = self
            .controller()
            .controller_get_capabilities(self.request(csi::ControllerGetCapabilitiesRequest {}))
            .await
            .map_err(said("ControllerGetCapabilities"))?
            .into_inner();
        let controller: BTreeSet<i32> = controller
            .capabilities
            .into_iter()
            .filter_map(|c| c.r#type)
            .map(|csi::controller_service_capability::Type::Rpc(rpc)| rpc.r#type)
            .collect();
        let node = self
            .node()
            .node_get_capabilities(self.request(csi::NodeGetCapabilitiesRequest {}))
            .await
            .map_err(said("NodeGetCapabilities"))?
            .into_inner();
        let node: BTreeSet<i32> = node
            .capabilities
            .into_iter()
            .filter_map(|c| c.r#type)
            .map(|csi::node_service_capability::Type::Rpc(rpc)| rpc.r#type)
            .collect();
        let id =
            self.node().node_get_info(self.request(csi::NodeGetInfoRequest {})).await.map_err(said("NodeGetInfo"))?.into_inner();
        let has = |kind: Of| controller.contains(&i32::from(kind));
        if !has(Of::CreateDeleteVolume) {
            return Err(Error::unsupported(format!("{} cannot create volumes (CREATE_DELETE_VOLUME)", info.name)));
        }
        Ok(Abilities {
            name: info.name,
            version: info.vendor_version,
            node_id: id.node_id,
            attach: has(Of::PublishUnpublishVolume),
            stage: node.contains(&i32::from(OfNode::StageUnstageVolume)),
            statistics: node.contains(&i32::from(OfNode::GetVolumeStats)),
            snapshots: has(Of::CreateDeleteSnapshot),
            list: has(Of::ListVolumes),
            capacity: has(Of::GetCapacity),
        })
    }
}

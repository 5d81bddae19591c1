//! Giving volumes to the SDCs of nodes, and taking them away: from that SDC, and from no other.

use hawser_scaleio::config::NodeIds;
use hawser_scaleio::grant::Grant;
use hawser_scaleio::sdc::Sdc;
use hawser_scaleio::volume::{Mapping, MappingMode, Volume as Found};
use hawser_scaleio::{Class, Gateways, Refusal};
use hawser_volume::{Deadline, Error, HostState, Kind, NodeId, Result, VolumeId};

use super::ScaleIo;
use super::place::Limits;
use crate::provision::{Attach, PublishContext};

/// How often the array is looked at after something that it did not answer, or that another controller did meanwhile.
const LOOKS_MAX: usize = 4;

impl ScaleIo {
    /// The SDC of a node; nothing if the array knows none. `Precondition` when it knows several.
    pub(super) fn sdc_of<'a>(&self, sdcs: &'a [Sdc], node: &NodeId) -> Result<Option<&'a Sdc>> {
        let is = |sdc: &&Sdc| match self.config.nodes.get(node) {
            Some(guid) => sdc.has_guid(guid),
            None => match self.config.node_ids {
                NodeIds::SdcGuid => sdc.has_guid(node.as_str()),
                NodeIds::SdcName => sdc.name.as_deref() == Some(node.as_str()),
            },
        };
        let mut found = sdcs.iter().filter(is);
        match (found.next(), found.next()) {
            (sdc, None) => Ok(sdc),
            (_, Some(_)) => {
                Err(Error::precondition(format!("the array has several SDCs for node {node}; remove those that have gone")))
            }
        }
    }

    /// The node of an SDC; for one that no node is known for, a word that is no node's.
    pub(super) fn node_of(&self, mapping: &Mapping, sdcs: &[Sdc]) -> Result<NodeId> {
        let sdc = sdcs.iter().find(|sdc| sdc.id == mapping.sdc_id);
        let guid = sdc.and_then(|sdc| sdc.sdc_guid.as_deref());
        let configured = self.config.nodes.iter().find(|(_, own)| guid.is_some_and(|guid| guid.eq_ignore_ascii_case(own)));
        if let Some((node, _)) = configured {
            return Ok(node.clone());
        }
        let text = match self.config.node_ids {
            NodeIds::SdcGuid => guid,
            NodeIds::SdcName => sdc.and_then(|sdc| sdc.name.as_deref()).or(mapping.sdc_name.as_deref()),
        };
        text.map_or_else(|| format!("sdc {}", mapping.sdc_id), str::to_owned).parse()
    }

    /// Whether the SDC of a node is connected to the array. One that is not may still reach the disks for a while; unmapping, which comes
    /// first in a takeover, ends that.
    pub(super) async fn state_of(&self, id: &VolumeId, node: &NodeId, deadline: Deadline) -> Result<HostState> {
        let (array, _) = self.found(id, deadline).await?;
        let sdcs = array.gateways.sdcs(deadline).await;
        let sdcs = sdcs.map_err(|refusal| refusal.while_doing(format_args!("look at the SDC of node {node}")))?;
        let Some(sdc) = self.sdc_of(&sdcs, node)? else {
            return Ok(HostState::Unknown(format!("the array knows no SDC of node {node}")));
        };
        Ok(match sdc.mdm_connection_state.as_deref() {
            _ if sdc.is_lost() => HostState::Dead(format!("the SDC of node {node} is disconnected")),
            Some(state) if state.eq_ignore_ascii_case("connected") => {
                HostState::Alive(format!("the SDC of node {node} is connected"))
            }
            state => {
                HostState::Unknown(format!("the SDC of node {node} is {}", state.unwrap_or("in no state that the array tells")))
            }
        })
    }

    pub(super) async fn map(&self, attach: Attach) -> Result<PublishContext> {
        let Attach { id, node, access, deadline, .. } = &attach;
        let deadline = *deadline;
        let what = |refusal: Refusal| refusal.while_doing(format_args!("attach volume {id} to {node}"));
        let limits = Limits::of_context(&attach.context)?;
        let (array, mut volume) = self.found(id, deadline).await?;
        let gateways = &array.gateways;
        let system = array.system(deadline).await?.id.clone();
        let sdcs = gateways.sdcs(deadline).await.map_err(what)?;
        let sdc = self.sdc_of(&sdcs, node)?.ok_or_else(|| self.no_sdc(node))?;
        let guid = sdc.sdc_guid.clone().ok_or_else(|| Error::precondition(format!("the SDC of node {node} has no GUID")))?;
        let shared = !access.mode.is_single_node();
        let mode = if attach.read_only || access.mode.is_read_only() { MappingMode::ReadOnly } else { MappingMode::ReadWrite };
        let mut last = None;
        let mut made = false;
        for _ in 0..LOOKS_MAX {
            // What was given before, for reading, is the node's also when others have come to read since.
            let is_own = !made && mode == MappingMode::ReadOnly && volume.mapping(&sdc.id).is_some_and(Mapping::is_read_only);
            let may_stay = |other: &Mapping| other.sdc_id == sdc.id || (shared || is_own) && other.is_read_only();
            if let Some(other) = volume.mapped_sdc_info.iter().find(|other| !may_stay(other)) {
                // Another controller was as quick, for somebody else.
                if made {
                    self.unmap_one(gateways, &volume.id, &sdc.id, deadline).await?;
                }
                return Err(Error::precondition(format!(
                    "volume {id} is mapped to {}{}; it can go to {node} when it is detached there",
                    other.describe(),
                    if other.is_read_only() { ", read-only" } else { "" }
                )));
            }
            if let Some(mapping) = volume.mapping(&sdc.id) {
                self.check_mode(mapping, mode, id, node)?;
                if (mapping.limit_iops, mapping.limit_bw_in_mbps) != (limits.iops, limits.kbps / 1024) {
                    gateways.set_limits(&volume.id, &sdc.id, limits.kbps, limits.iops, deadline).await.map_err(what)?;
                }
                let read_only = mode == MappingMode::ReadOnly;
                return Ok(Grant { system, volume: volume.id.clone(), sdc: guid, size: volume.size(), read_only }.to_context());
            }
            match gateways.map_volume(&volume.id, &sdc.id, mode, shared, deadline).await {
                Ok(()) => made = true,
                Err(refusal) if refusal.is_uncertain() => last = Some(refusal),
                Err(refusal) if matches!(refusal.class(), Class::MappedHere | Class::MappedElsewhere) => last = Some(refusal),
                Err(refusal) => return Err(what(refusal)),
            }
            let found = gateways.volume(&volume.id, deadline).await.map_err(what)?;
            volume = found.ok_or_else(|| Error::not_found(format!("volume {id} does not exist")))?;
        }
        let why = last.map(|refusal| format!(": {refusal}")).unwrap_or_default();
        Err(Error::unavailable(format!("attach volume {id} to {node}: the mapping does not stay{why}; try again")))
    }

    fn check_mode(&self, mapping: &Mapping, wanted: MappingMode, id: &VolumeId, node: &NodeId) -> Result<()> {
        match mapping.access_mode.as_deref() {
            // Releases before 3.5 do not say, and have one mode.
            None => Ok(()),
            Some(is) if is == wanted.as_str() => Ok(()),
            Some(is) => Err(Error::already_exists(format!(
                "volume {id} is attached to {node} already as {is}, and {} is asked for; detach it before attaching it in another way",
                wanted.as_str()
            ))),
        }
    }

    fn no_sdc(&self, node: &NodeId) -> Error {
        let how = match self.config.node_ids {
            NodeIds::SdcName => "name its SDC so",
            NodeIds::SdcGuid => "its id must be the GUID of its SDC",
        };
        Error::not_found(format!("node {node} has no SDC on the array: {how}, or write its GUID under `nodes` of the backend"))
    }

    pub(super) async fn unmap(&self, id: &VolumeId, node: Option<&NodeId>, deadline: Deadline) -> Result<()> {
        let (array, volume) = match self.found(id, deadline).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            found => found?,
        };
        if volume.mapped_sdc_info.is_empty() {
            return Ok(());
        }
        let gateways = &array.gateways;
        let targets: Vec<String> = match node {
            None => volume.mapped_sdc_info.iter().map(|mapping| mapping.sdc_id.clone()).collect(),
            Some(node) => {
                let sdcs = gateways
                    .sdcs(deadline)
                    .await
                    .map_err(|refusal| refusal.while_doing(format_args!("find the SDC of {node}")))?;
                match self.sdc_of(&sdcs, node)? {
                    Some(sdc) => vec![sdc.id.clone()],
                    None => return self.without_sdc(&volume, &sdcs, id, node),
                }
            }
        };
        for target in targets {
            self.unmap_one(gateways, &volume.id, &target, deadline)
                .await
                .map_err(|error| error.while_doing(format_args!("detach volume {id}")))?;
        }
        Ok(())
    }

    /// An SDC that is gone has taken its mappings with it. But one that lost its name, or has another, is not gone: so every SDC that
    /// has the volume must be known for another node's.
    fn without_sdc(&self, volume: &Found, sdcs: &[Sdc], id: &VolumeId, node: &NodeId) -> Result<()> {
        let by_guid = self.config.nodes.contains_key(node) || self.config.node_ids == NodeIds::SdcGuid;
        let nameless = |mapping: &&Mapping| sdcs.iter().find(|sdc| sdc.id == mapping.sdc_id).is_none_or(|sdc| sdc.name.is_none());
        match volume.mapped_sdc_info.iter().find(nameless) {
            Some(mapping) if !by_guid => Err(Error::precondition(format!(
                "the array has no SDC called {node}, and volume {id} is mapped to {}, which has no name: name it, or unmap it",
                mapping.describe()
            ))),
            _ => Ok(()),
        }
    }

    /// Takes a volume from one SDC, and looks that it has not got it any more.
    async fn unmap_one(&self, gateways: &Gateways, volume: &str, sdc: &str, deadline: Deadline) -> Result<()> {
        let what = |refusal: Refusal| refusal.while_doing(format_args!("unmap {volume} from SDC {sdc}"));
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            match gateways.unmap_volume(volume, sdc, deadline).await {
                Ok(()) => {}
                Err(refusal) if matches!(refusal.class(), Class::NotMapped | Class::NoSdc | Class::NotFound) => {}
                Err(refusal) if refusal.is_uncertain() => last = Some(refusal),
                Err(refusal) => return Err(what(refusal)),
            }
            let found = gateways.volume(volume, deadline).await.map_err(what)?;
            if found.is_none_or(|found| found.mapping(sdc).is_none()) {
                return Ok(());
            }
        }
        let why = last.map(|refusal| format!(": {refusal}")).unwrap_or_default();
        Err(Error::unavailable(format!("unmap {volume} from SDC {sdc}: it has it still{why}; try again")))
    }
}

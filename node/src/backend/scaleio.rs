//! The ScaleIO backend: a disk that the SDC of this machine has of a volume that the array has mapped to it.
//!
//! The node asks no gateway: the controller side maps, and says to which SDC and how large the volume is. Which volume a disk is, only
//! the SDC's driver knows; while it is mounted it cannot always be asked (it may be gone), so what it said is noted (`notes`).

pub mod examine;

use std::sync::Arc;
use std::time::Duration;

use hawser_host::{Beneath, Device, DiskName, Host, MountEntry, Sdc, Trace, sdc};
use hawser_scaleio::ScaleIoConfig;
use hawser_scaleio::config::NodeIds;
use hawser_scaleio::grant::Grant;
use hawser_scaleio::volume::is_id;
use hawser_volume::{BackendName, Bytes, Deadline, Error, NodeId, Result, Segments, VolumeId};

use super::disks::{Arrival, Disks};
use crate::attach::{Attach, Attacher, Source};

/// Volumes of ScaleIO as a backend of this node.
#[derive(Debug)]
pub struct ScaleIo {
    sdc: Sdc,
    guid: String,
    node_ids: NodeIds,
    max_volumes: Option<u32>,
    disks: Disks,
}

impl ScaleIo {
    /// The backend `name` on this machine. `Precondition` when it has no SDC, or one that does not say who it is.
    pub fn new(name: BackendName, config: &ScaleIoConfig, host: Arc<dyn Host>) -> Result<Self> {
        let guid = match config.node.guid()? {
            Some(guid) => guid,
            None => sdc::guid().map_err(|error| {
                error.while_doing(
                    "find out which SDC this node is (load the driver, or set node.guid or node.guid-file of the backend)",
                )
            })?,
        };
        Ok(Self {
            sdc: Sdc::new(config.node.drv_cfg.as_deref())?,
            guid,
            node_ids: config.node_ids,
            max_volumes: config.max_volumes_per_node,
            disks: Disks::of("scaleio", name, host, is_native),
        })
    }

    /// The id of this node, if it is the GUID of its SDC.
    pub fn node_id(&self) -> Option<&str> {
        (self.node_ids == NodeIds::SdcGuid).then_some(&*self.guid)
    }

    fn names(&self, volume: &VolumeId) -> Result<[DiskName; 1]> {
        let native = volume.native();
        if !is_native(native) {
            return Err(Error::not_found(format!("volume {volume} does not exist: {native} is no volume of ScaleIO")));
        }
        Ok([DiskName::ScaleIo { volume: native.to_owned(), sdc: self.sdc.clone() }])
    }

    /// A CO may have lost what the controller said; the volume's id is enough to find the device.
    fn grant(&self, attach: &Attach) -> Result<Option<Grant>> {
        if attach.publish_context.is_empty() {
            return Ok(None);
        }
        let (grant, volume) = (Grant::from_context(&attach.publish_context)?, &attach.volume);
        if volume.native() != format!("{}-{}", grant.system, grant.volume) {
            return Err(Error::invalid(format!(
                "publish_context is of volume {}-{}, and this is volume {volume}",
                grant.system, grant.volume
            )));
        }
        if !grant.sdc.eq_ignore_ascii_case(&self.guid) {
            return Err(Error::precondition(format!(
                "volume {volume} is mapped to SDC {}, and the SDC of this node is {}: the array knows another SDC by the id of node {}; \
                 correct its name, or `nodes` of the backend",
                grant.sdc, self.guid, attach.node
            )));
        }
        Ok(Some(grant))
    }

    /// The device, when it is as large as the array says. One that is smaller has not heard of its growth yet, or is not what it seems.
    fn grown(&self, names: &[DiskName], device: Device, attach: &Attach, grant: &Grant) -> Result<Device> {
        let size = grant.size;
        if device.size >= size {
            return Ok(device);
        }
        let read_only = device.read_only;
        drop(device);
        let found = self.disks.grown(names, size, attach.deadline)?;
        let again = self.disks.host.open_disk(names, read_only, Deadline::after(Duration::ZERO))?;
        again.filter(|device| device.size >= size).ok_or_else(|| {
            Error::unavailable(format!(
                "volume {} has {size} on the array and {} on this node; it is left as it is until the SDC knows its size",
                attach.volume,
                found.unwrap_or(Bytes::new(0))
            ))
        })
    }

    /// A number that is given again tells no volume from the one before: what still shows that one has to go first.
    fn check_number(&self, volume: &VolumeId, device: &Device) -> Result<()> {
        let Some(before) = self.disks.notes.owner(&Trace::Number(device.number))?.filter(|before| before != volume.native())
        else {
            return Ok(());
        };
        let before = self.disks.volume(before)?;
        for entry in self.disks.host.mounts()?.entries() {
            if self.shows(entry, &before)? && self.disks.host.is_severed(entry)? {
                return Err(Error::precondition(format!(
                    "{} was volume {before} before, which is gone and still mounted at {}; unmount that before volume {volume} is used here",
                    device.path.display(),
                    entry.mount_point.display()
                )));
            }
        }
        Ok(())
    }
}

/// Whether `text` is the native id of a volume: the ids of its system and its own.
fn is_native(text: &str) -> bool {
    text.split_once('-').is_some_and(|(system, volume)| is_id(system) && is_id(volume))
}

impl Attacher for ScaleIo {
    fn place(&self) -> Segments {
        Segments::new()
    }

    fn max_volumes(&self) -> Option<u32> {
        self.max_volumes
    }

    fn register(&self, node: &NodeId) -> Result<()> {
        match self.node_id() {
            Some(guid) if !guid.eq_ignore_ascii_case(node.as_str()) => Err(Error::precondition(format!(
                "the node's id is {node}, and its SDC is {guid}; with node-ids: sdc-guid the id is the GUID: leave driver.node-id out"
            ))),
            _ => Ok(()),
        }
    }

    fn attach(&self, attach: &Attach) -> Result<Source> {
        let volume = &attach.volume;
        let names = self.names(volume)?;
        let grant = self.grant(attach)?;
        let read_only = attach.read_only || grant.as_ref().is_some_and(|grant| grant.read_only);
        let device = match self.disks.wait(&names, attach, read_only)? {
            Arrival::Came(device) => device,
            Arrival::Missed(waited) => {
                return Err(Error::unavailable(format!(
                    "volume {volume}: the array has mapped it to this node, and the SDC has made no disk of it within {} s; if it does not \
                     come, see `drv_cfg --query_vols`, whether the SDC is connected (`drv_cfg --query_mdm`), and the kernel log",
                    waited.as_secs()
                )));
            }
        };
        let device = match &grant {
            Some(grant) => self.grown(&names, device, attach, grant)?,
            None => device,
        };
        self.check_number(volume, &device)?;
        self.disks.notes.write(volume.native(), &device)?;
        // The array does not say whether anything was ever written.
        Ok(Source::Device { device, blank: None })
    }

    fn detach(&self, volume: &VolumeId, _node: &NodeId, _deadline: Deadline) -> Result<()> {
        if !is_native(volume.native()) {
            return Ok(());
        }
        self.disks.rest(volume, &self.names(volume)?)
    }

    fn identify(&self, mount: &MountEntry) -> Result<Option<VolumeId>> {
        let native = match self.disks.host.disk_of(mount)? {
            Beneath::ScaleIo(trace) | Beneath::Gone(trace) => self.disks.notes.owner(&trace)?,
            Beneath::Disk(_) | Beneath::Other => None,
        };
        native.map(|native| self.disks.volume(native)).transpose()
    }

    fn rescan(&self, volume: &VolumeId, _node: &NodeId, at_least: Option<Bytes>) -> Result<Bytes> {
        self.disks.rescan(volume, &self.names(volume)?, at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_a_system_and_a_volume() {
        assert!(is_native("14dbbf5617523654-d3b2a1c000000001"));
        for other in
            ["", "14dbbf5617523654", "14dbbf5617523654-d3b2a1c000000001-part1", "14DBBF5617523654-d3b2a1c000000001", "../x-y"]
        {
            assert!(!is_native(other), "{other}");
        }
    }
}

//! The EBS backend: a device that EC2 has attached to this instance.
//!
//! What a volume is known by is its id, which an NVMe device has as its serial number; the name that EC2 was asked for is nothing but
//! a hint there. Instances of Xen know the name alone. The node never attaches or detaches: the controller side does, through EC2.
//! So a device may come late, and may go while it is used; what is known of it then is what this machine wrote down
//! (`notes`; `/run` is as empty after a boot as the table of mounts).

use std::sync::Arc;

use hawser_ebs::volume::is_volume_id;
use hawser_ebs::{Grant, Here, PlaceKeys};
use hawser_host::{Beneath, DiskName, Host, MountEntry};
use hawser_volume::{BackendName, Bytes, Deadline, Error, NodeId, Result, Segments, VolumeId};

use super::disks::{Arrival, Disks};
use crate::attach::{Attach, Attacher, Source};

/// What EC2 says of its volumes, in the model of their controllers.
const MODEL: &str = "Amazon Elastic Block Store";

/// The namespace of a volume within its controller.
const NAMESPACE: u32 = 1;

/// The key under which nodes of aws-ebs-csi-driver tell their zone.
const ZONE: &str = "topology.ebs.csi.aws.com/zone";

/// Volumes of EBS as a backend of this node.
#[derive(Debug)]
pub struct Ebs {
    here: Here,
    place: Segments,
    disks: Disks,
}

impl Ebs {
    /// The backend `name` on the instance `here`; `topology_prefix` is the prefix of the plugin's topology keys.
    pub fn new(name: BackendName, here: Here, host: Arc<dyn Host>, topology_prefix: &str) -> Self {
        let mut place = PlaceKeys::new(topology_prefix, &name).segments(&here.place);
        place.insert(ZONE.to_owned(), here.place.zone.clone());
        Self { here, place, disks: Disks::of("ebs", name, host, is_volume_id) }
    }

    /// What the device of a volume may be known by, the surest first; `asked` is the name that EC2 was asked for.
    fn names(&self, volume: &VolumeId, asked: Option<&str>) -> Result<Vec<DiskName>> {
        let native = volume.native();
        if !is_volume_id(native) {
            return Err(Error::not_found(format!("volume {volume} does not exist: {native} is no volume of EC2")));
        }
        let nvme = DiskName::Nvme { model: MODEL.to_owned(), serial: native.replacen('-', "", 1), namespace: NAMESPACE };
        let noted = self.disks.notes.xen_name(native)?;
        let xen = asked.and_then(xen_name).map(str::to_owned).or(noted);
        Ok([nvme].into_iter().chain(xen.map(|name| DiskName::Xen { name })).collect())
    }

    /// A name is all that a disk of Xen has, and one that is another volume's must not be taken for this one's.
    fn check_name(&self, volume: &VolumeId, device: &hawser_host::Device) -> Result<()> {
        let Some(DiskName::Xen { name }) = &device.disk else { return Ok(()) };
        match self.disks.notes.owner_of_xen(name)? {
            Some(other) if other != volume.native() && device.is_held()? => Err(Error::precondition(format!(
                "{name} is volume {other} on this node and in use; volume {volume} cannot have that name"
            ))),
            _ => Ok(()),
        }
    }
}

/// The name that the kernel of an instance of Xen gives to what EC2 was asked to call `asked`.
fn xen_name(asked: &str) -> Option<&str> {
    asked.strip_prefix("/dev/").filter(|name| name.starts_with("xvd"))
}

/// The volume whose device has this serial number.
fn volume_of(serial: &str) -> Option<String> {
    let id = format!("vol-{}", serial.strip_prefix("vol")?);
    is_volume_id(&id).then_some(id)
}

impl Attacher for Ebs {
    fn place(&self) -> Segments {
        self.place.clone()
    }

    fn max_volumes(&self) -> Option<u32> {
        Some(self.here.max_volumes)
    }

    fn register(&self, node: &NodeId) -> Result<()> {
        if node.as_str() == self.here.instance {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "the node's id is {node}, and this instance is {}; EC2 attaches volumes to instances: set driver.node-id to that, or leave \
             it out",
            self.here.instance
        )))
    }

    fn attach(&self, attach: &Attach) -> Result<Source> {
        let volume = &attach.volume;
        // A CO may have lost it; on NVMe instances nothing is lost with it.
        let grant = if attach.publish_context.is_empty() { None } else { Some(Grant::from_context(&attach.publish_context)?) };
        if let Some(grant) = &grant
            && grant.volume != volume.native()
        {
            return Err(Error::invalid(format!("publish_context is of volume {}, and this is volume {volume}", grant.volume)));
        }
        let asked = grant.as_ref().map(|grant| grant.device.as_str());
        let names = self.names(volume, asked)?;
        let device = match self.disks.wait(&names, attach, attach.read_only)? {
            Arrival::Came(device) => device,
            Arrival::Missed(waited) => {
                return Err(Error::unavailable(format!(
                    "volume {volume}: EC2 has attached it{}, and no device with serial number {} has come within {} s; if it does not come, \
                     see the kernel log, and whether the volume is attached to {}",
                    asked.map(|name| format!(" as {name}")).unwrap_or_default(),
                    names[0],
                    waited.as_secs(),
                    self.here.instance
                )));
            }
        };
        self.check_name(volume, &device)?;
        self.disks.notes.write(volume.native(), &device)?;
        // EC2 does not say whether anything was ever written.
        Ok(Source::Device { device, blank: None })
    }

    fn detach(&self, volume: &VolumeId, _node: &NodeId, _deadline: Deadline) -> Result<()> {
        if !is_volume_id(volume.native()) {
            return Ok(());
        }
        self.disks.rest(volume, &self.names(volume, None)?)
    }

    fn identify(&self, mount: &MountEntry) -> Result<Option<VolumeId>> {
        let native = match self.disks.host.disk_of(mount)? {
            Beneath::Disk(DiskName::Nvme { model, serial, namespace: NAMESPACE }) if model == MODEL => volume_of(&serial),
            Beneath::Disk(DiskName::Xen { name }) => self.disks.notes.owner_of_xen(&name)?,
            Beneath::Gone(trace) => self.disks.notes.owner(&trace)?,
            Beneath::Disk(_) | Beneath::ScaleIo(_) | Beneath::Other => None,
        };
        native.map(|native| self.disks.volume(native)).transpose()
    }

    fn rescan(&self, volume: &VolumeId, _node: &NodeId, at_least: Option<Bytes>) -> Result<Bytes> {
        self.disks.rescan(volume, &self.names(volume, None)?, at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_an_id_without_its_dash() {
        assert_eq!(volume_of("vol0123456789abcdef0").as_deref(), Some("vol-0123456789abcdef0"));
        assert_eq!(volume_of("vol12345678").as_deref(), Some("vol-12345678"));
        for other in ["", "vol", "vol-0123456789abcdef0", "AWS0123456789abcdef0", "vol0123456789ABCDEF0", "vol0123456789abcdef01"]
        {
            assert_eq!(volume_of(other), None, "{other}");
        }
    }

    #[test]
    fn only_names_of_xen_are_names_of_xen() {
        assert_eq!(xen_name("/dev/xvdba"), Some("xvdba"));
        assert_eq!(xen_name("/dev/sdf"), None);
        assert_eq!(xen_name("xvdba"), None);
    }
}

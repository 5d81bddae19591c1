//! A simulator, and a client or a backend of it.

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_controller::backend::scaleio::ScaleIo as Backend;
use hawser_controller::provision::{Attach, NewSnapshot, NewVolume};
use hawser_scaleio::{Gateways, ScaleIoConfig, SystemConfig};
use hawser_tests::scaleio::{ScaleIo, USER};
use hawser_volume::{Access, AccessKind, AccessMode, Bytes, Deadline, Secrets, SizeRange, TopologyRequirement, VolumeId};

/// How the gateways of `array` are reached.
pub fn system(array: &ScaleIo) -> SystemConfig {
    SystemConfig {
        gateways: array.addresses(),
        user: USER.to_owned(),
        password_file: array.password_file(),
        ca_file: Some(array.ca_file()),
        ..SystemConfig::default()
    }
}

pub fn client(array: &ScaleIo) -> Gateways {
    Gateways::new(&system(array), Duration::from_secs(10)).unwrap()
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(120))
}

pub fn config(arrays: &[&ScaleIo]) -> ScaleIoConfig {
    ScaleIoConfig { systems: arrays.iter().map(|array| system(array)).collect(), ..ScaleIoConfig::default() }
}

/// A backend called `sio` of these systems.
pub fn backend(arrays: &[&ScaleIo]) -> Backend {
    Backend::new("sio".parse().unwrap(), config(arrays)).unwrap()
}

pub fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub fn access(mode: AccessMode) -> Access {
    Access { mode, kind: AccessKind::Block }
}

/// A volume of this name, of 8 GiB.
pub fn volume(name: &str) -> NewVolume {
    NewVolume {
        name: name.parse().unwrap(),
        range: SizeRange::at_least(Bytes::gib(8)),
        accesses: vec![access(AccessMode::SingleNodeWriter)],
        parameters: BTreeMap::new(),
        labels: BTreeMap::new(),
        context: BTreeMap::new(),
        source: None,
        topology: TopologyRequirement::default(),
        secrets: Secrets::default(),
        deadline: soon(),
    }
}

pub fn snapshot() -> NewSnapshot {
    NewSnapshot { parameters: BTreeMap::new(), labels: BTreeMap::new(), secrets: Secrets::default(), deadline: soon() }
}

/// That volume for that node.
pub fn attach(id: &VolumeId, node: &str) -> Attach {
    Attach {
        id: id.clone(),
        node: node.parse().unwrap(),
        access: access(AccessMode::SingleNodeWriter),
        read_only: false,
        context: BTreeMap::new(),
        secrets: Secrets::default(),
        deadline: soon(),
    }
}

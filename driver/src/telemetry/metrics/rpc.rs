//! RPCs that this process serves.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use hawser_proto::{FILE_DESCRIPTOR_SET, HAWSER_DESCRIPTOR_SET};
use prometheus_client::registry::Registry;
use prost::Message;
use tonic::Code;

use super::declared::{Declared, Times};

/// What is declared here.
pub const DECLARED: &[Declared] = &[DURATION];

const DURATION: Declared = Declared::times(
    "hawser_rpc_duration",
    "How long RPCs took to be answered, the wait for their turn included, by their gRPC code",
    &["service", "method", "code"],
);

/// RPCs as they end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rpcs(Times);

impl Rpcs {
    /// Declares them.
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self(Times::register(registry, DURATION))
    }

    /// Counts the RPC at `path` (`/csi.v1.Node/NodeStageVolume`).
    pub fn ended(&self, path: &str, code: Code, took: Duration) {
        let (service, method) = names(path);
        self.0.observe([service, method, name(code)], took);
    }
}

/// Service and method. What nobody has declared is one name, whoever makes up how many.
fn names(path: &str) -> (&str, &str) {
    static KNOWN: OnceLock<HashSet<String>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let sets = [FILE_DESCRIPTOR_SET, HAWSER_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let files = sets.iter().filter_map(|set| prost_types::FileDescriptorSet::decode(*set).ok()).flat_map(|set| set.file);
        let services = files.flat_map(|file| file.service.into_iter().map(move |service| (file.package.clone(), service)));
        services
            .flat_map(|(package, service)| {
                let prefix = format!("/{}.{}/", package.unwrap_or_default(), service.name.unwrap_or_default());
                service.method.into_iter().map(move |method| format!("{prefix}{}", method.name.unwrap_or_default()))
            })
            .collect()
    });
    match path.trim_start_matches('/').split_once('/') {
        Some(names) if known.contains(path) => names,
        _ => ("other", "other"),
    }
}

/// The name of a code, as gRPC's own libraries print it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_method_has_no_name_of_its_own() {
        assert_eq!(names("/csi.v1.Node/NodeStageVolume"), ("csi.v1.Node", "NodeStageVolume"));
        assert_eq!(names("/grpc.health.v1.Health/Check").0, "grpc.health.v1.Health");
        for path in ["/csi.v1.Node/Made", "/a/b", "", "/"] {
            assert_eq!(names(path), ("other", "other"), "{path}");
        }
    }
}

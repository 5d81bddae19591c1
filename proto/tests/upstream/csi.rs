//! Compares `csi.proto` with the published specification, fact by fact.
//!
//! The published file comes out of the specification's Go module, whose content is pinned by its
//! checksum. A difference is either in [`MEANT`], with its reason, or a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use hawser_proto::FILE_DESCRIPTOR_SET;
use protox::prost_reflect::DescriptorPool;

use crate::facts::Facts;

const FILE: &str = "csi.proto";
const MODULE: &str = "github.com/container-storage-interface/spec";
const SPEC: Release = Release { version: "v1.13.0", sum: "h1:6ja3nYoACisewTPAAZkJ1pbf4+1ehhvt9Z/nYgWGHGw=" };
/// The last release with the fields that we keep for older orchestrators.
const LEGACY_SPEC: Release = Release { version: "v1.12.0", sum: "h1:zrFOEqpR5AghNaaDG4qyedwPBqU2fU0dWjLQMP/azK0=" };

/// Differences from [`SPEC`] that are wanted, with the reason: `+` is only in ours, `-` is only in the published
/// file.
const MEANT: &[(&str, &[&str])] = &[
    (
        "Kept for orchestrators up to 1.12, which read the condition where 1.13 reserves the number",
        &[
            "+ message csi.v1.VolumeCondition",
            "+ option csi.v1.alpha_message = true on csi.v1.VolumeCondition",
            "+ field csi.v1.VolumeCondition.abnormal = 1: Optional bool as abnormal",
            "+ field csi.v1.VolumeCondition.message = 2: Optional string as message",
            "- reserved csi.v1.ListVolumesResponse.VolumeStatus = 2..3",
            "+ field csi.v1.ListVolumesResponse.VolumeStatus.volume_condition = 2: \
             Optional csi.v1.VolumeCondition as volumeCondition with presence",
            "+ option csi.v1.alpha_field = true on \
             csi.v1.ListVolumesResponse.VolumeStatus.volume_condition",
            "- reserved csi.v1.ControllerGetVolumeResponse.VolumeStatus = 2..3",
            "+ field csi.v1.ControllerGetVolumeResponse.VolumeStatus.volume_condition = 2: \
             Optional csi.v1.VolumeCondition as volumeCondition with presence",
            "- reserved csi.v1.NodeGetVolumeStatsResponse = 2..3",
            "+ field csi.v1.NodeGetVolumeStatsResponse.volume_condition = 2: \
             Optional csi.v1.VolumeCondition as volumeCondition with presence",
            "+ option csi.v1.alpha_field = true on \
             csi.v1.NodeGetVolumeStatsResponse.volume_condition",
        ],
    ),
    (
        "Kept for orchestrators up to 1.12, which look at the condition only with the capability",
        &[
            "- reserved csi.v1.ControllerServiceCapability.RPC.Type = 11..=11",
            "+ value csi.v1.ControllerServiceCapability.RPC.Type.VOLUME_CONDITION = 11",
            "+ option csi.v1.alpha_enum_value = true on \
             csi.v1.ControllerServiceCapability.RPC.Type.VOLUME_CONDITION",
            "- reserved csi.v1.NodeServiceCapability.RPC.Type = 4..=4",
            "+ value csi.v1.NodeServiceCapability.RPC.Type.VOLUME_CONDITION = 4",
            "+ option csi.v1.alpha_enum_value = true on \
             csi.v1.NodeServiceCapability.RPC.Type.VOLUME_CONDITION",
        ],
    ),
];

struct Release {
    version: &'static str,
    sum: &'static str,
}

impl Release {
    /// The release's `csi.proto`, compiled.
    fn descriptors(&self) -> DescriptorPool {
        let module = format!("{MODULE}@{}", self.version);
        // Away from any Go module or workspace that surrounds this one.
        let elsewhere = tempfile::tempdir().expect("a temporary folder");
        let output = Command::new("go")
            .args(["mod", "download", "-json", &module])
            .current_dir(elsewhere.path())
            .env("GO111MODULE", "on")
            .env("GOWORK", "off")
            .output()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot run `go`, which fetches the published csi.proto: {error}\n\
                     Install the Go toolchain (on Debian: apt-get install golang-go) and put it \
                     on PATH."
                )
            });
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert!(
            output.status.success(),
            "go mod download {module}: {}{}",
            answer["Error"].as_str().unwrap_or_default(),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(answer["Sum"].as_str(), Some(self.sum), "{module} has other content");

        let folder = Path::new(answer["Dir"].as_str().expect("go names the module's folder"));
        let mut compiler = protox::Compiler::new([folder]).expect("go unpacked the module");
        compiler.include_imports(true);
        if let Err(error) = compiler.open_file("csi.proto") {
            panic!("{module}: {error:?}");
        }
        compiler.descriptor_pool()
    }

    fn facts(&self) -> Facts {
        Facts::of(&self.descriptors(), FILE)
    }
}

fn our_descriptors() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set is complete")
}

#[test]
fn differs_from_the_specification_only_as_meant() {
    let ours = Facts::of(&our_descriptors(), FILE);
    let published = SPEC.facts();
    let found: BTreeSet<String> = ours.beyond(&published, '+').chain(published.beyond(&ours, '-')).collect();
    let meant: BTreeSet<String> = MEANT.iter().flat_map(|(_, facts)| facts.iter().map(|fact| (*fact).to_owned())).collect();

    let unmeant: Vec<_> = found.difference(&meant).collect();
    assert!(unmeant.is_empty(), "not in MEANT: {unmeant:#?}");
    let stale: Vec<_> = meant.difference(&found).collect();
    assert!(stale.is_empty(), "in MEANT, but there is no such difference: {stale:#?}");
}

#[test]
fn what_is_kept_for_older_orchestrators_is_as_they_know_it() {
    let ours = Facts::of(&our_descriptors(), FILE);
    let published = SPEC.facts();
    let legacy = LEGACY_SPEC.facts();
    let invented: Vec<_> = ours.all().difference(published.all()).filter(|fact| !legacy.all().contains(*fact)).collect();
    assert!(invented.is_empty(), "neither in {} nor in {}: {invented:#?}", SPEC.version, LEGACY_SPEC.version);
}

#[test]
fn the_same_fields_are_secret() {
    let ours = secrets(&our_descriptors());
    assert_eq!(ours, secrets(&SPEC.descriptors()));
    // An empty list would make the comparison, and with it all redaction, void.
    assert!(ours.contains_key("csi.v1.CreateVolumeRequest"), "{ours:?}");
}

/// The secret fields of each message that has some.
fn secrets(pool: &DescriptorPool) -> BTreeMap<String, Vec<String>> {
    let option = pool.get_extension_by_name("csi.v1.csi_secret").expect("csi.proto defines csi_secret");
    let mut secrets = BTreeMap::<_, Vec<_>>::new();
    for message in pool.all_messages() {
        for field in message.fields() {
            if field.options().get_extension(&option).as_bool() == Some(true) {
                let name = message.full_name().to_owned();
                secrets.entry(name).or_default().push(field.name().to_owned());
            }
        }
    }
    secrets
}

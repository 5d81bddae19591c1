//! The real csi-sanity against the real binary, in every form of a volume.
//!
//! A specification that is skipped proves nothing, so each run has the list of those that it may skip, with the reason; any other
//! skip is a failure, and so is one of the list that is not skipped any more.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use hawser_tests::binary::tool;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::notice::notice;
use hawser_tests::plugin::NODE_A;
use hawser_tests::remote;
use hawser_tests::rig::inside;
use hawser_tests::settings::Kind;
use hawser_tests::{MIB, Plugin, Settings, Usage};
use serde_json::Value;

/// Specifications that a run may skip: where they are, which they are, and why.
type Skip = (&'static str, &'static [&'static str], &'static str);

const WITHOUT_LIMIT: Skip = (
    "Controller Service [Controller Server] ControllerPublishVolume",
    &["should fail when publishing more volumes than the node max attach limit"],
    "no limit is configured in this run",
);

const DIRECTORIES_LACK: &[Skip] = &[
    (
        "Controller Service [Controller Server] CreateVolume",
        &[
            "should create volume from an existing source snapshot",
            "should create volume from an existing source volume",
            "should create volume with a volume attribute class",
            "should fail when the volume source snapshot is not found",
            "should fail when the volume source volume is not found",
            "should not create volume with an invalid volume attribute class",
        ],
        "directories have no snapshots, no clones and no mutable parameters",
    ),
    (
        "CreateSnapshot [Controller Server]",
        &[
            "should fail when no name is provided",
            "should fail when no source volume id is provided",
            "should fail when requesting to create a snapshot with already existing name and different source volume ID",
            "should succeed when creating snapshot with maximum-length name",
            "should succeed when requesting to create a snapshot with already existing name and same source volume ID",
        ],
        "directories have no snapshots",
    ),
    (
        "DeleteSnapshot [Controller Server]",
        &[
            "should fail when no snapshot id is provided",
            "should return appropriate values (no optional values added)",
            "should succeed when an invalid snapshot id is used",
        ],
        "directories have no snapshots",
    ),
    (
        "GetSnapshot [Controller Server]",
        &[
            "should return an error",
            "should return an error when the specified snapshot id does not exist",
            "should return snapshot that match the specified snapshot id",
        ],
        "directories have no snapshots",
    ),
    (
        "GroupController Service [GroupController Server] GroupControllerGetCapabilities",
        &["should return appropriate capabilities"],
        "directories have no snapshots, so no groups of them",
    ),
    (
        "GroupController Service [GroupController VolumeGroupSnapshots] CreateVolumeGroupSnapshot",
        &["should fail when no name is provided"],
        "directories have no snapshots, so no groups of them",
    ),
    (
        "GroupController Service [GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot",
        &["should fail when no volume id is provided", "should succeed when an invalid volume id is used"],
        "directories have no snapshots, so no groups of them",
    ),
    (
        "GroupController Service [GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot",
        &["should fail when an invalid volume id is used", "should fail when no volume id is provided"],
        "directories have no snapshots, so no groups of them",
    ),
    (
        "ListSnapshots [Controller Server]",
        &[
            "check the presence of new snapshots in the snapshot list",
            "should return appropriate values (no optional values added)",
            "should return empty when the specified snapshot id does not exist",
            "should return empty when the specified source volume id does not exist",
            "should return next token when a limited number of entries are requested",
            "should return snapshots that match the specified snapshot id",
            "should return snapshots that match the specified source volume id",
        ],
        "directories have no snapshots",
    ),
    (
        "ModifyVolume [Controller Server]",
        &[
            "should fail if no volume id is given",
            "should fail if specified mutable parameters are not supported by the volume",
            "should fail if volume does not exist",
            "should fail to modify a volume created with a volume attribute class if new mutable parameters are not supported by volume",
            "should modify a volume created with a volume attribute class",
            "should modify a volume created without a volume attribute class",
        ],
        "nothing of a directory can be changed",
    ),
];

/// One run of the suite.
struct Run {
    name: &'static str,
    ground: Ground,
    settings: Settings,
    access: &'static str,
    parameters: &'static str,
    mutable: Option<&'static str>,
    skips: Vec<Skip>,
}

#[test]
fn images_on_ext4_mounted_with_every_option_of_the_suite() {
    run(Run {
        name: "images on ext4, mounted",
        ground: Ground::Ext4,
        settings: Settings { max_volumes: Some(8), ..Settings::new(Kind::Image) },
        access: "mount",
        parameters: "backend: local\nblockSize: \"4096\"\n",
        mutable: Some("provisioning: thick\n"),
        skips: vec![],
    });
}

#[test]
fn images_on_ext4_as_raw_devices() {
    run(Run {
        name: "images on ext4, raw",
        ground: Ground::Ext4,
        settings: Settings::new(Kind::Image),
        access: "block",
        parameters: "provisioning: thin\n",
        mutable: None,
        skips: vec![WITHOUT_LIMIT],
    });
}

#[test]
fn images_on_xfs_mounted() {
    run(Run {
        name: "images on xfs, mounted",
        ground: Ground::Xfs,
        settings: Settings::new(Kind::Image),
        access: "mount",
        parameters: "provisioning: thin\n",
        mutable: None,
        skips: vec![WITHOUT_LIMIT],
    });
}

#[test]
fn directories_mounted() {
    run(Run {
        name: "directories",
        ground: Ground::Ext4,
        settings: Settings::new(Kind::Directory),
        access: "mount",
        parameters: "backend: local\n",
        mutable: None,
        skips: [&[WITHOUT_LIMIT], DIRECTORIES_LACK].concat(),
    });
}

const EXPORTS_LACK: &[Skip] = &[
    (
        "Controller Service [Controller Server] CreateVolume",
        &[
            "should create volume with a volume attribute class",
            "should not create volume with an invalid volume attribute class",
        ],
        "an export has no mutable parameters",
    ),
    DIRECTORIES_LACK[4],
    DIRECTORIES_LACK[5],
    DIRECTORIES_LACK[6],
    DIRECTORIES_LACK[7],
    DIRECTORIES_LACK[9],
];

#[test]
fn directories_of_an_nfs_server() {
    if !inside::is_inside() {
        return remote::one("directories_of_an_nfs_server");
    }
    run(Run {
        name: "an NFS server",
        ground: Ground::Nfs,
        settings: Settings { max_volumes: Some(8), ..Settings::new(Kind::Nfs) },
        access: "mount",
        parameters: "mountPermissions: \"0770\"\n",
        mutable: None,
        skips: EXPORTS_LACK.to_vec(),
    });
}

fn run(run: Run) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ground = Footing::of(run.ground);
    let plugin = runtime.block_on(Plugin::start(ground.path(), run.settings.clone(), Usage::mount()));
    let file = |name: &str, text: &str| {
        let path = plugin.workspace().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let report = plugin.workspace().join("report.json");
    // The suite makes these two itself, and refuses to run when they exist.
    let (mounts, stages) = (plugin.workspace().join("mounts"), plugin.workspace().join("stages"));
    let mut sanity = Command::new(tool("csi-sanity"));
    sanity
        .arg(format!("-csi.endpoint=unix://{}", plugin.socket(NODE_A).display()))
        .arg(format!("-csi.mountdir={}", mounts.display()))
        .arg(format!("-csi.stagingdir={}", stages.display()))
        .arg(format!("-csi.testvolumeaccesstype={}", run.access))
        .arg(format!("-csi.testvolumesize={}", 64 * MIB))
        .arg(format!("-csi.testvolumeexpandsize={}", 128 * MIB))
        .arg(format!("-csi.testvolumeparameters={}", file("parameters.yaml", run.parameters)))
        .arg(format!("-csi.testnodevolumeattachlimit={}", run.settings.max_volumes.is_some()))
        .arg(format!("-ginkgo.json-report={}", report.display()))
        // The order is fixed, so that a failure can be seen again.
        .args(["-ginkgo.seed=1", "-ginkgo.no-color", "-ginkgo.fail-on-empty"]);
    if let Some(mutable) = run.mutable {
        sanity.arg(format!("-csi.testvolumemutableparameters={}", file("mutable.yaml", mutable)));
    }
    let output = sanity.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let specs = specs(&fs::read_to_string(&report).unwrap_or_else(|error| panic!("no report: {error}\n{said}")));
    let in_state = |state: &str| -> BTreeSet<&str> {
        specs.iter().filter(|spec| spec.state == state).map(|spec| spec.name.as_str()).collect()
    };
    let (passed, skipped, pending) = (in_state("passed"), in_state("skipped"), in_state("pending"));
    let failed: Vec<String> = specs
        .iter()
        .filter(|spec| !["passed", "skipped", "pending"].contains(&spec.state.as_str()))
        .map(|spec| format!("{}: {}", spec.name, spec.message))
        .collect();
    let counts = [passed.len(), failed.len(), skipped.len(), pending.len()];
    let words = ["passed", "failed", "skipped", "pending"];
    let counted: Vec<String> = counts.iter().zip(words).map(|(count, word)| format!("{count} {word}")).collect();
    notice(&format!("csi-sanity, {}: {}", run.name, counted.join(", ")));
    assert!(failed.is_empty(), "{failed:#?}\n{}", runtime.block_on(plugin.tail()));
    let listed = run.skips.iter().flat_map(|(place, specs, _)| specs.iter().map(move |spec| format!("{place} {spec}")));
    let listed: BTreeSet<String> = listed.collect();
    let unlisted: Vec<&&str> = skipped.iter().filter(|name| !listed.contains(**name)).collect();
    assert!(unlisted.is_empty(), "skipped without a reason in the list: {unlisted:#?}");
    let stale: Vec<&String> = listed.iter().filter(|name| !skipped.contains(name.as_str())).collect();
    assert!(stale.is_empty(), "not skipped any more, take them off the list: {stale:#?}");
    // The suite itself has switched this one off.
    assert!(pending.iter().all(|name| name.contains("pagination should detect volumes added between pages")), "{pending:?}");
    assert!(output.status.success(), "{}: {said}", output.status);
    for made in [&mounts, &stages] {
        assert!(!made.exists(), "the suite could not remove {}", made.display());
    }
    runtime.block_on(plugin.finish());
}

/// What the report says of one specification.
struct Spec {
    name: String,
    state: String,
    message: String,
}

fn specs(report: &str) -> Vec<Spec> {
    let report: Value = serde_json::from_str(report).unwrap();
    let suites = report.as_array().unwrap();
    let specs = suites.iter().flat_map(|suite| suite["SpecReports"].as_array().unwrap());
    let specs = specs.filter(|spec| spec["LeafNodeType"] == "It");
    specs
        .map(|spec| {
            let containers = spec["ContainerHierarchyTexts"].as_array().into_iter().flatten();
            let words = containers.chain([&spec["LeafNodeText"]]).filter_map(Value::as_str);
            Spec {
                name: words.collect::<Vec<_>>().join(" "),
                state: spec["State"].as_str().unwrap().to_owned(),
                message: spec["Failure"]["Message"].as_str().unwrap_or_default().to_owned(),
            }
        })
        .collect()
}

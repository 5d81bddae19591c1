//! The file of the profile adaptor.

use hawser_bridge::agent::Sources;
use serde_json::{Value, json};

use super::{assert_in_order, assert_told, check, directory, expect, profiles};

fn matrix() -> Value {
    json!({"profile_matrix": {"gp3": {
        "csi_plugin_type_selector": {"plugin_type": "org.example.csi"},
        "volume_capabilities": {"mount": {"fs_type": "xfs"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
        "create_parameters": {"type": "gp3"}}}})
}

#[test]
fn one_bad_profile_is_told_as_it_spoils_all() {
    assert_in_order(&profiles(&matrix().to_string()));
    // protobuf's reader takes this, too.
    assert_in_order(&profiles(&matrix().to_string().replace("volume_capabilities", "volumeCapabilities")));
    let gp3 = "$.profile_matrix.gp3";
    let at = |path: &str| format!("{gp3}{path}");
    let (capability, mode) = (at(".volume_capabilities"), at(".volume_capabilities.access_mode.mode"));
    let flags = at(".volume_capabilities.mount.mount_flags");
    let (parameter, kind) = (at(".create_parameters.iops"), at(".csi_plugin_type_selector.plugin_type"));
    let (mount, both) = (at(".volume_capabilities.mount"), at(".csi_plugin_type_selector"));
    let base = "/profile_matrix/gp3";
    let p = |path: &str| format!("{base}{path}");
    let pointers = [
        p("/csi_plugin_type_selector"),
        p("/csi_plugin_type_selector/plugin_type"),
        p("/volume_capabilities"),
        p("/volume_capabilities/mount"),
        p("/volume_capabilities/block"),
        p("/volume_capabilities/access_mode"),
        p("/volume_capabilities/access_mode/mode"),
        p("/volume_capabilities/mount/mount_flags"),
        p("/create_parameters/iops"),
        p("/resource_provider_selector"),
    ];
    let cases = [
        (pointers[0].as_str(), json!(null), gp3, "needs csi_plugin_type_selector"),
        (&pointers[1], json!(""), &kind, "is required"),
        (&pointers[2], json!(null), &capability, "is required"),
        (&pointers[2], json!([]), &capability, "must be an object"),
        (&pointers[3], json!(null), &capability, "needs mount or block"),
        (&pointers[4], json!({}), &mount, "beside block"),
        (&pointers[5], json!(null), &mode, "is required"),
        (&pointers[6], json!("WRITER"), &mode, "no profile of the file is used"),
        (&pointers[7], json!(["f".repeat(4097)]), &flags, "4096"),
        (&pointers[7], json!("noatime"), &flags, "must be a list"),
        (&pointers[8], json!(3000), &parameter, "write it as \"3000\""),
        (&pointers[9], json!({"resource_providers": []}), &both, "one selector too many"),
    ];
    expect(&matrix(), &cases, profiles);
    assert_told(&profiles("{\"profiles\": {}}"), "mistake", "$.profiles", "drops it");
}

#[test]
fn a_profile_for_no_provider_is_warned_of() {
    let providers = directory(&[("a.json", &super::providers::provider().to_string())]);
    let file = directory(&[("p.json", &matrix().to_string().replace("org.example.csi", "org.other"))]);
    let sources = |profiles| Sources { providers: Some(providers.path().into()), profiles, ..Sources::default() };
    assert_told(
        &check(sources(Some(file.path().join("p.json")))),
        "warning",
        "$.profile_matrix.gp3.csi_plugin_type_selector",
        "none",
    );
    let good = directory(&[("p.json", &matrix().to_string())]);
    assert_in_order(&check(sources(Some(good.path().join("p.json")))));
}

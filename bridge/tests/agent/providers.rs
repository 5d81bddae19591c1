//! Files of `--resource_provider_config_dir`.

use hawser_bridge::agent::Sources;
use serde_json::{Value, json};

use super::{assert_in_order, assert_told, check, directory, expect, providers};

pub(crate) fn provider() -> Value {
    json!({"type": "org.apache.mesos.rp.local.storage", "name": "ebs_a",
        "default_reservations": [{"type": "DYNAMIC", "role": "storage"}],
        "storage": {"reconciliation_interval_seconds": 60, "plugin": {"type": "org.example.csi", "name": "ebs", "containers": [{
            "services": ["CONTROLLER_SERVICE", "NODE_SERVICE"],
            "command": {"value": "exec driver"},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]}]}}})
}

#[test]
fn what_mesos_would_not_start_or_would_die_of_is_a_mistake() {
    assert_in_order(&providers(&[("a.json", &provider().to_string())]));
    let services = "/storage/plugin/containers/0/services";
    let cases = [
        ("/type", json!("org.mesos.apache.rp.local.storage"), "$.type", "write org.apache.mesos.rp.local.storage"),
        ("/name", json!("ebs-a"), "$.name", "letters, digits and _"),
        ("/name", json!(""), "$.name", "letters, digits and _"),
        ("/id", json!({"value": "x"}), "$.id", "take it out"),
        ("/storage", json!(null), "$.storage", "is required"),
        ("/storage/plugin", json!(null), "$.storage.plugin", "is required"),
        ("/storage/plugin/type", json!("org.example-csi"), "$.storage.plugin.type", "letters"),
        ("/storage/plugin/type", json!("org..csi"), "$.storage.plugin.type", "letters"),
        ("/storage/plugin/name", json!("e-b"), "$.storage.plugin.name", "letters"),
        (services, json!(["NODE_SERVICE"]), "$.storage.plugin.containers", "aborts on a CHECK"),
        (services, json!(["CONTROLLER_SERVICE"]), "$.storage.plugin.containers", "NODE_SERVICE"),
        ("/storage/plugin/endpoints", json!([]), "$.storage.plugin.endpoints", "starts its plugin itself"),
        ("/storage/plugin/target_path_root", json!("/srv/x"), "$.storage.plugin.target_path_root", "take it out"),
        ("/storage/reconciliation_interval_seconds", json!(-1), "$.storage.reconciliation_interval_seconds", "without a pause"),
        ("/storage/reconciliation_interval_seconds", json!(0.5), "$.storage.reconciliation_interval_seconds", "without a pause"),
        ("/storage/reconcile_seconds", json!(60), "$.storage.reconcile_seconds", "drops it"),
        ("/default_reservations/0/type", json!("DINAMIC"), "$.default_reservations[0].type", "did you mean DYNAMIC?"),
    ];
    expect(&provider(), &cases, |text| providers(&[("a.json", text)]));
    let often = super::with(&provider(), "/storage/reconciliation_interval_seconds", &json!(null));
    assert_told(&providers(&[("a.json", &often)]), "warning", "$.storage.reconciliation_interval_seconds", "is 10");
    let twice = [("a.json", provider().to_string()), ("b.json", provider().to_string())];
    let report = providers(&twice.each_ref().map(|(name, text)| (*name, text.as_str())));
    assert_told(&report, "mistake", "$.name", "Mesos keeps one");
}

#[test]
fn a_plugin_of_a_provider_and_one_of_the_isolator_do_not_share_a_directory() {
    let plugins = directory(&[(
        "a.json",
        r#"{"type": "org.example.csi", "name": "ebs", "endpoints": [{"csi_service": "NODE_SERVICE", "endpoint": "unix:///s"}]}"#,
    )]);
    let providers = directory(&[("b.json", &provider().to_string())]);
    let report = check(Sources {
        csi_plugins: Some(plugins.path().into()),
        providers: Some(providers.path().into()),
        ..Sources::default()
    });
    assert_told(&report, "mistake", "$.storage.plugin", "each deletes there");
}

//! Files of `--csi_plugin_config_dir`.

use std::fs;

use hawser_bridge::agent::{FlagSource, Sources};
use serde_json::{Value, json};

use super::{assert_in_order, assert_told, check, directory, expect, plugins};

fn unmanaged() -> Value {
    json!({"type": "csi.example", "endpoints": [{"csi_service": "NODE_SERVICE", "endpoint": "unix:///run/csi.sock"}]})
}

fn managed() -> Value {
    json!({"type": "org.example.csi", "containers": [{
        "services": ["NODE_SERVICE"],
        "command": {"value": "exec driver --endpoint=$CSI_ENDPOINT"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]}]})
}

#[test]
fn what_mesos_takes_is_in_order() {
    for good in [unmanaged(), managed()] {
        assert_in_order(&plugins(&[("a.json", &good.to_string())]));
    }
    // Its own reader takes numbers and booleans in quotes, and null for nothing.
    let lenient = json!({"type": "org.example.csi", "name": null, "containers": [{
        "services": ["NODE_SERVICE"], "command": {"shell": "true", "value": "x"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": "0.1"}}]}]});
    assert_in_order(&plugins(&[("a.json", &lenient.to_string())]));
}

#[test]
fn what_would_end_an_agent_or_be_dropped_is_a_mistake() {
    let cases = [
        ("/endpoints", json!(null), "$", "aborts on a CHECK"),
        ("/endpoints", json!([]), "$", "aborts on a CHECK"),
        ("/type", json!(null), "$.type", "the agent exits"),
        ("/type", json!(5), "$.type", "the agent exits"),
        ("/type", json!("a/b"), "$.type", "directory"),
        ("/name", json!(".."), "$.name", "directory"),
        ("/endpoint", json!([]), "$.endpoint", "did you mean endpoints?"),
        ("/targetPathRoot", json!("/x"), "$.targetPathRoot", "did you mean target_path_root?"),
        ("/endpoints/0/csi_service", json!("NODE"), "$.endpoints[0].csi_service", "the agent exits"),
        ("/endpoints/0/csi_service", json!(2), "$.endpoints[0].csi_service", "the agent exits"),
        ("/endpoints/0/csi_service", json!(null), "$.endpoints[0].csi_service", "is required"),
        ("/endpoints/0/csi_service", json!("CONTROLLER_SERVICE"), "$.endpoints[0]", "no endpoint is a NODE_SERVICE"),
        ("/endpoints/0/endpoint", json!("/run/csi.sock"), "$.endpoints[0].endpoint", "unix:///run/csi.sock"),
        ("/endpoints/0/endpoint", json!("unix://run/csi.sock"), "$.endpoints[0].endpoint", "absolute"),
        ("/endpoints/0/endpoint", json!("tcp://host:1"), "$.endpoints[0].endpoint", "no address for gRPC"),
        ("/endpoints/0/endpoint", json!(format!("unix:///{}", "s".repeat(108))), "$.endpoints[0].endpoint", "at most 107"),
        ("/endpoints/0/endpoint", json!(null), "$.endpoints[0].endpoint", "is required"),
        ("/target_path_root", json!("mounts"), "$.target_path_root", "absolute"),
        ("/target_path_root", json!("/"), "$.target_path_root", "absolute path below /"),
        ("/target_path_root", json!("/a/../b"), "$.target_path_root", "without `..`"),
        ("/target_path_exists", json!("yes"), "$.target_path_exists", "true or false"),
    ];
    expect(&unmanaged(), &cases, |text| plugins(&[("a.json", text)]));
    let container = "/containers/0";
    let cases = [
        ("/containers/0/services", json!([]), "$.containers[0].services", "CHECK"),
        ("/containers/0/services", json!(["NODE_SERVCE"]), "$.containers[0].services[0]", "drops the word silently"),
        ("/containers/0/services", json!(["CONTROLLER_SERVICE"]), "$.containers", "no container serves NODE_SERVICE"),
        ("/containers/0/services", json!(["NODE_SERVICE", "NODE_SERVICE"]), "$.containers[0].services[1]", "twice"),
        ("/containers/0/command", json!(null), "$.containers[0].command", "nothing to run"),
        ("/containers/0/command", json!({"value": "x", "shel": true}), "$.containers[0].command.shel", "did you mean shell?"),
        ("/containers/0/container", json!({"type": "DOCKER"}), "$.containers[0].container.type", "MESOS"),
        ("/containers/0/resources/0/type", json!("SCALER"), "$.containers[0].resources[0].type", "did you mean SCALAR?"),
        ("/containers/0/resources/0/role", json!("storage"), "$.containers[0].resources[0]", "reserved"),
        ("/containers/0/resources/0/scalar", json!({"value": "much"}), "$.containers[0].resources[0].scalar.value", "number"),
        ("/endpoints", json!([{"csi_service": "NODE_SERVICE", "endpoint": "unix:///s"}]), "$.endpoints[0]", "has no effect"),
        ("/target_path_root", json!("/srv/mounts"), "$.target_path_root", "not mounted into the containers"),
        (container, json!([]), "$.containers[0]", "must be an object"),
    ];
    expect(&managed(), &cases, |text| plugins(&[("a.json", text)]));
}

#[test]
fn the_line_is_told_and_so_is_a_key_that_is_given_twice() {
    let report = plugins(&[("a.json", "{\n \"type\": \"x\",\n \"type\": \"y\",\n \"endpionts\": []\n}")]);
    let told = report.to_string();
    assert!(told.contains("a.json:3: mistake: $.type: is given twice"), "{told}");
    assert!(told.contains("a.json:4: mistake: $.endpionts: "), "{told}");
}

#[test]
fn every_file_is_read_whatever_its_name_and_directories_are_not() {
    let good = unmanaged().to_string();
    assert_told(&plugins(&[]), "mistake", "$", "has no file: the agent exits");
    let report = plugins(&[("a.json", &good), ("a.json~", "{")]);
    assert_told(&report, "mistake", "$", "is not JSON");
    assert_told(&report, "warning", "$", "left behind");
    let nested = directory(&[("a.json", &good)]);
    fs::create_dir(nested.path().join("staging")).unwrap();
    fs::write(nested.path().join("staging/b.json"), "{").unwrap();
    assert_in_order(&check(Sources { csi_plugins: Some(nested.path().into()), ..Sources::default() }));
    let missing = Sources { csi_plugins: Some(nested.path().join("none")), ..Sources::default() };
    assert_told(&check(missing), "mistake", "$", "is no directory: the agent exits");
    assert_told(&plugins(&[("a.json", &good), ("b.json", &good)]), "mistake", "$.type", "as");
}

#[test]
fn a_root_that_an_agent_would_empty_is_a_mistake() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("targets");
    let work_dir = home.path().join("work");
    fs::create_dir_all(root.join("vol%3A1/target")).unwrap();
    fs::create_dir_all(root.join("vol%3A1/staging")).unwrap();
    fs::create_dir_all(work_dir.join("csi/csi.example/default/volumes/vol%3A1")).unwrap();
    let file = |root: &std::path::Path| {
        let mut file = unmanaged();
        file["target_path_root"] = json!(root);
        file.to_string()
    };
    let flags = |work_dir: &std::path::Path| {
        vec![FlagSource::Words(vec![
            format!("--work_dir={}", work_dir.display()),
            "--isolation=filesystem/linux,volume/csi".into(),
            "--csi_plugin_config_dir=/x".into(),
            "--executor_registration_timeout=5mins".into(),
        ])]
    };
    let configs = directory(&[("a.json", &file(&root))]);
    let sources = |flags| Sources { csi_plugins: Some(configs.path().into()), flags, ..Sources::default() };
    // A volume that is in use, known by its record or by its shape.
    assert_in_order(&check(sources(flags(&work_dir))));
    assert_in_order(&check(sources(Vec::new())));
    fs::create_dir(work_dir.join("csi/csi.example/default/volumes/other")).unwrap();
    fs::rename(root.join("vol%3A1"), root.join("vol%3A2")).unwrap();
    assert_told(&check(sources(flags(&work_dir))), "mistake", "$.target_path_root", "vol%3A2");
    fs::write(root.join("precious"), "data").unwrap();
    assert_told(&check(sources(Vec::new())), "mistake", "$.target_path_root", "\"precious\"");
    assert_told(&check(sources(flags(home.path()))), "mistake", "$.target_path_root", "work_dir");

    let other = with_type(&file(&root.join("below")), "csi.other");
    let two = directory(&[("a.json", &file(&root)), ("b.json", &other)]);
    assert_told(
        &check(Sources { csi_plugins: Some(two.path().into()), ..Sources::default() }),
        "mistake",
        "$.target_path_root",
        "give each plugin a directory of its own",
    );
}

fn with_type(file: &str, kind: &str) -> String {
    let mut value: Value = serde_json::from_str(file).unwrap();
    value["type"] = json!(kind);
    value.to_string()
}

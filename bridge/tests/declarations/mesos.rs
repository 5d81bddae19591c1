//! Mesos' own messages: what it refuses, what it drops without a word, and where volumes may stand.

use hawser_bridge::{ClaimedVolume, Create};
use hawser_volume::{AccessKind, Bytes, Filesystem};
use serde_json::{Value, json};

use crate::{expect, mistakes, read, warnings, with};

fn docker_volume() -> Value {
    json!({"container_path": "data", "mode": "RW", "source": {"type": "DOCKER_VOLUME", "docker_volume": {
        "driver": "hawser", "name": "v", "driver_options": {"parameter": [{"key": "size", "value": "10"}]}}}})
}

fn csi_volume() -> Value {
    json!({"container_path": "data", "mode": "RW", "source": {"type": "CSI_VOLUME", "csi_volume": {
        "plugin_name": "csi.hawser.dev", "static_provisioning": {"volume_id": "ebs:vol-1",
            "volume_capability": {"mount": {"fs_type": "ext4"}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
            "volume_context": {"lease": "7"}}}}})
}

fn task(volumes: Value) -> Value {
    json!({"name": "t", "task_id": {"value": "t-1"}, "agent_id": {"value": "a"}, "command": {"value": "sleep 1"},
        "container": {"type": "MESOS", "volumes": volumes}})
}

#[test]
fn a_volume_is_found_wherever_it_may_stand() {
    let volumes = json!([docker_volume(), csi_volume()]);
    let container = json!({"type": "MESOS", "volumes": volumes});
    let group = json!({"tasks": [task(volumes.clone())]});
    for (value, path) in [
        (docker_volume(), "$"),
        (volumes.clone(), "$[0]"),
        (container.clone(), "$.volumes[0]"),
        (task(volumes.clone()), "$.container.volumes[0]"),
        (json!({"name": "t", "container": container}), "$.container.volumes[0]"),
        (json!({"executor_id": {"value": "e"}, "container": container}), "$.container.volumes[0]"),
        (
            json!({"task_id": {"value": "t"}, "executor": {"executor_id": {"value": "e"}, "container": container}}),
            "$.executor.container.volumes[0]",
        ),
        (group.clone(), "$.tasks[0].container.volumes[0]"),
        (
            json!({"type": "ACCEPT", "accept": {"offer_ids": [], "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task(volumes.clone())]}}]}}),
            "$.accept.operations[0].launch.task_infos[0].container.volumes[0]",
        ),
        (
            json!({"type": "LAUNCH_GROUP", "launch_group": {"executor": {"executor_id": {"value": "e"}}, "task_group": group}}),
            "$.launch_group.task_group.tasks[0].container.volumes[0]",
        ),
        (
            json!({"type": "LAUNCH_CONTAINER", "launch_container": {"container_id": {"value": "c"}, "container": container}}),
            "$.launch_container.container.volumes[0]",
        ),
        (
            json!({"type": "GET_STATE", "get_state": {"get_tasks": {"tasks": [task(volumes.clone())]}}}),
            "$.get_state.get_tasks.tasks[0].container.volumes[0]",
        ),
        (
            json!({"type": "GET_EXECUTORS", "get_executors": {"executors": [{"executor_info": {"executor_id": {"value": "e"}, "container": container}}]}}),
            "$.get_executors.executors[0].executor_info.container.volumes[0]",
        ),
    ] {
        let reading = read(&value);
        assert_eq!(mistakes(&reading), &vec![], "{path}");
        assert_eq!(reading.claims.first().map(|claim| claim.declared.place.path.as_str()), Some(path), "{reading:?}");
    }
}

#[test]
fn a_docker_volume_is_a_claim() {
    let reading = read(&task(json!([docker_volume()])));
    let claim = &reading.claims[0];
    let named = claim.named().unwrap();
    assert_eq!((named.name.as_str(), named.size, named.create), ("v", Some(Bytes::gib(10)), Create::IfAbsent));
    assert_eq!((claim.declared.driver.as_deref(), claim.declared.container_path.as_deref()), (Some("hawser"), Some("data")));
}

#[test]
fn a_csi_volume_is_a_claim() {
    let reading = read(&task(json!([csi_volume()])));
    let claim = &reading.claims[0];
    let ClaimedVolume::Existing(existing) = &claim.volume else { panic!("{claim:?}") };
    assert_eq!((existing.id.as_str(), existing.context["lease"].as_str()), ("ebs:vol-1", "7"));
    assert_eq!(claim.access.mount().unwrap().filesystem, Some(Filesystem::Ext4));
    let block = with(
        &csi_volume(),
        "/source/csi_volume/static_provisioning/volume_capability",
        json!({"block": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}),
    );
    let reading = read(&block);
    assert_eq!(reading.claims[0].access.kind, AccessKind::Block);
    assert!(warnings(&reading)[0].text.contains("block device"), "{reading:?}");
}

#[test]
fn what_mesos_refuses_of_a_docker_volume_is_a_mistake_at_its_place() {
    let docker = "/source/docker_volume";
    let cases = [
        ("/container_path".into(), json!(null), "$.container_path", "is required"),
        ("/mode".into(), json!("READ"), "$.mode", "RW or RO"),
        ("/host_path".into(), json!("/x"), "$", "exactly one of"),
        ("/source".into(), json!(null), "$", "exactly one of"),
        ("/source/type".into(), json!("DOCKER"), "$.source.type", "DOCKER_VOLUME, CSI_VOLUME"),
        ("/source/type".into(), json!(1), "$.source.type", "must be text"),
        ("/source/type".into(), json!("CSI_VOLUME"), "$.source.csi_volume", "is required"),
        (format!("{docker}/name"), json!(null), "$.source.docker_volume.name", "is required"),
        (format!("{docker}/driver"), json!(null), "$.source.docker_volume.driver", "isolator refuses"),
        (format!("{docker}/driver"), json!("a/b"), "$.source.docker_volume.driver", "no slash"),
        (
            format!("{docker}/driver_options"),
            json!({"size": "1"}),
            "$.source.docker_volume.driver_options.parameter",
            "is required",
        ),
        (
            format!("{docker}/driver_options/parameter/0"),
            json!({"key": "size"}),
            "$.source.docker_volume.driver_options.parameter[0].value",
            "is required",
        ),
        (
            format!("{docker}/driver_options/parameter/0/value"),
            json!(10),
            "$.source.docker_volume.driver_options.parameter[0].value",
            "write it as \"10\"",
        ),
        (
            format!("{docker}/driver_options/parameter/0/key"),
            json!("sise"),
            "$.source.docker_volume.driver_options.parameter[0]",
            "did you mean size",
        ),
    ];
    for (pointer, other, path, text) in cases {
        expect(&docker_volume(), &[(&pointer, other, path, text)], mistakes);
    }
}

#[test]
fn what_mesos_refuses_of_a_csi_volume_is_a_mistake_at_its_place() {
    const P: &str = "/source/csi_volume/static_provisioning";
    const PATH: &str = "$.source.csi_volume.static_provisioning";
    let cases = [
        ("/source/csi_volume/plugin_name".into(), json!(null), "$.source.csi_volume.plugin_name".into(), "is required"),
        (P.into(), json!(null), PATH.into(), "is required"),
        (format!("{P}/volume_id"), json!(null), format!("{PATH}.volume_id"), "is required"),
        (format!("{P}/volume_id"), json!(""), format!("{PATH}.volume_id"), "no id"),
        (format!("{P}/volume_capability"), json!(null), format!("{PATH}.volume_capability"), "is required"),
        (format!("{P}/volume_capability/block"), json!({}), format!("{PATH}.volume_capability"), "one of them"),
        (format!("{P}/volume_capability/mount"), json!(null), format!("{PATH}.volume_capability"), "one of them"),
        (
            format!("{P}/volume_capability/access_mode"),
            json!("SINGLE_NODE_WRITER"),
            format!("{PATH}.volume_capability.access_mode"),
            "must be an object",
        ),
        (
            format!("{P}/volume_capability/access_mode/mode"),
            json!("UNKNOWN"),
            format!("{PATH}.volume_capability.access_mode.mode"),
            "no access mode of Mesos",
        ),
        (format!("{P}/volume_capability/access_mode/mode"), json!("MULTI_NODE_READER_ONLY"), "$".into(), "nobody writes"),
        (format!("{P}/volume_context"), json!([]), format!("{PATH}.volume_context"), "must be an object"),
        (format!("{P}/volume_context/lease"), json!(7), format!("{PATH}.volume_context.lease"), "must be text"),
    ];
    for (pointer, other, path, text) in cases {
        expect(&csi_volume(), &[(&pointer, other, &path, text)], mistakes);
    }
}

/// stout drops what it does not know. A capital letter is enough to lose a volume's source.
#[test]
fn what_mesos_drops_without_a_word_is_told() {
    expect(
        &csi_volume(),
        &[
            (
                "/source/csi_volume/static_provisioning/readonly",
                json!(true),
                "$.source.csi_volume.static_provisioning.readonly",
                "no effect",
            ),
            (
                "/source/csi_volume/static_provisioning/node_stage_secrets",
                json!({}),
                "$.source.csi_volume.static_provisioning.node_stage_secrets",
                "Mesos drops it",
            ),
            (
                "/source/csi_volume/static_provisioning/volume_capability/mount/fsType",
                json!("xfs"),
                "$.source.csi_volume.static_provisioning.volume_capability.mount.fsType",
                "did you mean fs_type?",
            ),
        ],
        warnings,
    );
    let misspelt = json!([{"containerPath": "d", "mode": "RW", "source": docker_volume()["source"]}]);
    let reading = read(&task(misspelt));
    assert!(mistakes(&reading)[0].text.contains("\"containerPath\" is there, which is not read"), "{reading:?}");
}

#[test]
fn a_container_names_each_volume_once() {
    for volume in [docker_volume(), csi_volume()] {
        let reading = read(&task(json!([volume, volume])));
        assert_eq!(mistakes(&reading)[0].place.path, "$.container.volumes[1]", "{reading:?}");
    }
    let other = with(&docker_volume(), "/source/docker_volume/driver", json!("other"));
    assert_eq!(mistakes(&read(&task(json!([docker_volume(), other])))), &vec![]);
}

#[test]
fn a_docker_container_has_one_driver_and_no_options() {
    let docker =
        |volumes: Value| json!({"type": "DOCKER", "docker": {"image": "i", "volume_driver": "hawser"}, "volumes": volumes});
    let reading = read(&docker(json!([docker_volume()])));
    assert_eq!((mistakes(&reading).len(), reading.claims[0].named().unwrap().size), (0, None));
    assert!(warnings(&reading)[0].text.contains("hands no options on"), "{reading:?}");

    let plain = json!({"container_path": "/d", "mode": "RO", "host_path": "pgdata"});
    let host = json!({"container_path": "/e", "mode": "RO", "host_path": "/etc"});
    let reading = read(&docker(json!([plain, host])));
    assert_eq!(mistakes(&reading), &vec![]);
    let [claim] = reading.claims.as_slice() else { panic!("{reading:?}") };
    assert_eq!(
        (claim.named().unwrap().name.as_str(), claim.declared.driver.as_deref(), claim.read_only),
        ("pgdata", Some("hawser"), true)
    );

    let other = with(&docker_volume(), "/source/docker_volume/driver", json!("other"));
    assert!(mistakes(&read(&docker(json!([docker_volume(), other]))))[0].text.contains("one driver"));
    assert!(mistakes(&read(&docker(json!([csi_volume()]))))[0].text.contains("without a word"));
    let alone = json!({"type": "DOCKER", "docker": {"image": "i"}, "volumes": [with(&docker_volume(), "/source/docker_volume/driver", json!(null))]});
    let reading = read(&alone);
    assert!(reading.claims.is_empty() && mistakes(&reading).is_empty());
    assert!(warnings(&reading).iter().any(|warning| warning.text.contains("Hawser never hears of it")));
    assert!(mistakes(&read(&json!({"type": "RKT", "volumes": []})))[0].text.contains("MESOS or DOCKER"));
}

/// The parameters that mesos/elasticsearch gives to Docker, and the environment that it gives to the module.
#[test]
fn tasks_of_mesos_elasticsearch_are_understood() {
    let variables = json!([
        {"name": "ELASTICSEARCH_NODE_ID", "value": "2"},
        {"name": "DVDI_VOLUME_DRIVER1", "value": "rexray"}, {"name": "DVDI_VOLUME_NAME1", "value": "elasticsearch2data"},
        {"name": "DVDI_VOLUME_OPTS1", "value": "size=10"}, {"name": "DVDI_VOLUME_CONTAINERPATH", "value": "/tmp/es"}]);
    let jar = json!({"name": "es", "task_id": {"value": "t"}, "slave_id": {"value": "a"}, "command": {"environment": {"variables": variables}}});
    let reading = read(&jar);
    assert_eq!(mistakes(&reading), &vec![]);
    assert_eq!(reading.claims[0].declared.container_path.as_deref(), Some("/tmp/es"));
    assert_eq!(reading.claims[0].declared.place.path, "$.command.environment.variables[2]");
    assert!(warnings(&reading).iter().any(|warning| warning.place.path == "$.command.environment.variables[4]"));

    let docker = json!({"name": "es", "task_id": {"value": "t"}, "container": {"type": "DOCKER", "docker": {"image": "es", "parameters": [
        {"key": "env", "value": "MESOS_TASK_ID=t"}, {"key": "volume-driver", "value": "rexray"},
        {"key": "volume", "value": "elasticsearch2data:/usr/share/elasticsearch/data"}]}}});
    let reading = read(&docker);
    assert_eq!(mistakes(&reading), &vec![]);
    assert_eq!(reading.claims[0].named().unwrap().name.as_str(), "elasticsearch2data");
}

#[test]
fn an_environment_that_the_module_does_not_see_is_a_mistake() {
    let environment = json!({"variables": [{"name": "DVDI_VOLUME_NAME", "value": "v"}]});
    let in_group = json!({"tasks": [{"name": "t", "command": {"environment": environment}}]});
    assert!(mistakes(&read(&in_group))[0].text.contains("executor's environment"));
    let mut docker = task(json!([]));
    docker["container"] = json!({"type": "DOCKER", "docker": {"image": "i"}});
    docker["command"]["environment"] = environment.clone();
    assert!(mistakes(&read(&docker))[0].text.contains("Mesos containerizer"));
    let secret = json!({"environment": {"variables": [{"name": "DVDI_VOLUME_NAME", "type": "SECRET", "secret": {}}]}});
    assert!(mistakes(&read(&secret))[0].text.contains("secret"));
    assert_eq!(read(&json!({"environment": environment})).claims.len(), 1);
}

#[test]
fn a_request_for_a_docker_volume_is_read() {
    for request in [
        json!({"Name": "pgdata", "Opts": {"size": "10", "newFsType": "xfs"}}),
        json!({"Name": "pgdata", "Driver": "hawser", "DriverOpts": {"size": "10", "newFsType": "xfs"}, "Labels": {}}),
    ] {
        let reading = read(&request);
        assert_eq!(mistakes(&reading), &vec![]);
        assert_eq!(reading.claims[0].named().unwrap().size, Some(Bytes::gib(10)));
    }
    let reading = read(&json!({"Name": "pgdata", "Opts": {"sise": "10"}, "DriverOps": {}}));
    assert_eq!(mistakes(&reading)[0].place.path, "$.Opts.sise");
    assert!(warnings(&reading)[0].text.contains("did you mean DriverOpts?"));
}

#[test]
fn a_file_of_another_kind_is_told_so() {
    for value in [json!({}), json!({"kind": "Pod"}), json!([{"x": 1}]), json!(5), json!("x"), json!(null)] {
        let reading = read(&value);
        assert!(reading.claims.is_empty() && !mistakes(&reading).is_empty(), "{value}");
        assert!(mistakes(&reading)[0].place.path.starts_with('$'));
    }
}

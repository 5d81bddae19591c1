//! Marathon's rules, each broken once.

use hawser_bridge::{ClaimedVolume, Retain, Takeover};
use hawser_volume::{AccessMode, Bytes};
use serde_json::{Value, json};

use crate::{expect, mistakes, read, warnings, with};

fn dvdi() -> Value {
    json!({
        "id": "/a", "cmd": "sleep 1", "instances": 1,
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
        "container": {"type": "MESOS", "volumes": [{"containerPath": "data", "mode": "RW", "external": {
            "provider": "dvdi", "name": "v", "size": 10, "options": {"dvdi/driver": "rexray", "dvdi/iops": "100"}}}]}
    })
}

fn csi() -> Value {
    json!({
        "id": "/a", "cmd": "sleep 1", "instances": 1,
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
        "container": {"type": "MESOS", "volumes": [{"containerPath": "data", "mode": "RW", "external": {
            "provider": "csi", "name": "ebs:vol-1", "options": {"pluginName": "csi.hawser.dev",
                "capability": {"accessMode": "SINGLE_NODE_WRITER", "accessType": "mount", "fsType": "ext4"}}}}]}
    })
}

const EXTERNAL: &str = "/container/volumes/0/external";

#[test]
fn what_marathon_refuses_of_a_dvdi_volume_is_a_mistake_at_its_place() {
    let external = |rest: &str| format!("{EXTERNAL}{rest}");
    let long = "v".repeat(129);
    let cases = [
        (external("/provider"), json!("ceph"), "$.container.volumes[0].external.provider", "dvdi or csi"),
        (external("/provider"), json!(null), "$.container.volumes[0].external.provider", "is required"),
        (external("/name"), json!(null), "$.container.volumes[0].external.name", "is required"),
        (external("/name"), json!(""), "$.container.volumes[0].external.name", "is required"),
        (external("/name"), json!(long), "$.container.volumes[0].external.name", "129 bytes"),
        (external("/name"), json!("a{node}"), "$.container.volumes[0].external.name", "{framework} and {slot}"),
        (external("/size"), json!("10"), "$.container.volumes[0].external.size", "without quotes"),
        (external("/size"), json!(0), "$.container.volumes[0].external.size", "no room"),
        (external("/size"), json!(-1), "$.container.volumes[0].external.size", "negative"),
        (external("/size"), json!(1.5), "$.container.volumes[0].external.size", "not whole"),
        (external("/size"), json!(u64::MAX), "$.container.volumes[0].external.size", "more than there can be"),
        (external("/shared"), json!("true"), "$.container.volumes[0].external.shared", "without quotes"),
        (external("/options"), json!(null), "$.container.volumes[0].external.options['dvdi/driver']", "is required"),
        (
            external("/options/dvdi~1driver"),
            json!("RexRay"),
            "$.container.volumes[0].external.options['dvdi/driver']",
            "[a-z0-9]",
        ),
        (external("/options/dvdi~1iops"), json!(100), "$.container.volumes[0].external.options['dvdi/iops']", "\"100\""),
        (external("/options/dvdi~1iops"), json!("many"), "$.container.volumes[0].external.options['dvdi/iops']", "whole number"),
        (external("/options/size"), json!("1"), "$.container.volumes[0].external.options.size", "dvdi/NAME"),
        (
            external("/options/dvdi~1sise"),
            json!("1"),
            "$.container.volumes[0].external.options['dvdi/sise']",
            "did you mean size",
        ),
        (
            external("/options/dvdi~1newfstype"),
            json!("EXT4"),
            "$.container.volumes[0].external.options['dvdi/newfstype']",
            "rexray",
        ),
        (
            external("/options/dvdi~1overwritefs"),
            json!("1"),
            "$.container.volumes[0].external.options['dvdi/overwritefs']",
            "true or false",
        ),
        ("/container/volumes/0/mode".into(), json!("RO"), "$.container.volumes[0]", "RW only"),
        ("/container/volumes/0/mode".into(), json!("rw"), "$.container.volumes[0].mode", "RW or RO"),
        ("/container/volumes/0/mode".into(), json!(null), "$.container.volumes[0].mode", "is required"),
        ("/container/volumes/0/containerPath".into(), json!(".."), "$.container.volumes[0].containerPath", "refused by Marathon"),
        ("/container/volumes/0/containerPath".into(), json!(""), "$.container.volumes[0].containerPath", "no path"),
        (
            "/container/volumes/0".into(),
            json!({"containerPath": "d", "mode": "RW", "externl": {}}),
            "$.container.volumes[0]",
            "did you mean external?",
        ),
        ("/container/type".into(), json!("DOCKER"), "$.container.volumes[0].external.size", "no size on"),
        (
            "/container/type".into(),
            json!(null),
            "$.container.volumes[0].external.options['dvdi/iops']",
            "default when type is missing",
        ),
        ("/container/type".into(), json!("UCR"), "$.container.type", "MESOS or DOCKER"),
        ("/instances".into(), json!(2), "$.instances", "one instance with dvdi"),
        ("/instances".into(), json!("1"), "$.instances", "without quotes"),
        ("/upgradeStrategy/maximumOverCapacity".into(), json!(1), "$.upgradeStrategy.maximumOverCapacity", "must be 0"),
        ("/upgradeStrategy/maximumOverCapacity".into(), json!(1.5), "$.upgradeStrategy.maximumOverCapacity", "from 0 to 1"),
        ("/upgradeStrategy/minimumHealthCapacity".into(), json!(null), "$.upgradeStrategy.minimumHealthCapacity", "is required"),
    ];
    for (pointer, other, path, text) in cases {
        expect(&dvdi(), &[(&pointer, other, path, text)], mistakes);
    }
    let reading = read(&dvdi());
    assert!(reading.findings.mistakes.is_empty() && reading.findings.warnings.is_empty(), "{:?}", reading.findings);
}

#[test]
fn what_marathon_accepts_and_the_user_may_regret_is_a_warning() {
    expect(
        &dvdi(),
        &[
            ("/upgradeStrategy", json!(null), "$.upgradeStrategy", "default strategy"),
            (
                "/upgradeStrategy/minimumHealthCapacity",
                json!(1),
                "$.upgradeStrategy",
                "starts the new instance while the old one runs",
            ),
            ("/container/volumes/0/external/size", json!(null), "$.container.volumes[0]", "no size, so it must exist"),
            ("/container/volumes/0/external/size", json!(102_400), "$.container.volumes[0].external.size", "100TiB"),
            ("/container/volumes/0/external/sise", json!(1), "$.container.volumes[0].external.sise", "did you mean size?"),
            (
                "/container/volumes/0/external/options/other~1x",
                json!("1"),
                "$.container.volumes[0].external.options['other/x']",
                "no effect",
            ),
            (
                "/container/volumes/0/external/options/dvdi~1size",
                json!("1"),
                "$.container.volumes[0].external.options['dvdi/size']",
                "external.size",
            ),
            (
                "/container/volumes/0/external/options/dvdi~1Driver",
                json!("x"),
                "$.container.volumes[0].external.options['dvdi/Driver']",
                "no effect",
            ),
            (
                "/container/volumes/0/external/options/dvdi~1overwritefs",
                json!("true"),
                "$.container.volumes[0].external.options['dvdi/overwritefs']",
                "never formats",
            ),
            (
                "/container/volumes/0/external/options/dvdi~1retain",
                json!("delete-with-task"),
                "$.container.volumes[0]",
                "also when it is only restarted",
            ),
        ],
        warnings,
    );
    // An app with a local volume as well is resident: Marathon never starts one instance too many of it.
    let local = json!({"containerPath": "l", "mode": "RW", "persistent": {"size": 10}});
    let mut resident = with(&dvdi(), "/upgradeStrategy", json!(null));
    resident["container"]["volumes"].as_array_mut().unwrap().push(local);
    assert_eq!(read(&resident).findings.warnings, []);
}

#[test]
fn options_of_a_dvdi_volume_reach_the_claim() {
    let mut app = dvdi();
    app["container"]["volumes"][0]["external"]["options"] = json!({
        "dvdi/driver": "hawser", "dvdi/IOPS": " 300 ", "dvdi/volumetype": "io2", "dvdi/retain": "delete-with-task",
        "dvdi/takeover": "unreachable-after 1h", "dvdi/size": "99"
    });
    let reading = read(&app);
    assert_eq!(reading.findings.mistakes, []);
    let claim = &reading.claims[0];
    let named = claim.named().unwrap();
    assert_eq!(named.size, Some(Bytes::gib(10)), "external.size trumps dvdi/size");
    assert_eq!((named.parameters["iops"].as_str(), named.parameters["type"].as_str()), ("300", "io2"));
    assert_eq!(
        (named.retain, claim.takeover),
        (Retain::DeleteWithTask, Some("unreachable-after-1h".parse::<Takeover>().unwrap()))
    );
}

#[test]
fn a_shared_volume_is_written_by_many() {
    let shared = with(&dvdi(), "/container/volumes/0/external/shared", json!(true));
    assert_eq!(read(&shared).claims[0].access.mode, AccessMode::MultiNodeMultiWriter);
    let said = with(&shared, "/container/volumes/0/external/options/dvdi~1accessMode", json!("MULTI_NODE_SINGLE_WRITER"));
    assert_eq!(read(&said).claims[0].access.mode, AccessMode::MultiNodeSingleWriter);
}

#[test]
fn what_marathon_refuses_of_a_csi_volume_is_a_mistake_at_its_place() {
    const OPTIONS: &str = "$.container.volumes[0].external.options";
    let path = |rest: &str| format!("{OPTIONS}{rest}");
    let pointer = |rest: &str| format!("{EXTERNAL}/options{rest}");
    let cases = [
        (pointer(""), json!(null), path(""), "is required"),
        (pointer("/pluginName"), json!(null), path(".pluginName"), "is required"),
        (pointer("/pluginName"), json!(""), path(".pluginName"), "no name of a driver"),
        (pointer("/capability"), json!(null), path(".capability"), "is required"),
        (
            pointer("/capability/accessMode"),
            json!("SINGLE_NODE_SINGLE_WRITER"),
            path(".capability.accessMode"),
            "no access mode of Mesos",
        ),
        (
            pointer("/capability/accessMode"),
            json!("single_node_writer"),
            path(".capability.accessMode"),
            "no access mode of Mesos",
        ),
        (pointer("/capability/accessType"), json!("MOUNT"), path(".capability.accessType"), "mount or block"),
        (pointer("/capability/fsType"), json!(null), path(".capability.fsType"), "Marathon fails without it"),
        (pointer("/capability/fsType"), json!("ntfs"), path(".capability.fsType"), "ext4, xfs or btrfs"),
        (pointer("/capability/mountFlags"), json!("ro"), path(".capability.mountFlags"), "must be a list"),
        (pointer("/capability/mountFlags"), json!([5]), path(".capability.mountFlags[0]"), "must be text"),
        (pointer("/volumeContext"), json!({"size": 5}), path(".volumeContext.size"), "write it as \"5\""),
        (pointer("/volumeContext"), json!({"create": "if-absent"}), "$.container.volumes[0]".into(), "add size"),
        (
            pointer("/volumeContext"),
            json!({"create": "never", "colour": "red"}),
            path(".volumeContext.colour"),
            "is not an option",
        ),
        (pointer("/volumeContext"), json!({"takeover": "always"}), path(".volumeContext.takeover"), "agent-gone"),
        (pointer("/volumeContext"), json!({"backend": "nfs"}), path(".volumeContext.backend"), "the volume's id says ebs"),
        (format!("{EXTERNAL}/name"), json!(".."), "$.container.volumes[0].external.name".into(), "directory of Mesos' own"),
        (format!("{EXTERNAL}/name"), json!("é".repeat(60)), "$.container.volumes[0].external.name".into(), "360 bytes"),
        (pointer("/capability/accessMode"), json!("MULTI_NODE_READER_ONLY"), "$.container.volumes[0]".into(), "nobody writes"),
        ("/container/type".into(), json!("DOCKER"), "$.container.volumes[0]".into(), "without a word"),
        ("/instances".into(), json!(2), "$.instances".into(), "only one node can have"),
    ];
    for (pointer, other, path, text) in cases {
        expect(&csi(), &[(&pointer, other, &path, text)], mistakes);
    }
    let reading = read(&csi());
    assert!(reading.findings.mistakes.is_empty() && reading.findings.warnings.is_empty(), "{:?}", reading.findings);
    assert!(matches!(reading.claims[0].volume, ClaimedVolume::Existing(_)));
}

#[test]
fn hazards_of_a_csi_volume_are_warnings() {
    expect(
        &csi(),
        &[
            (
                "/container/volumes/0/external/options/nodeStageSecret",
                json!({"k": "s"}),
                "$.container.volumes[0].external.options.nodeStageSecret",
                "never reaches the plugin",
            ),
            (
                "/container/volumes/0/external/options/capability/fstype",
                json!("xfs"),
                "$.container.volumes[0].external.options.capability.fstype",
                "did you mean fsType?",
            ),
            ("/container/volumes/0/external/size", json!(5), "$.container.volumes[0].external.size", "no effect"),
            ("/container/volumes/0/external/name", json!("pgdata"), "$.container.volumes[0].external.name", "create=if-absent"),
            (
                "/container/volumes/0/external/options/volumeContext",
                json!({"size": "5"}),
                "$.container.volumes[0].external.options.volumeContext.size",
                "create=if-absent",
            ),
            // There is no rule of Marathon's against it, as there is for dvdi.
            ("/upgradeStrategy/maximumOverCapacity", json!(1), "$.upgradeStrategy", "starts the new instance"),
            ("/upgradeStrategy", json!(null), "$.upgradeStrategy", "default strategy"),
        ],
        warnings,
    );
}

/// CSIProvider.scala judges all volumes of an app together, so one that many nodes may write lets the others slip through.
#[test]
fn many_instances_are_for_volumes_that_many_nodes_may_have() {
    let several = with(&csi(), "/instances", json!(3));
    let mode = "/container/volumes/0/external/options/capability/accessMode";
    let many = with(&several, mode, json!("MULTI_NODE_MULTI_WRITER"));
    assert_eq!((mistakes(&read(&many)), warnings(&read(&many))), (&vec![], &vec![]));
    let single = with(&several, mode, json!("MULTI_NODE_SINGLE_WRITER"));
    assert_eq!(mistakes(&read(&single))[0].place.path, "$.instances");
    assert_eq!(mistakes(&read(&with(&single, "/container/volumes/0/mode", json!("RO")))), &vec![]);
    let mut mixed = single;
    let mut other = many["container"]["volumes"][0].clone();
    other["external"]["name"] = json!("ebs:vol-2");
    mixed["container"]["volumes"].as_array_mut().unwrap().push(other);
    let reading = read(&mixed);
    assert_eq!(mistakes(&reading), &vec![]);
    assert!(warnings(&reading).iter().any(|warning| warning.text.contains("Hawser will refuse")), "{reading:?}");
}

#[test]
fn a_slot_needs_a_host_of_its_own() {
    let name = "/container/volumes/0/external/name";
    let mut app = with(&with(&csi(), "/instances", json!(3)), name, json!("{framework}{slot}data"));
    app["container"]["volumes"][0]["external"]["options"]["capability"]["accessMode"] = json!("MULTI_NODE_MULTI_WRITER");
    app["container"]["volumes"][0]["external"]["options"]["volumeContext"] = json!({"create": "if-absent", "size": "1"});
    let reading = read(&app);
    assert!(reading.claims[0].named().unwrap().name.has_slot());
    assert!(warnings(&reading).iter().any(|warning| warning.text.contains("UNIQUE")), "{:?}", reading.findings);
    for constraint in [json!([["hostname", "UNIQUE"]]), json!([["zone", "GROUP_BY"], ["@hostname", "MAX_PER", "1"]])] {
        assert_eq!(warnings(&read(&with(&app, "/constraints", constraint))), &vec![]);
    }
}

#[test]
fn a_name_is_used_once_in_an_app_and_by_one_app() {
    let mut twice = dvdi();
    let mut again = twice["container"]["volumes"][0].clone();
    again["containerPath"] = json!("other");
    twice["container"]["volumes"].as_array_mut().unwrap().push(again);
    let reading = read(&twice);
    assert_eq!(mistakes(&reading)[0].place.path, "$.container.volumes[1]");

    let (first, second) = (dvdi(), with(&dvdi(), "/id", json!("/b")));
    let group = json!({"id": "/", "apps": [first], "groups": [{"id": "g", "apps": [with(&second, "/id", json!("b"))]}]});
    let said: Vec<String> = mistakes(&read(&group)).iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("$.apps[0].container.volumes[0]") && said[0].contains("\"/g/b\""), "{said:?}");
    assert!(said[1].contains("$.groups[0].apps[0].container.volumes[0]") && said[1].contains("\"/a\""), "{said:?}");

    // A shared one may not stand beside one that is not; two shared ones may.
    let shared = |app: &Value| with(app, "/container/volumes/0/external/shared", json!(true));
    let other = with(&dvdi(), "/id", json!("/b"));
    assert_eq!(mistakes(&read(&json!([shared(&dvdi()), other]))).len(), 1);
    assert_eq!(mistakes(&read(&json!([shared(&dvdi()), shared(&other)]))), &vec![]);
    // Another provider has its own names.
    let csi = with(&with(&csi(), "/id", json!("/c")), "/container/volumes/0/external/name", json!("v"));
    assert_eq!(mistakes(&read(&json!([dvdi(), csi]))), &vec![]);
    // The rule is Marathon's for readers of a volume that one node writes (ProviderValidationHelpers.readOnlyMultiReader).
    let mode = "/container/volumes/0/external/options/capability/accessMode";
    let writer = with(&csi_app("/w"), mode, json!("MULTI_NODE_SINGLE_WRITER"));
    let reader = with(&with(&writer, "/id", json!("/r")), "/container/volumes/0/mode", json!("RO"));
    assert_eq!(mistakes(&read(&json!([writer, reader]))), &vec![]);
    assert_eq!(mistakes(&read(&json!([writer, with(&writer, "/id", json!("/x"))]))).len(), 2);
}

fn csi_app(id: &str) -> Value {
    with(&csi(), "/id", json!(id))
}

#[test]
fn a_docker_container_has_a_name_and_nothing_else() {
    let mut app = dvdi();
    app["container"] = json!({
        "type": "DOCKER", "docker": {"image": "alpine", "parameters": [
            {"key": "volume-driver", "value": "rexray"}, {"key": "volume", "value": "es0data:/data"},
            {"key": "volume", "value": "/host:/x"}, {"key": "volume", "value": "ro:/y:ro,z"}, {"key": "env", "value": "A=B"}]},
        "volumes": [{"containerPath": "/d", "mode": "RO", "external": {"provider": "dvdi", "name": "v", "options": {"dvdi/driver": "rexray"}}}]
    });
    let reading = read(&app);
    assert_eq!(mistakes(&reading), &vec![]);
    let said: Vec<_> = reading
        .claims
        .iter()
        .map(|claim| (claim.named().unwrap().name.as_str(), claim.declared.container_path.as_deref().unwrap(), claim.read_only))
        .collect();
    assert_eq!(said, [("v", "/d", true), ("es0data", "/data", false), ("ro", "/y", true)]);
    app["container"]["docker"]["parameters"][1]["value"] = json!("/anonymous");
    assert!(mistakes(&read(&app))[0].text.contains("name:/path"), "{:?}", read(&app));
    app["container"]["docker"]["parameters"][0]["key"] = json!("cap-add");
    assert_eq!(read(&app).claims.len(), 1, "without a driver a name is Docker's own volume");
}

#[test]
fn the_environment_of_the_dvdi_module_is_read() {
    let app = json!({"id": "/a", "cmd": "x", "env": {
        "DVDI_VOLUME_NAME": "VolXYZ", "DVDI_VOLUME_OPTS": "size=5,newfstype=xfs", "OTHER": {"secret": "s"}}});
    let reading = read(&app);
    assert_eq!(mistakes(&reading), &vec![]);
    assert_eq!(reading.claims[0].declared.place.path, "$.env.DVDI_VOLUME_NAME");
    assert_eq!(reading.claims[0].declared.driver.as_deref(), Some("rexray"));
    expect(
        &app,
        &[
            ("/env/DVDI_VOLUME_NAME", json!({"secret": "s"}), "$.env.DVDI_VOLUME_NAME", "secret"),
            ("/env/DVDI_VOLUME_NAME", json!(5), "$.env.DVDI_VOLUME_NAME", "must be text"),
            ("/env/DVDI_VOLUME_OPTS", json!("size=-5"), "$.env.DVDI_VOLUME_OPTS", "negative"),
            ("/container", json!({"docker": {"image": "i"}}), "$.env.DVDI_VOLUME_NAME", "no effect in a Docker container"),
        ],
        mistakes,
    );
}

#[test]
fn a_pod_has_no_external_volumes() {
    let pod = json!({"id": "/p", "containers": [{"name": "c"}], "volumes": [{"name": "v", "external": {"provider": "dvdi"}}]});
    assert_eq!(mistakes(&read(&pod))[0].place.path, "$.volumes[0].external");
    assert_eq!(mistakes(&read(&json!({"groups": [{"pods": [pod]}]})))[0].place.path, "$.groups[0].pods[0].volumes[0].external");
}

#[test]
fn an_answer_of_marathon_is_read_as_what_was_posted() {
    assert_eq!(read(&json!({"app": dvdi()})).claims[0].declared.place.path, "$.app.container.volumes[0]");
    assert_eq!(read(&json!({"apps": [dvdi()]})).claims.len(), 1);
}

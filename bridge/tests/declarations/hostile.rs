//! Files that nobody means well with, or that a generator got wrong: never a panic, never a claim with something in it that was
//! not declared, always a mistake that names the place.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hawser_bridge::ClaimedVolume;
use hawser_bridge::declaration::Form;
use hawser_bridge::declare::{self, Reading};
use hawser_bridge::plan::Plan;
use hawser_volume::AccessKind;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Stands for the value that is replaced; no example has it.
const HOLE: &str = "@@hole@@";

/// What is put into the hole, as raw JSON.
fn hostile() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    vec![
        ("a list", "[]".into()),
        ("an object", "{}".into()),
        ("a boolean", "true".into()),
        ("a list of lists", deep("[", "]")),
        ("objects in objects", format!("{}1{}", "{\"a\":".repeat(20_000), "}".repeat(20_000))),
        ("a long text", format!("\"{}\"", "a".repeat(10_000))),
        ("a NUL", "\"a\\u0000b\"".into()),
        ("half a pair", "\"\\ud800\"".into()),
        ("a negative number", "-1".into()),
        ("a fraction", "0.5".into()),
        ("a huge power", "1e999999".into()),
        ("a number of a thousand digits", "9".repeat(1000)),
    ]
}

fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/examples").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn examples() -> [Value; 4] {
    ["marathon-dvdi.json", "marathon-csi.json", "mesos-docker-volume.json", "mesos-csi-volume.json"].map(example)
}

/// Every scalar below `value`, by its path as Hawser writes it and its JSON pointer.
fn leaves(value: &Value, path: &str, pointer: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let short = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let segment = if short { format!(".{key}") } else { format!("['{key}']") };
                leaves(value, &format!("{path}{segment}"), &format!("{pointer}/{}", key.replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                leaves(value, &format!("{path}[{index}]"), &format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push((path.to_owned(), pointer.to_owned())),
    }
}

/// The message is one line of a length that a terminal can show, and no larger for a larger file.
fn assert_sayable(reading: &Reading) {
    for finding in reading.findings.mistakes.iter().chain(&reading.findings.warnings) {
        let said = finding.to_string();
        assert!(said.len() < 2000 && !said.contains(['\n', '\0']), "{said:?}");
        assert!(finding.place.path.starts_with('$') && finding.place.line.is_some(), "{said}");
    }
}

/// Every text in the claim stands in the file.
fn assert_declared(reading: &Reading, file: &str) {
    let stands = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap();
        assert!(file.contains(quoted.trim_matches('"')), "{text:?} does not stand in {file}");
    };
    for claim in &reading.claims {
        match &claim.volume {
            ClaimedVolume::Named(named) => {
                stands(named.name.as_str());
                // `encrypted: 1` becomes `true`, the only value that is rewritten.
                named
                    .parameters
                    .values()
                    .filter(|value| !matches!(value.as_str(), "true" | "false"))
                    .for_each(|value| stands(value));
                assert!(named.size.is_none() || file.to_lowercase().contains("size"));
            }
            ClaimedVolume::Existing(existing) => {
                stands(existing.id.as_str());
                existing.context.iter().for_each(|(key, value)| {
                    stands(key);
                    stands(value);
                });
            }
        }
        if let AccessKind::Mount(mount) = &claim.access.kind {
            mount.flags.iter().for_each(|flag| stands(flag));
        }
        claim.backend.iter().for_each(|backend| stands(backend.as_str()));
        claim.declared.container_path.iter().for_each(|path| stands(path));
        let default = |driver: &&String| claim.declared.form == Form::DvdiEnvironment && *driver == "rexray";
        claim.declared.driver.iter().filter(|driver| !default(driver)).for_each(|driver| stands(driver));
    }
}

/// Puts each of `values` in the place of each value of the example's volumes; gives how often.
fn replace_each(good: &Value, values: &[(&str, String)]) -> usize {
    let mut places = Vec::new();
    leaves(good.pointer("/container/volumes").unwrap(), "$.container.volumes", "/container/volumes", &mut places);
    for (path, pointer) in &places {
        let mut holed = good.clone();
        *holed.pointer_mut(pointer).unwrap() = HOLE.into();
        let holed = serde_json::to_string(&holed).unwrap();
        for (what, raw) in values {
            let file = holed.replace(&format!("\"{HOLE}\""), raw);
            let begun = Instant::now();
            let reading = declare::file(&file);
            assert!(begun.elapsed() < Duration::from_secs(10), "{path} as {what} took {:?}", begun.elapsed());
            let there = reading.findings.mistakes.iter().any(|mistake| {
                // Driver options and mount flags are told as what they are, not as the text in them.
                path.strip_prefix(&mistake.place.path).is_some_and(|rest| matches!(rest, "" | "[0]" | ".key" | ".value"))
            });
            assert!(there, "{path} as {what}: {:?}", reading.findings);
            assert_sayable(&reading);
            assert_declared(&reading, &file);
        }
    }
    places.len() * values.len()
}

#[test]
fn every_value_of_a_volume_that_is_replaced_by_something_hostile_is_a_mistake_there() {
    let values = hostile();
    let tried: usize = examples().iter().map(|good| replace_each(good, &values)).sum();
    assert!(tried > 400, "only {tried}");
}

#[test]
fn a_value_of_a_mebibyte_is_a_mistake_there() {
    let values = [("a text of a MiB", format!("\"{}\"", "a".repeat(1 << 20)))];
    assert!(
        replace_each(&example("marathon-dvdi.json"), &values) + replace_each(&example("mesos-csi-volume.json"), &values) > 20
    );
}

#[test]
fn a_member_that_is_given_twice_is_a_mistake_wherever_it_stands() {
    for good in examples() {
        let text = serde_json::to_string(&good).unwrap();
        let mut tried = 0;
        for key in [
            "mode",
            "containerPath",
            "container_path",
            "external",
            "source",
            "name",
            "size",
            "provider",
            "options",
            "docker_volume",
            "volume_id",
            "container",
            "volumes",
        ] {
            let Some(at) = text.find(&format!("\"{key}\":")) else { continue };
            let file = format!("{}\"{key}\":\"x\",{}", &text[..at], &text[at..]);
            let reading = declare::file(&file);
            let suffix = format!(".{key}");
            let twice = reading.findings.mistakes.iter().any(|m| m.place.path.ends_with(&suffix) && m.text.contains("twice"));
            // The task's own name is not read.
            assert!(twice || key == "name" && at < 20, "{key}: {:?}", reading.findings);
            tried += 1;
        }
        assert!(tried >= 5);
    }
}

#[test]
fn a_file_that_is_cut_off_is_a_mistake_with_its_line() {
    let text = serde_json::to_string_pretty(&example("marathon-csi.json")).unwrap();
    for end in 0..text.len() {
        let reading = declare::file(&text[..end]);
        let [mistake] = reading.findings.mistakes.as_slice() else { panic!("{end}: {reading:?}") };
        assert_eq!(mistake.place.path, "$");
        assert!(reading.claims.is_empty());
    }
}

#[test]
fn a_large_file_is_read_in_time_and_its_mistakes_are_counted() {
    let begun = Instant::now();
    let reading = declare::file(&format!("[{}5]", "{},".repeat(300_000)));
    assert_eq!((reading.findings.mistakes.len(), reading.findings.left_out), (1000, 299_001));
    let groups = format!("{}{}", "{\"groups\":[".repeat(20_000), "]}".repeat(20_000));
    assert!(declare::file(&groups).findings.mistakes[0].text.contains("32 others"));
    let calls = format!("{}1{}", "{\"accept\":".repeat(20_000), "}".repeat(20_000));
    assert!(declare::file(&calls).findings.mistakes[0].text.contains("too many others"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// Keys and values that mean something somewhere, so that random files come to where things are read.
const WORDS: &[&str] = &[
    "id",
    "instances",
    "container",
    "type",
    "volumes",
    "containerPath",
    "mode",
    "external",
    "provider",
    "name",
    "size",
    "options",
    "dvdi/driver",
    "dvdi/size",
    "dvdi/iops",
    "capability",
    "accessMode",
    "accessType",
    "fsType",
    "mountFlags",
    "pluginName",
    "volumeContext",
    "upgradeStrategy",
    "minimumHealthCapacity",
    "maximumOverCapacity",
    "env",
    "DVDI_VOLUME_NAME",
    "DVDI_VOLUME_OPTS1",
    "task_id",
    "container_path",
    "source",
    "docker_volume",
    "csi_volume",
    "driver",
    "driver_options",
    "parameter",
    "key",
    "value",
    "static_provisioning",
    "volume_id",
    "volume_capability",
    "access_mode",
    "mount",
    "block",
    "volume_context",
    "create",
    "command",
    "environment",
    "variables",
    "tasks",
    "apps",
    "groups",
    "Name",
    "Opts",
    "docker",
    "parameters",
    "launch",
    "task_infos",
    "retain",
];
const VALUES: &[&str] = &[
    "MESOS",
    "DOCKER",
    "RW",
    "RO",
    "dvdi",
    "csi",
    "rexray",
    "v",
    "data",
    "10",
    "DOCKER_VOLUME",
    "CSI_VOLUME",
    "SINGLE_NODE_WRITER",
    "mount",
    "ext4",
    "if-absent",
    "size=1,iops=5",
    "volume-driver",
    "volume",
    "x:/y",
    "DVDI_VOLUME_NAME",
    "a\0b",
    "{slot}",
    "keep",
    "",
];

fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        4 => prop::sample::select(VALUES).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    scalar.prop_recursive(8, 128, 8, |inner| {
        let key = prop_oneof![6 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            3 => prop::collection::vec((key, inner.clone()), 0..8).prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

/// A good file with some of its values exchanged for others of it, or for random ones.
fn any_neighbour() -> impl Strategy<Value = Value> {
    let change = (any::<prop::sample::Index>(), prop_oneof![any_json(), prop::sample::select(VALUES).prop_map(Value::from)]);
    (prop::sample::select(examples().to_vec()), prop::collection::vec(change, 0..4)).prop_map(|(mut value, changes)| {
        for (index, other) in changes {
            let mut places = Vec::new();
            leaves(&value, "$", "", &mut places);
            if !places.is_empty() {
                let (_, pointer) = index.get(&places);
                *value.pointer_mut(pointer).unwrap() = other;
            }
        }
        value
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_or_told(value in prop_oneof![any_json(), any_neighbour()]) {
        let file = serde_json::to_string_pretty(&value).unwrap();
        let reading = declare::file(&file);
        assert_sayable(&reading);
        assert_declared(&reading, &file);
        let plan = Plan::of(&file);
        prop_assert_eq!(plan.claims.len(), reading.claims.len());
        // Nothing in a file can speak to the terminal.
        prop_assert!(!plan.to_string().contains(|c: char| c.is_control() && c != '\n'));
        let _ = serde_json::to_string(&plan).unwrap();
    }

    #[test]
    fn any_text_is_read_or_told(text in any::<String>()) {
        let reading = declare::file(&text);
        // No random text is a list or an object that holds what can be read.
        prop_assert!(!reading.findings.mistakes.is_empty() && reading.claims.is_empty());
    }
}

//! Files that nobody means well with: never a panic, never silence about what is not what Mesos knows.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Report, flags, plugins, profiles, providers};

/// Keys and words that mean something somewhere, so that random files come to where things are read.
const WORDS: &[&str] = &[
    "type",
    "name",
    "containers",
    "endpoints",
    "csi_service",
    "endpoint",
    "services",
    "command",
    "value",
    "shell",
    "resources",
    "scalar",
    "container",
    "target_path_root",
    "target_path_exists",
    "storage",
    "plugin",
    "reconciliation_interval_seconds",
    "default_reservations",
    "profile_matrix",
    "csi_plugin_type_selector",
    "resource_provider_selector",
    "resource_providers",
    "plugin_type",
    "volume_capabilities",
    "volumeCapabilities",
    "mount",
    "block",
    "mount_flags",
    "access_mode",
    "mode",
    "create_parameters",
    "NODE_SERVICE",
    "CONTROLLER_SERVICE",
    "SINGLE_NODE_WRITER",
    "SCALAR",
    "unix:///s",
    "/srv/none",
    "..",
    "a\0b",
    "org.apache.mesos.rp.local.storage",
    "",
];

fn any_json() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(WORDS);
    let scalar = prop_oneof![
        4 => word().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    scalar.prop_recursive(8, 96, 8, move |inner| {
        let key = prop_oneof![6 => word().prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            3 => prop::collection::vec((key, inner.clone()), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

fn readers(text: &str) -> [Report; 3] {
    [plugins(&[("a.json", text)]), providers(&[("a.json", text)]), profiles(text)]
}

fn assert_sayable(report: &Report) {
    assert!(!report.to_string().contains(|c: char| c.is_control() && c != '\n'), "{report:?}");
    serde_json::to_string(&report.files().collect::<Vec<_>>()).unwrap();
}

#[test]
fn depth_and_length_are_told_and_cost_nothing() {
    let deep = format!("{}1{}", "{\"storage\":".repeat(20_000), "}".repeat(20_000));
    let lists = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let many = format!("{{{}\"x\":1}}", (0..5000).map(|n| format!("\"k{n}\":{n},")).collect::<String>());
    for text in
        [deep, lists, many, "\"\\ud800\"".into(), "{\"type\": \"\\ud800\"}".into(), "{\"type\": 1e999999}".into(), String::new()]
    {
        for report in readers(&text) {
            assert!(report.mistakes() > 0, "{}", text.chars().take(40).collect::<String>());
            assert_sayable(&report);
        }
    }
}

#[test]
fn a_file_that_is_no_text_is_a_mistake() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("a"), [0xff, 0xfe, 0]).unwrap();
    let sources = hawser_bridge::agent::Sources { csi_plugins: Some(home.path().into()), ..Default::default() };
    assert!(super::check(sources).mistakes() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_or_told(value in any_json()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        for report in readers(&text) {
            assert_sayable(&report);
        }
    }

    /// A key that Mesos does not have is told wherever it stands, and by its own place.
    #[test]
    fn any_key_that_is_not_known_is_told(key in "[a-z]{1,3}[0-9]{1,4}", place in 0..3_usize) {
        let mut file = providers::provider();
        let (pointer, path) = [("", "$"), ("/storage", "$.storage"), ("/storage/plugin/containers/0", "$.storage.plugin.containers[0]")][place];
        file.pointer_mut(pointer).unwrap()[&key] = json!("x");
        let report = providers(&[("a.json", &file.to_string())]);
        super::assert_told(&report, "mistake", &format!("{path}.{key}"), "drops it");
    }

    #[test]
    fn any_flags_are_read_or_told(text in "(MESOS_|--|export |[ -~]){0,3}[ -~\n\t\u{7f}]{0,80}", word in any::<String>()) {
        assert_sayable(&flags::file(&text));
        assert_sayable(&flags::words(&format!("--{word}")));
        assert_sayable(&flags::words(&word));
    }
}

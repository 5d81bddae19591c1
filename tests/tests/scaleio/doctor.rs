//! What `hawser doctor` tells of a backend that does not work: each mistake that people make, in the program's own words.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::output::Output;
use hawser_tests::scaleio::{MONITOR, ScaleIo, ScaleIoSettings, USER};
use serde_json::{Value, json};

/// What is written in the configuration of the one system; the rest is right.
struct Case {
    what: &'static str,
    change: Value,
    /// The result of the last step, and what it says.
    result: &'static str,
    parts: [String; 2],
}

async fn examined(place: &Path, system: &Value) -> (Output, Value) {
    let file = place.join("doctor.yaml");
    let config = json!({"backends": {"sio": {"type": "scaleio", "systems": [system]}, "here": {"type": "local"}}});
    std::fs::write(&file, config.to_string()).unwrap();
    let ask = async |more: &[&str]| {
        let mut command = Command::new(hawser());
        command.args(["doctor", "controller", "--backend", "sio", "--config"]).arg(&file).args(more);
        Output::of(command).await
    };
    let report = ask(&["--output", "json"]).await;
    (ask(&[]).await, serde_json::from_str(&report.stdout).unwrap_or_else(|error| panic!("{error}: {report:?}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_is_told_with_its_remedy() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    {
        let mut world = array.world();
        let second = world.domain("pd2");
        let bare = world.pool(&second, "bare");
        world.pools.get_mut(&bare).unwrap()["zeroPaddingEnabled"] = false.into();
    }
    let right = json!({
        "gateways": array.addresses(), "user": USER, "password-file": array.password_file(), "ca-file": array.ca_file(),
        "protection-domain": "pd1", "storage-pool": "pool1",
    });
    let wrong_password = array.place().join("wrong");
    std::fs::write(&wrong_password, "guess").unwrap();
    // Both are held until the end: nobody else gets the ports.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("https://127.0.0.2:{}", deaf.local_addr().unwrap().port());
    let untls = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || while plain.accept().is_ok() {});
    let case = |what, change, result, a: &str, b: &str| Case { what, change, result, parts: [a.to_owned(), b.to_owned()] };

    let (text, report) = examined(array.place(), &right).await;
    assert!(text.status.success(), "{text:?}");
    let checks = report[0]["checks"].as_array().unwrap();
    assert!(checks.len() == 7 && checks.iter().all(|check| check["result"] == "well"), "{report}");
    let found =
        checks.iter().find_map(|check| check["found"].as_str()?.strip_prefix("its certificate is believed (SHA-256 ")).unwrap();
    let digest = found.trim_end_matches(')').to_owned();

    for Case { what, change, result, parts } in [
        case(
            "a name that cannot be",
            json!({"gateways": [format!("https://{}", "a".repeat(64))]}),
            "wrong",
            "leads nowhere",
            "name service",
        ),
        case("a port where nobody is", json!({"gateways": [closed]}), "wrong", "refused", "port in `gateways`"),
        case("a port without TLS", json!({"gateways": [untls]}), "wrong", "ask it for its first page", "no web server with TLS"),
        case("an unknown authority", json!({"ca-file": null}), "wrong", "UnknownIssuer", &digest),
        case(
            "another certificate",
            json!({"ca-file": null, "certificate-sha256": ["0".repeat(64)]}),
            "wrong",
            &digest,
            "renewed, or somebody else",
        ),
        case("its own certificate", json!({"ca-file": null, "certificate-sha256": [digest]}), "well", "GiB", ""),
        case("nobody is asked who he is", json!({"ca-file": null, "insecure": true}), "well", "GiB", ""),
        case("no password", json!({"password-file": "/nowhere/password"}), "well", "its certificate is believed", ""),
        case("a wrong password", json!({"password-file": wrong_password}), "wrong", "not accepted", "locks"),
        case("another system", json!({"system": "elsewhere"}), "wrong", "no system \"elsewhere\", but", "`system`"),
        case(
            "another domain",
            json!({"protection-domain": "pd9"}),
            "wrong",
            "protection domain \"pd9\" does not exist; there are",
            "`protection-domain`",
        ),
        case(
            "another pool",
            json!({"storage-pool": "pool9"}),
            "wrong",
            "storage pool \"pool9\" does not exist",
            "`storage-pool`",
        ),
        case("a pool with old data", json!({"protection-domain": "pd2", "storage-pool": "bare"}), "well", "GiB", ""),
        case("who may only look", json!({"user": MONITOR}), "well", "GiB", ""),
    ] {
        let mut system = right.clone();
        for (key, value) in change.as_object().unwrap() {
            system[key] = value.clone();
        }
        system.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let (text, report) = examined(array.place(), &system).await;
        println!("{what}\n{}", text.stdout);
        let checks = report[0]["checks"].as_array().unwrap();
        let last = checks.last().unwrap();
        assert!(
            last["result"] == result && parts.iter().all(|part| last.to_string().contains(&part.replace('"', "\\\""))),
            "{what}: {report}"
        );
        let is_wrong = checks.iter().any(|check| check["result"] == "wrong");
        assert_eq!(text.status.code(), Some(if is_wrong { 2 } else { 0 }), "{what}: {text:?}");
        assert_eq!(is_wrong, result == "wrong" || ["no password", "a pool with old data"].contains(&what), "{what}: {report}");
        assert_eq!(
            what == "nobody is asked who he is",
            checks.iter().any(|check| check["result"] == "doubtful"),
            "{what}: {report}"
        );
        assert!(!text.stdout.contains("Pa55") && !text.stdout.contains("guess"), "{text:?}");
    }
    drop(deaf);
}

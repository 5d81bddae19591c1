//! PyPowerFlex, Dell's own client: that the simulator speaks as a gateway does.

use std::collections::BTreeMap;
use std::process::Command;

use hawser_tests::binary::{tool, workspace_root};
use hawser_tests::notice::notice;
use hawser_tests::scaleio::{PASSWORD, ScaleIo, ScaleIoSettings, USER};
use serde_json::Value;

/// What must be refused, with a part of the sentence.
const REFUSED: [(&str, &str); 27] = [
    ("create a name that is there", "Volume name already in use"),
    ("create a long name", "exceeds the allowed length of 31 characters"),
    ("create nothing", "size is illegal"),
    ("create in no pool", "Could not find Storage Pool"),
    ("get none", "Could not find the volume"),
    ("get no id", "id must be a hexadecimal number"),
    ("selected statistics that are none", "Property nonsense is illegal"),
    ("extend to less", "can only be increased"),
    ("extend to a size that is none", "must be in 8 GB blocks"),
    ("rename to a name that is there", "Volume name already in use"),
    ("map again", "already mapped to this SDC"),
    ("map to none", "Could not find the SDC"),
    ("limits that are none", "must be a multiple of 1024"),
    ("remove while mapped", "Volume is mapped"),
    ("unmap again", "is not mapped to SDC"),
    ("most that may be done, wrong", "accessModeLimit must be one of"),
    ("snapshot of two, one name taken", "Volume name already in use"),
    ("snapshot of none", "Could not find the volume"),
    ("lock", "not an auto snapshot"),
    ("unlock", "not an auto snapshot"),
    ("remove a group again", "Not found"),
    ("remove what is secured", "while it is in use"),
    ("remove again", "Could not find the volume"),
    ("remove an SDC that is connected", "while it is in use"),
    ("pool of that name", "already in use"),
    ("pool in no domain", "Could not find Protection Domain"),
    ("remove a pool with volumes", "while it is in use"),
];

async fn surface(version: &str) -> Vec<Value> {
    let array = ScaleIo::start(ScaleIoSettings { version: version.to_owned(), ..ScaleIoSettings::default() }).await;
    let (sdc, _) = array.world().sdc(None);
    let address = array.addresses()[0].trim_start_matches("https://").to_owned();
    let (host, port) = address.split_once(':').unwrap();
    let mut command = Command::new(tool("scaleio").join("venv/bin/python"));
    command.arg(workspace_root().join("tests/scaleio/surface.py"));
    command.args([host, port]).arg(array.ca_file()).args([USER, PASSWORD, &sdc]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{version}: {out}{err}");
    // Its own log is on the same way.
    let steps: Vec<Value> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    notice(&format!("scaleio: {version}: {} requests for {} steps", array.asked().values().sum::<u64>(), steps.len()));
    steps
}

fn check(version: &str, steps: &[Value]) {
    let refused: BTreeMap<&str, &str> = REFUSED.into_iter().collect();
    for step in steps {
        let name = step["step"].as_str().unwrap();
        match (refused.get(name), step["error"].as_str()) {
            (None, None) => {}
            (Some(part), Some(error)) if error.contains(part) => {}
            (wanted, error) => panic!("{version}: {name}: {error:?}, and {wanted:?} was to be"),
        }
    }
    assert!(steps.iter().filter(|step| !step["error"].is_null()).count() == REFUSED.len(), "{version}");
    let done = steps.iter().filter(|step| step["error"].is_null()).count();
    notice(&format!("scaleio: {version}: {done} calls done, {} refused as they must be", REFUSED.len()));
}

fn facts<'a>(steps: &'a [Value], name: &str) -> &'a Value {
    &steps.iter().find(|step| step["step"] == name).unwrap()["facts"]
}

#[tokio::test]
async fn dells_client_does_all_that_it_can_on_both_faces() {
    let mut seen = Vec::new();
    for version in ["3.6", "4.5"] {
        let steps = surface(version).await;
        check(version, &steps);
        assert_eq!(facts(&steps, "version"), version);
        assert_eq!(*facts(&steps, "create rounds up"), serde_json::json!([16 << 20, "ThickProvisioned"]));
        assert_eq!(facts(&steps, "map")[0][1], "ReadOnly");
        assert_eq!(*facts(&steps, "limits"), serde_json::json!([[facts(&steps, "map")[0][0], "ReadOnly", 100, 2]]));
        assert_eq!(*facts(&steps, "none of them was made"), 0);
        // Metrics are those of 5.0, and the servers of a pool are no objects of the simulator.
        let left = ["Sdc.query_metrics", "StoragePool.get_sdss", "StoragePool.query_metrics", "Volume.query_metrics"];
        assert_eq!(*facts(&steps, "not called"), serde_json::json!(left), "{version}");
        seen.push(steps);
    }
    let same = |(older, newer): &(&Value, &Value)| older["step"] == newer["step"] && older["error"] == newer["error"];
    assert!(seen[0].iter().zip(&seen[1]).all(|pair| same(&pair)));
}

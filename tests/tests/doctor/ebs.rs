//! EBS, by the simulator of EC2, and by servers that say one thing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::ec2::{Ec2, Ec2Settings};

use crate::{Findings, Told, examined};

const KEYS: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")];

/// Examines the controller half of an EBS backend with these lines.
async fn ebs(lines: &str, environment: &[(&str, &str)], mode: &str, more: &[&str]) -> Findings {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.yaml");
    std::fs::write(&file, format!("backends:\n  cloud:\n    type: ebs\n{lines}")).unwrap();
    let mut command = Command::new(hawser());
    // Nothing of the machine's own credentials, and no metadata service.
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("AWS_") || key.starts_with("HAWSER_")) {
        command.env_remove(key);
    }
    command.env("HOME", place.path()).env("AWS_EC2_METADATA_DISABLED", "true").envs(environment.iter().copied());
    let config = file.display().to_string();
    let arguments = [&["--backend", "cloud", "--config", &config][..], more, &[mode]].concat();
    let found = examined(command, &arguments).await;
    assert!(!format!("{:?}", found.0).contains("secret-of-the-test"));
    found
}

/// A server that answers everything with `code`, and has a time of its own.
fn saying(code: &'static str, date: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = [0; 65536];
            let _ = stream.read(&mut heard);
            let body = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>No.</Message></Error></Errors><RequestID>r</RequestID></Response>"
            );
            let length = body.len();
            let head =
                format!("HTTP/1.1 400 Bad Request\r\nDate: {date}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_ec2_from_working_is_told_with_its_remedy() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let right = format!("    region: us-east-1\n    endpoint: {}\n", ec2.address());
    let wrong = |step, parts| Told { step, result: "wrong", parts };

    let found = ebs(&right, KEYS, "controller", &[]).await;
    assert!(found.steps("wrong").is_empty() && found.steps("doubtful").is_empty(), "{:#?}", found.0);
    found.assert("credentials", &Told { step: "the credentials", result: "well", parts: &["environment"] });
    found.assert("permissions", &Told { step: "permissions", result: "well", parts: &["CreateVolume", "LockSnapshot"] });
    let made = {
        let world = ec2.world();
        (world.volumes.len(), world.snapshots.len())
    };
    assert_eq!(made, (0, 0), "nothing is made");

    let none = "    endpoint: http://127.0.0.1:1\n";
    ebs(none, KEYS, "controller", &[])
        .await
        .assert("no region", &wrong("the configuration", &["region: set it here", "hawser config check"]));
    ebs(&right, &[], "controller", &[])
        .await
        .assert("no credentials", &wrong("the credentials", &["there are no credentials; looked at environment", "hop limit"]));
    let far = right.replace("us-east-1", "eu-west-1");
    ebs(&far, KEYS, "controller", &[])
        .await
        .assert("another region", &wrong("the credentials", &["from the environment", "AuthFailure", "`region`"]));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = format!("    region: us-east-1\n    endpoint: http://{closed}\n");
    ebs(&dead, KEYS, "controller", &[])
        .await
        .assert("nobody there", &wrong("the endpoint", &["does not answer", "VPC endpoint"]));
    let nowhere = format!("    region: us-east-1\n    endpoint: http://{}\n", "a".repeat(64));
    ebs(&nowhere, KEYS, "controller", &[]).await.assert("a name that cannot be", &wrong("the endpoint", &["no such name"]));
    let zone = format!("{right}    zone: us-east-1z\n");
    ebs(&zone, KEYS, "controller", &[])
        .await
        .assert("another zone", &wrong("the zones", &["us-east-1z", "us-east-1a", "`zone`"]));

    ec2.world().denied.extend(["AttachVolume".to_owned(), "LockSnapshot".to_owned()]);
    let found = ebs(&right, KEYS, "controller", &[]).await;
    ec2.world().denied.clear();
    found.assert("denied", &wrong("permissions", &["AttachVolume (attaching)", "\"ec2:AttachVolume\"", "docs/ebs.md"]));
    found.assert(
        "denied, and not needed",
        &Told { step: "permissions", result: "doubtful", parts: &["LockSnapshot", "\"ec2:LockSnapshot\""] },
    );

    let old = format!("    region: us-east-1\n    endpoint: {}\n", saying("RequestExpired", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let found = ebs(&old, KEYS, "controller", &[]).await;
    found.assert("the clock", &wrong("the clock, compared with EC2", &["s fast", "timedatectl"]));
    found.assert("the clock, as EC2 says", &wrong("the credentials", &["RequestExpired", "set the clock"]));
    let expired = format!("    region: us-east-1\n    endpoint: {}\n", saying("ExpiredToken", ""));
    ebs(&expired, KEYS, "controller", &[]).await.assert("run out", &wrong("the credentials", &["ExpiredToken", "run out"]));

    ebs(&right, KEYS, "node", &[])
        .await
        .assert("no instance", &wrong("the instance", &["AWS_EC2_METADATA_DISABLED", "node.zone", "hop limit"]));
    ebs(&right, KEYS, "node", &["--node-id", "node-7"])
        .await
        .assert("no instance's id", &wrong("the instance", &["node-7", "i-…"]));
    let here = format!("{right}    node:\n      zone: us-east-1a\n");
    let found = ebs(&here, KEYS, "node", &["--node-id", "i-0123456789abcdef0"]).await;
    assert_eq!(found.steps("wrong"), [""; 0]);
    let elsewhere = here.replace("zone: us-east-1a", "zone: eu-west-1a");
    let found = ebs(&elsewhere, KEYS, "node", &["--node-id", "i-0123456789abcdef0"]).await;
    found.assert("an instance elsewhere", &wrong("the region", &["us-east-1", "eu-west-1a", "correct `region`"]));
}

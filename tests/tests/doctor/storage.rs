//! Local directories, and NFS servers that are not there. What a real NFS server and its clients make of each other is in the suite `nfs`.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::{Told, examined_where};

struct Row {
    what: &'static str,
    setup: &'static str,
    more: &'static str,
    told: Told,
}

const fn row(
    what: &'static str,
    setup: &'static str,
    more: &'static str,
    step: &'static str,
    result: &'static str,
    parts: &'static [&'static str],
) -> Row {
    Row { what, setup, more, told: Told { step, result, parts } }
}

/// The root is `/mnt/pool` in each.
const ROWS: [Row; 9] = [
    row(
        "in a container",
        "mkdir /mnt/a /mnt/b /mnt/c /mnt/pool; mount -t overlay -o lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c none /mnt/pool",
        "",
        "the filesystem of the root",
        "wrong",
        &["overlay", "go with the container", "hostPath"],
    ),
    row(
        "in memory",
        "mkdir /mnt/pool; mount -t tmpfs none /mnt/pool",
        "",
        "the filesystem of the root",
        "doubtful",
        &["in memory", "on a disk"],
    ),
    row(
        "read-only",
        "mkdir /mnt/pool; mount -t tmpfs -o ro none /mnt/pool",
        "",
        "snapshots",
        "wrong",
        &["Read-only file system", "read-only"],
    ),
    row(
        "somebody else's directory",
        "mkdir -p /mnt/pool/photos",
        "",
        "the root",
        "wrong",
        &["not empty and not a pool", "photos", "another directory"],
    ),
    row("no directory", "touch /mnt/pool", "", "the root", "wrong", &["is no directory", "another directory"]),
    row(
        "another kind",
        "mkdir /mnt/pool; echo '{\"format\":1,\"id\":\"6f3e0c3e-51f9-4a3b-9a5c-1f1f6b1f6a11\",\"kind\":\"directory\"}' > /mnt/pool/pool.json",
        "",
        "the root",
        "wrong",
        &["kind Directory", "correct `kind`"],
    ),
    row(
        "a newer version",
        "mkdir /mnt/pool; echo '{\"format\":99,\"id\":\"6f3e0c3e-51f9-4a3b-9a5c-1f1f6b1f6a11\",\"kind\":\"image\"}' > /mnt/pool/pool.json",
        "",
        "the root",
        "wrong",
        &["newer version", "run that version"],
    ),
    row(
        "a record that is torn",
        "mkdir /mnt/pool; echo '{' > /mnt/pool/pool.json",
        "",
        "the root",
        "wrong",
        &["not a pool record", "backup"],
    ),
    row("more promised than there is", "", "    capacity: 100TiB\n", "capacity", "doubtful", &["100TiB", "cannot be written"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_can_be_no_pool_is_told_with_its_remedy() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.yaml");
    for Row { what, setup, more, told } in ROWS {
        std::fs::write(&file, format!("backends:\n  here:\n    type: local\n    root: /mnt/pool\n{more}")).unwrap();
        let setup = format!("mount -t tmpfs none /mnt\n{setup}");
        examined_where(&setup, &["--config", &file.display().to_string(), "--backend", "here"]).await.assert(what, &told);
    }
    std::fs::write(&file, format!("backends:\n  here:\n    type: local\n    root: {}\n", place.path().join("new").display()))
        .unwrap();
    let found = examined_where("", &["--config", &file.display().to_string(), "--backend", "here"]).await;
    assert!(found.steps("wrong").is_empty(), "{:?}", found.steps("wrong"));
    assert!(!place.path().join("new").exists(), "nothing is made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_told_in_time() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.yaml");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let examine = async |server: &str, port: u16| {
        let text = format!("backends: {{far: {{type: nfs, server: {server}, path: /x, own-mount-options: [port={port}]}}}}");
        std::fs::write(&file, text).unwrap();
        examined_where("", &["--config", &file.display().to_string(), "--backend", "far"]).await
    };
    let refused = Told { step: "the server", result: "wrong", parts: &["refused", "nfs-server", "2049"] };
    examine("127.0.0.2", port(&closed)).await.assert("a port where nobody is", &refused);
    let unknown = Told { step: "the server", result: "wrong", parts: &["leads nowhere", "correct `server`"] };
    examine(&"a".repeat(64), 2049).await.assert("a name that cannot be", &unknown);
    // Where the kernel has no NFS it says so at once; elsewhere the server's silence is what is told.
    let began = Instant::now();
    let found = examine("127.0.0.1", port(&silent)).await;
    found.assert("somebody listens", &Told { step: "the server", result: "well", parts: &["accepts connections"] });
    assert_eq!(found.steps("wrong"), ["the export"]);
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
}

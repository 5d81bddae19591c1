//! Measures the NFS backend with a real server: `cargo run --release -p hawser-tests --bin nfs-measure [xfs|ext4] [volumes] [files]`.
//!
//! A storage node and one with the plugin, both in user mode on this machine, so that system calls are some 50 times slower than on real
//! machines. What counts is what crosses the network; times are for comparing one run with another.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a measurement fails")]

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hawser_proto::csi;
use hawser_tests::client::{Client, create_request};
use hawser_tests::ground::Ground;
use hawser_tests::notice::notice;
use hawser_tests::rig::{NfsServer, Node, Plan, Plugin, Rig};
use hawser_tests::{MIB, Usage};

/// How many calls are under way at one time.
const CALLS: usize = 8;

/// How long a long piece of work in the background may take.
const LONG: Duration = Duration::from_secs(3600);

/// What has crossed the network.
#[derive(Clone, Copy)]
struct Traffic {
    requests: u64,
    sessions: u64,
    bytes: u64,
}

impl Traffic {
    fn of(node: &Node) -> Self {
        let text = node.shell("nfsstat -c -4 -l; cat /sys/class/net/vec0/statistics/?x_bytes");
        let count = |name: &str| {
            let line = text.lines().find(|line| line.contains(&format!(" {name}:")));
            line.and_then(|line| line.rsplit(':').next()?.trim().parse().ok()).unwrap_or(0)
        };
        let bytes = text.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum();
        Self { requests: count("total"), sessions: count("create_session"), bytes }
    }

    fn since(node: &Node, before: Self) -> Self {
        let now = Self::of(node);
        Self {
            requests: now.requests - before.requests,
            sessions: now.sessions - before.sessions,
            bytes: now.bytes - before.bytes,
        }
    }
}

struct Bench {
    client: Client,
    node: Node,
    server: NfsServer,
    tree: String,
}

impl Bench {
    fn row(&self, what: &str, before: Traffic, began: Instant, more: &str) {
        let took = began.elapsed().as_secs_f64();
        let traffic = Traffic::since(&self.node, before);
        notice(&format!(
            "| {what} | {took:.1} s | {} | {:.1} MiB | {more} |",
            traffic.requests,
            traffic.bytes as f64 / MIB as f64
        ));
    }

    fn storage(&self, script: &str) -> String {
        let mut command = self.server.node().command("sh");
        command.args(["-euc", script]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn volumes(&self, count: usize) {
        let (usage, client) = (Usage::mount(), &self.client);
        client.delete(&client.create("warm", 16 * MIB, &usage).await.volume_id).await.unwrap();
        let (before, began) = (Traffic::of(&self.node), Instant::now());
        let made: Vec<csi::Volume> = futures_util::stream::iter(0..count)
            .map(|n| async move { client.create(&format!("many-{n}"), 16 * MIB, &Usage::mount()).await })
            .buffer_unordered(CALLS)
            .collect()
            .await;
        let per = |began: Instant| format!("{:.0} a second", count as f64 / began.elapsed().as_secs_f64());
        let sessions = Traffic::since(&self.node, before).sessions;
        self.row(&format!("{count} volumes made"), before, began, &format!("{}, {sessions} new mounts", per(began)));
        let (before, began) = (Traffic::of(&self.node), Instant::now());
        futures_util::stream::iter(made)
            .for_each_concurrent(CALLS, |volume| async move { client.delete(&volume.volume_id).await.unwrap() })
            .await;
        let sessions = Traffic::since(&self.node, before).sessions;
        self.row(&format!("{count} volumes deleted"), before, began, &format!("{}, {sessions} new mounts", per(began)));
        self.until_empty().await;
    }

    async fn until_empty(&self) {
        let began = Instant::now();
        while !self.storage(&format!("ls {}/.hawser/trash", self.tree)).is_empty() {
            assert!(began.elapsed() < LONG, "the trash stays");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn filled(&self, name: &str, script: &str) -> (csi::Volume, String) {
        let volume = self.client.create(name, 16 * MIB, &Usage::mount()).await;
        let incarnation = volume.volume_id.rsplit('-').next().unwrap().to_owned();
        let place = self.storage(&format!("ls -d {}/.hawser/volumes/*/data-{incarnation}", self.tree));
        self.storage(&format!("cd {place}; {script}; sync"));
        (volume, place)
    }

    async fn removal(&self, files: usize) {
        let script = format!(
            "python3 -c 'import os\nfor n in range({files}):\n  d = str(n // 1000)\n  n % 1000 or os.mkdir(d)\n  os.close(os.open(d + \"/\" + str(n), os.O_CREAT | os.O_WRONLY))'"
        );
        let (volume, _) = self.filled("tree", &script).await;
        let (before, began) = (Traffic::of(&self.node), Instant::now());
        self.client.delete(&volume.volume_id).await.unwrap();
        let answered = began.elapsed().as_secs_f64();
        self.until_empty().await;
        self.row(
            &format!("a tree of {files} files deleted"),
            before,
            began,
            &format!("DeleteVolume answered after {answered:.2} s"),
        );
    }

    async fn copies(&self, what: &str, script: &str) {
        let sums = "find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum";
        let (volume, place) = self.filled(what, script).await;
        let original = self.storage(&format!("cd {place}; {sums}"));
        let (before, began) = (Traffic::of(&self.node), Instant::now());
        let cut = loop {
            let cut = self.client.snapshot(&format!("s-{what}"), &volume.volume_id).await.unwrap();
            if cut.ready_to_use {
                break cut;
            }
            assert!(began.elapsed() < LONG, "the snapshot is never ready");
        };
        self.row(&format!("a snapshot of {what}"), before, began, "");
        let incarnation = cut.snapshot_id.rsplit('-').next().unwrap().to_owned();
        let copy = self.storage(&format!("cd {}/.hawser/snapshots/*/data-{incarnation}; {sums}", self.tree));
        assert_eq!(copy, original, "the snapshot is not equal");
        let mut request = create_request(&format!("clone-{what}"), 16 * MIB, &Usage::mount());
        request.volume_content_source = Some(csi::VolumeContentSource {
            r#type: Some(csi::volume_content_source::Type::Volume(csi::volume_content_source::VolumeSource {
                volume_id: volume.volume_id.clone(),
            })),
        });
        let (before, began) = (Traffic::of(&self.node), Instant::now());
        let clone = loop {
            match self.client.try_create(request.clone()).await {
                Ok(clone) => break clone,
                Err(error) => assert!(began.elapsed() < LONG, "{error}"),
            }
        };
        self.row(&format!("a clone of {what}"), before, began, "");
        let incarnation = clone.volume_id.rsplit('-').next().unwrap().to_owned();
        let copy = self.storage(&format!("cd {}/.hawser/volumes/*/data-{incarnation}; {sums}", self.tree));
        assert_eq!(copy, original, "the clone is not equal");
        let space = self.storage(&format!("du -sm {place} | cut -f1; df -m --output=used {} | tail -1", self.tree));
        notice(&format!("(MiB of the original, MiB used in all: {})", space.replace('\n', ", ")));
        self.client.delete_snapshot(&cut.snapshot_id).await.unwrap();
        for volume in [clone, volume] {
            self.client.delete(&volume.volume_id).await.unwrap();
        }
        self.until_empty().await;
    }
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let ground = match words.next().as_deref() {
        Some("ext4") => Ground::Ext4,
        None | Some("xfs") => Ground::Xfs,
        Some(other) => panic!("{other} is neither xfs nor ext4"),
    };
    let mut number = |default| words.next().map_or(default, |word| word.parse().unwrap());
    let (volumes, files) = (number(1000), number(100_000));
    let rig = Rig::start();
    let [storage, node] = rig.nodes_of([Plan { memory: 1024, ..Plan::new("storage") }, Plan { memory: 512, ..Plan::new("n1") }]);
    let server = NfsServer::with(storage, ground);
    let export = server.export("data", "rw,sync,no_root_squash,no_subtree_check");
    let tree = server.tree("data").display().to_string();
    let config = format!("backends:\n  nfs:\n    type: nfs\n    server: {}\n    path: {}\n", export.server, export.path);
    let plugin = Plugin::start(&node, &config).await;
    let bench = Bench { client: plugin.client(), node, server, tree };
    notice("| what | time | requests to the server | bytes on the wire | |\n|---|---|---|---|---|");
    bench.volumes(volumes).await;
    bench.removal(files).await;
    let small = files / 10;
    let script = format!(
        "python3 -c 'import os\nfor n in range({small}):\n  d = str(n // 1000)\n  n % 1000 or os.mkdir(d)\n  open(d + \"/\" + str(n), \"wb\").write(os.urandom(4096))'"
    );
    bench.copies(&format!("{small} files of 4 KiB"), &script).await;
    let script = "truncate -s 4G sparse; for n in 0 1 2 3 4 5 6 7; do dd if=/dev/urandom of=sparse bs=1M count=32 seek=$((n * 500)) conv=notrunc status=none; done";
    bench.copies("a sparse file of 4 GiB with 256 MiB of data", script).await;
}

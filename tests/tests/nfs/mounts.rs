//! Ways to mount that need more than the kernel, and what is said when that is not there.

use std::time::{Duration, Instant};

use hawser_proto::csi::node_client::NodeClient;
use hawser_tests::client::{Client, create_request, text};
use hawser_tests::poll::until_async;
use hawser_tests::{MIB, Usage};
use tonic::{Code, Status};

use crate::world::World;

/// More than any deadline of the plugin; who needs longer hangs.
const BOUND: Duration = Duration::from_secs(50);

/// What comes of staging `name` with these flags; the volume is gone afterwards.
async fn staged(client: &Client, name: &str, flags: &[&str], look: impl AsyncFnOnce(&str)) -> Result<(), Status> {
    let usage = flags.iter().fold(Usage::mount(), |usage, flag| usage.flag(flag));
    let volume = client.create(name, 16 * MIB, &usage).await;
    let context = client.attach(&volume, &usage).await.unwrap();
    let began = Instant::now();
    let staged = client.stage(&volume, &context, &usage).await;
    assert!(began.elapsed() < BOUND, "{flags:?} took {:?}", began.elapsed());
    if staged.is_ok() {
        look(&text(&client.staging(&volume.volume_id))).await;
    }
    client.unstage(&volume.volume_id).await.unwrap();
    client.detach(&volume.volume_id).await.unwrap();
    client.delete(&volume.volume_id).await.unwrap();
    staged.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_locks_kerberos_and_tls() {
    let world = World::new(["n1"], "").await;
    let machine = &world.nodes[0];
    let client = machine.plugin.client();
    let node = &machine.node;
    let works = async |path: &str| {
        let type_and_options = node.shell(&format!("findmnt -no FSTYPE,OPTIONS {path}"));
        assert!(type_and_options.starts_with("nfs ") && type_and_options.contains("vers=3"), "{type_and_options}");
        node.shell(&format!("echo x > {path}/file; flock -n {path}/file true; sync {path}/file"));
    };
    staged(&client, "plain", &["vers=3", "nolock"], works).await.unwrap();
    staged(&client, "older", &["vers=4.0"], async |path: &str| {
        assert!(node.shell(&format!("findmnt -no OPTIONS {path}")).contains("vers=4.0"));
    })
    .await
    .unwrap();
    // Locks of version 3 are kept by a program, which mount.nfs starts, which needs another one.
    let refused = staged(&client, "locks-without", &["vers=3"], works).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("rpc.statd"), "{refused}");
    // The server watches its clients in the same way.
    world.server.node().shell("rpc.statd --no-notify");
    node.shell("rpcbind -w; rpc.statd --no-notify");
    staged(&client, "locks", &["vers=3"], works).await.unwrap();
    for (flags, advice) in [(&["sec=krb5p"], "rpc.gssd"), (&["xprtsec=tls"], "tlshd")] {
        let refused = staged(&client, "secured", flags, works).await.unwrap_err();
        assert!(matches!(refused.code(), Code::FailedPrecondition | Code::PermissionDenied), "{refused}");
        assert!(refused.message().contains(advice), "{refused}");
    }
    // A server that lacks what version 3 needs is asked again and again by the helper, until that is killed.
    let usage = Usage::mount().flag("vers=3");
    let volume = client.create("silent", 16 * MIB, &usage).await;
    let context = client.attach(&volume, &usage).await.unwrap();
    world.server.node().shell("pkill -x rpc.mountd");
    let began = Instant::now();
    let refused = client.stage(&volume, &context, &usage).await.unwrap_err();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(matches!(refused.code(), Code::Unavailable | Code::DeadlineExceeded), "{refused}");
    assert_eq!(node.shell("pgrep -c mount.nfs || true").trim(), "0", "the helper stays");
    world.server.node().shell("rpc.mountd");
    until_async("the server to be used again", async || client.stage(&volume, &context, &usage).await.ok()).await;
    client.unstage(&volume.volume_id).await.unwrap();
    client.detach(&volume.volume_id).await.unwrap();
    client.delete(&volume.volume_id).await.unwrap();
    let left = node.shell("grep -cE ' nfs4? ' /proc/self/mountinfo || true; pgrep -c mount.nfs || true; ls /run/hawser/mount");
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["0", "0"], "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_resolves_holds_nobody() {
    let more = "  named:\n    type: nfs\n    server: files.example\n    path: /data\n    answer-within-seconds: 4\ndriver:\n  default-backend: nfs\n";
    let world = World::new(["n1"], more).await;
    let machine = &world.nodes[0];
    let client = machine.plugin.client();
    // A name server that takes questions and never answers.
    machine.node.shell(
        "printf 'nameserver 127.0.0.1\\noptions timeout:10 attempts:2\\n' > /etc/resolv.conf
         python3 -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"127.0.0.1\", 53)); time.sleep(600)' >/dev/null 2>&1 &",
    );
    let request = |name: &str| {
        let mut request = create_request(name, 16 * MIB, &Usage::mount());
        request.parameters.insert("backend".to_owned(), "named".to_owned());
        request
    };
    let others = client.create("other", 16 * MIB, &Usage::mount()).await;
    for _ in 0..4 {
        let began = Instant::now();
        let refused = client.try_create(request("v")).await.unwrap_err();
        assert!(matches!(refused.code(), Code::Unavailable | Code::DeadlineExceeded), "{refused}");
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    }
    let asked = client.try_create(request("v")).await.unwrap_err();
    assert!(asked.message().contains("files.example"), "{asked}");
    NodeClient::new(client.channel()).node_get_info(hawser_proto::csi::NodeGetInfoRequest {}).await.unwrap();
    client.delete(&others.volume_id).await.unwrap();
    machine.node.shell(&format!("echo '{} files.example' >> /etc/hosts", world.server.node().address()));
    let volume = until_async("the server by its name", async || client.try_create(request("v")).await.ok()).await;
    client.delete(&volume.volume_id).await.unwrap();
}

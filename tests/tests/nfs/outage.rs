//! A server that is silent, in every way, while volumes are in use: what each call answers and after how long, that nobody else is
//! delayed, and that everything is right when it is back.

use std::fmt::Write;
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_tests::client::{Client, text};
use hawser_tests::notice::notice;
use hawser_tests::poll::until_async;
use hawser_tests::{MIB, Usage};
use tonic::{Code, Status};

use crate::world::World;

/// How many volumes are staged.
const VOLUMES: usize = 20;

/// What no call may take with the server silent; the configuration lets it be silent for 4 s.
const SECONDS_MAX: u64 = 25;

/// What a call of somebody else may take.
const OTHERS_MAX: Duration = Duration::from_secs(5);

struct Table(String);

impl Table {
    async fn row(&mut self, how: &str, call: &str, work: impl Future<Output = Result<(), Status>>) -> Code {
        let began = Instant::now();
        let result = work.await;
        let took = began.elapsed();
        let code = result.as_ref().map_or_else(Status::code, |()| Code::Ok);
        writeln!(self.0, "| {how} | {call} | {code:?} | {:.2} s |", took.as_secs_f64()).unwrap();
        assert!(took < Duration::from_secs(SECONDS_MAX), "{how}: {call} took {took:?}: {result:?}");
        code
    }
}

async fn stats(client: &Client, volume: &str, path: &str) -> Result<(), Status> {
    let request =
        csi::NodeGetVolumeStatsRequest { volume_id: volume.to_owned(), volume_path: path.to_owned(), ..Default::default() };
    client.node().node_get_volume_stats(request).await.map(drop)
}

async fn others(client: &Client, volume: &csi::Volume, path: &str) {
    let began = Instant::now();
    client.identity().probe(csi::ProbeRequest {}).await.unwrap();
    stats(client, &volume.volume_id, path).await.unwrap();
    let took = began.elapsed();
    assert!(took < OTHERS_MAX, "another backend was delayed by {took:?}");
}

fn elsewhere(name: &str) -> csi::CreateVolumeRequest {
    let parameters = [("backend".to_owned(), "local".to_owned())].into();
    csi::CreateVolumeRequest { parameters, ..hawser_tests::client::create_request(name, 64 * MIB, &Usage::mount()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_delays_nobody_and_is_used_again() {
    let world = World::new(["n1"], "  local:\n    type: local\n    root: /tmp/pool\ndriver:\n  default-backend: nfs\n").await;
    let machine = &world.nodes[0];
    let (client, usage) = (machine.plugin.client(), Usage::mount());
    let other = client.try_create(elsewhere("other")).await.unwrap();
    let other_path = text(&client.up(&other, &usage).await);
    let mut volumes = Vec::new();
    for n in 0..VOLUMES {
        let volume = client.create(&format!("v{n}"), 16 * MIB, &usage).await;
        let path = text(&client.up(&volume, &usage).await);
        machine.node.shell(&format!("echo {n} > {path}/number; sync {path}/number"));
        volumes.push((volume, path));
    }
    let mut table = Table("| server | call | answer | after |\n|---|---|---|---|\n".to_owned());
    let mut used = 0;
    for how in ["frozen", "stopped", "cut off", "killed"] {
        let server = world.server.node();
        match how {
            "frozen" => server.freeze(),
            "stopped" => world.server.stop(),
            "cut off" => world.rig.cut(server, &machine.node),
            _ => world.server.kill(),
        }
        let (first, path) = &volumes[used];
        let (second, second_path) = &volumes[used + 1];
        used += 2;
        let id = &first.volume_id;
        let silent = [Code::Unavailable, Code::DeadlineExceeded];
        let create = table
            .row(how, "CreateVolume", async {
                client.try_create(hawser_tests::client::create_request("new", 16 * MIB, &usage)).await.map(drop)
            })
            .await;
        assert!(silent.contains(&create), "{create:?}");
        others(&client, &other, &other_path).await;
        let again = table
            .row(how, "CreateVolume, again", async {
                client.try_create(hawser_tests::client::create_request("new", 16 * MIB, &usage)).await.map(drop)
            })
            .await;
        assert!(silent.contains(&again), "{again:?}");
        let code = table.row(how, "NodeGetVolumeStats", stats(&client, id, path)).await;
        assert!(silent.contains(&code), "{code:?}");
        // All at once: they must not wait for each other.
        let began = Instant::now();
        let asked = volumes[used..].iter().map(|(volume, path)| stats(&client, &volume.volume_id, path));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        writeln!(
            table.0,
            "| {how} | {} NodeGetVolumeStats at once | Unavailable | {:.2} s |",
            answers.len(),
            began.elapsed().as_secs_f64()
        )
        .unwrap();
        others(&client, &other, &other_path).await;
        let context = Default::default();
        let code = table
            .row(how, "NodePublishVolume, again", async { client.publish(first, &context, &usage, "pod").await.map(drop) })
            .await;
        assert_eq!(code, Code::Ok, "a mount that is there needs no server");
        let code = table.row(how, "ControllerPublishVolume", async { client.attach(second, &usage).await.map(drop) }).await;
        assert!(silent.contains(&code), "{code:?}");
        let code = table.row(how, "NodeUnpublishVolume", client.unpublish(id, "pod")).await;
        assert_eq!(code, Code::Ok, "taking away a view needs no server");
        let code = table.row(how, "NodeUnstageVolume", client.unstage(id)).await;
        assert!(silent.contains(&code), "what may be unwritten is not thrown away: {code:?}");
        let code = table.row(how, "DeleteVolume", client.delete(id)).await;
        assert!(silent.contains(&code), "{code:?}");
        others(&client, &other, &other_path).await;
        match how {
            "frozen" => server.thaw(),
            "stopped" => world.server.serve(),
            "cut off" => world.rig.heal(server, &machine.node),
            _ => world.server.boot(),
        }
        let began = Instant::now();
        until_async("the server to be used again", async || client.unstage(id).await.ok()).await;
        writeln!(table.0, "| {how}, then back | NodeUnstageVolume | Ok | {:.2} s after |", began.elapsed().as_secs_f64())
            .unwrap();
        client.detach(id).await.unwrap();
        client.delete(id).await.unwrap();
        for (n, (_, path)) in volumes.iter().enumerate().skip(used) {
            assert_eq!(machine.node.run(["cat", &format!("{path}/number")]).well().trim(), n.to_string());
        }
        // Locks work again, and what is written now is there.
        machine
            .node
            .shell(&format!("flock -n {second_path}/lock sh -c 'echo {how} > {second_path}/after; sync {second_path}/after'"));
        assert_eq!(machine.node.run(["cat", &format!("{second_path}/after")]).well().trim(), how);
        notice(&table.0);
    }
    client.down(&other).await;
    for (volume, _) in volumes.iter().enumerate().filter(|(n, _)| *n >= used || n % 2 == 1).map(|(_, volume)| volume) {
        client.down(volume).await;
        client.delete(&volume.volume_id).await.unwrap();
    }
    let mounts = machine.node.shell("grep -c nfs4 /proc/self/mountinfo || true");
    assert_eq!(mounts.trim(), "0");
    let threads = machine.node.shell("ls /proc/$(pgrep -x hawser | head -1)/task | wc -l");
    notice(&format!("threads of the plugin at the end: {}", threads.trim()));
}

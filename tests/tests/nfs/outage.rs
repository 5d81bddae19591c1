//! A server that is silent, in every way, while volumes are in use: what each call answers and after how long, that nobody else is
//! delayed, and that data and locks are right when it is back.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use hawser_tests::binary::hawser_with_faults;
use hawser_tests::client::{POD, text};
use hawser_tests::faults::{Fault, Faults};
use hawser_tests::notice::notice;
use hawser_tests::poll::until_async;
use hawser_tests::rig::Node;
use hawser_tests::{Client, MIB, Usage};
use rustix::process::Signal;

use crate::neighbour::Neighbour;
use crate::round::{Round, Used, is_silence, stats};
use crate::table::Table;
use crate::tenant::{Tenant, gets_the_lock};
use crate::trouble::Trouble;
use crate::world::{Machine, World};

/// How many volumes are staged.
const VOLUMES: usize = 20;

/// How many of them are written all the time.
const TENANTS: usize = 3;

/// How many calls are made at one time to make the volumes.
const AT_ONCE: usize = 4;

/// What is configured beside the backend.
const MORE: &str = "  local:\n    type: local\n    root: /tmp/pool\n    kind: directory\ndriver:\n  default-backend: nfs\n";

/// What no stop and no start may take.
const SOON: Duration = Duration::from_secs(25);

/// The program that does calls later if it is told to.
fn command(node: &Node) -> Command {
    let mut command = node.command(hawser_with_faults());
    command.env("HAWSER_FAULTS", node.directory().join("faults"));
    command
}

async fn used(client: &Client, name: &str, usage: &Usage) -> Used {
    let volume = client.create(name, 16 * MIB, usage).await;
    let path = text(&client.up(&volume, usage).await);
    (volume, path)
}

async fn all_used(client: &Client, names: impl IntoIterator<Item = String>, usage: &Usage) -> Vec<Used> {
    let made = names.into_iter().map(|name| async move { used(client, &name, usage).await });
    stream::iter(made).buffered(AT_ONCE).collect().await
}

/// Ends the plugin as an orchestrator does, and starts it again, with the server silent.
async fn restarted(table: &mut Table, trouble: &str, machine: &mut Machine) {
    let began = Instant::now();
    machine.plugin.signal(Signal::TERM);
    assert!(machine.plugin.wait().success(), "{}", machine.plugin.tail());
    let ended = began.elapsed();
    machine.plugin.start_again(&machine.node, command(&machine.node)).await;
    let both = began.elapsed();
    table.note(trouble, "SIGTERM until the end of the process", &format!("{:.2} s", ended.as_secs_f64()));
    table.note(trouble, "start until the first Probe", &format!("{:.2} s", (both - ended).as_secs_f64()));
    assert!(both < SOON, "{trouble}: stopping took {ended:?}, with starting {both:?}");
}

/// The server becomes silent while a volume that has unwritten data is unstaged: after it was asked and before all is written.
async fn silent_in_the_middle(table: &mut Table, world: &World, machine: &mut Machine, (volume, path): &Used) {
    let name = "frozen in the middle of NodeUnstageVolume";
    let (client, id) = (machine.plugin.client(), &volume.volume_id);
    let written = machine.node.shell(&format!("head -c 4M /dev/urandom > {path}/unwritten; sha256sum < {path}/unwritten"));
    client.unpublish(id, POD).await.unwrap();
    let mut faults = Faults::at(&machine.node.directory().join("faults"));
    faults.arm_at("host.sync", Fault::Hold);
    let unstage = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move { client.unstage(&id).await }
    });
    faults.wait_until_struck();
    world.server.node().freeze();
    faults.disarm();
    let unstaged = table.call(name, "NodeUnstageVolume", async { unstage.await.unwrap() }).await;
    assert!(is_silence(&unstaged), "{unstaged:?}");
    let again = table.call(name, "NodeUnstageVolume, again", client.unstage(id)).await;
    assert!(is_silence(&again), "{again:?}");
    let staged = text(&client.staging(id));
    let mounted = || machine.node.shell(&format!("grep -c ' {staged} ' /proc/self/mountinfo || true"));
    assert_eq!(mounted(), "1", "what may be unwritten is not thrown away");
    world.server.node().thaw();
    until_async("the server to be used again", async || client.unstage(id).await.ok()).await;
    assert_eq!(mounted(), "0");
    let usage = Usage::mount().mode(Mode::SingleNodeMultiWriter);
    client.stage(volume, &client.attach(volume, &usage).await.unwrap(), &usage).await.unwrap();
    assert_eq!(machine.node.shell(&format!("sha256sum < {staged}/unwritten")), written);
    client.unstage(id).await.unwrap();
    client.detach(id).await.unwrap();
    client.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_delays_nobody_and_loses_nothing() {
    let mut world = World::with(["n1", "n2"], MORE, command).await;
    let mut one = world.nodes.remove(0);
    let two = world.nodes.remove(0);
    let (client, usage) = (one.plugin.client(), Usage::mount().mode(Mode::SingleNodeMultiWriter));
    // A volume of both nodes, and those of one.
    let everybody = Usage::mount().mode(Mode::MultiNodeMultiWriter);
    let (shared, here) = used(&client, "shared", &everybody).await;
    let there = text(&two.plugin.client().up(&shared, &everybody).await);
    let mut staying = vec![(shared.clone(), here)];
    let more = (1..VOLUMES - Trouble::ALL.len()).map(|n| format!("staying-{n}"));
    staying.extend(all_used(&client, more, &usage).await);
    let leaving = all_used(&client, Trouble::ALL.map(|trouble| format!("leaving-{}", trouble.name())), &usage).await;
    let mut waiting = Vec::new();
    for trouble in Trouble::ALL {
        let volume = client.create(&format!("waiting-{}", trouble.name()), 16 * MIB, &usage).await;
        let context = client.attach(&volume, &usage).await.unwrap();
        waiting.push((volume, context));
    }
    let interrupted = used(&client, "interrupted", &usage).await;
    let mut tenants: Vec<Tenant> =
        (0..TENANTS).map(|n| Tenant::start(&one.node, &staying[n].1, &format!("tenant-{n}"))).collect();
    assert!(!gets_the_lock(&two.node, &there));
    let mut neighbour = Neighbour::start(&client).await;
    let mut table = Table::default();
    let quiet = neighbour.longest().await;
    table.note("none", "another backend's calls, the longest", &format!("{:.2} s", quiet.as_secs_f64()));
    notice(&format!("{VOLUMES} volumes are staged"));
    for (number, trouble) in Trouble::ALL.into_iter().enumerate() {
        let name = trouble.name();
        let round = Round {
            trouble,
            client: &client,
            usage: usage.clone(),
            leaving: &leaving[number],
            staying: &staying,
            waiting: &waiting[number],
        };
        trouble.begin(&world, &one);
        neighbour.longest().await;
        round.first_moment(&mut table).await;
        round.refused(&mut table).await;
        round.way_down(&mut table).await;
        let longest = neighbour.longest().await;
        table.note(name, "another backend's calls, the longest", &format!("{:.2} s", longest.as_secs_f64()));
        if trouble == Trouble::CutOff {
            // It is this node alone that has no server.
            stats(&two.plugin.client(), &shared.volume_id, &there).await.unwrap();
        }
        if trouble == Trouble::Frozen {
            neighbour.stop().await;
            restarted(&mut table, name, &mut one).await;
            neighbour = Neighbour::start(&client).await;
        }
        trouble.end(&world, &one);
        round.afterwards(&mut table).await;
        tenants.iter_mut().for_each(Tenant::goes_on);
        if trouble.restarts() {
            assert!(!gets_the_lock(&two.node, &there), "{name}: the lock is lost");
        }
        let answers = join_all(staying.iter().map(|(volume, path)| stats(&client, &volume.volume_id, path))).await;
        assert!(answers.iter().all(Result::is_ok), "{name}: {answers:?}");
        notice(&format!("{name} is over"));
    }
    silent_in_the_middle(&mut table, &world, &mut one, &interrupted).await;
    for tenant in tenants {
        tenant.finish(&one.node, &world.server);
    }
    assert!(gets_the_lock(&two.node, &there), "the lock of a process that has ended stays");
    neighbour.stop().await;
    two.plugin.client().down(&shared).await;
    let downs = staying.iter().map(|(volume, _)| async {
        client.down(volume).await;
        client.delete(&volume.volume_id).await.unwrap();
    });
    join_all(downs).await;
    assert!(client.volumes().await.is_empty());
    for machine in [&one, &two] {
        assert_eq!(machine.node.shell("grep -c ' nfs4 ' /proc/self/mountinfo || true"), "0");
    }
}

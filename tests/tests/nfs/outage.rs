//! A server that is silent, in every way, while volumes are in use: what each call answers and after how long, that nobody else is
//! delayed, and that data and locks are right when it is back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hawser_proto::csi;
use hawser_proto::csi::volume_capability::access_mode::Mode;
use hawser_tests::client::{POD, at_least, create_request, map, text};
use hawser_tests::notice::notice;
use hawser_tests::poll::until_async;
use hawser_tests::{Client, Context, MIB, Usage};
use rustix::process::Signal;
use tonic::{Code, Status};

use crate::neighbour::Neighbour;
use crate::table::Table;
use crate::tenant::{Tenant, gets_the_lock};
use crate::world::{BACKEND, Machine, World};

/// How many volumes are staged.
const VOLUMES: usize = 20;

/// How many of them are written all the time.
const TENANTS: usize = 3;

/// What is configured beside the backend.
const MORE: &str = "  local:\n    type: local\n    root: /tmp/pool\n    kind: directory\ndriver:\n  default-backend: nfs\n";

/// A way in which a server is silent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Frozen,
    Refusing,
    CutOff,
    AnswersLost,
    RequestsLost,
    PowerLost,
}

impl Trouble {
    const ALL: [Self; 6] = [Self::Frozen, Self::Refusing, Self::CutOff, Self::AnswersLost, Self::RequestsLost, Self::PowerLost];

    fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Refusing => "connection refused",
            Self::CutOff => "cut off",
            Self::AnswersLost => "answers lost",
            Self::RequestsLost => "requests lost",
            Self::PowerLost => "power lost",
        }
    }

    fn begin(self, world: &World, node: &Machine) {
        let server = world.server.node();
        match self {
            Self::Frozen => server.freeze(),
            Self::Refusing => world.server.stop(),
            Self::CutOff => world.rig.cut(server, &node.node),
            Self::AnswersLost => world.rig.cut_one_way(server, &node.node),
            Self::RequestsLost => world.rig.cut_one_way(&node.node, server),
            Self::PowerLost => world.server.kill(),
        }
    }

    fn end(self, world: &World, node: &Machine) {
        let server = world.server.node();
        match self {
            Self::Frozen => server.thaw(),
            Self::Refusing => world.server.serve(),
            Self::CutOff | Self::AnswersLost | Self::RequestsLost => world.rig.heal(server, &node.node),
            Self::PowerLost => world.server.boot(),
        }
    }

    /// Whether the server forgets its clients, and has them reclaim what they hold.
    fn restarts(self) -> bool {
        matches!(self, Self::Refusing | Self::PowerLost)
    }
}

/// What is said of a silent server. `DeadlineExceeded` would be for one that is slow.
fn is_silence(result: &Result<(), Status>) -> bool {
    result.as_ref().is_err_and(|status| status.code() == Code::Unavailable && status.message().contains("answer"))
}

/// A volume in use, with its target.
type Used = (csi::Volume, String);

/// What the calls of one round are about. Each volume is for one round, as it is taken down in it.
struct Round<'a> {
    trouble: Trouble,
    client: &'a Client,
    usage: Usage,
    /// Taken down while the server is silent.
    leaving: &'a Used,
    /// Used by somebody.
    staying: &'a [Used],
    /// Attached, and not staged.
    waiting: &'a (csi::Volume, Context),
}

impl Round<'_> {
    /// What comes while nobody knows yet that the server is silent, all at one time.
    async fn first_moment(&self, table: &mut Table) {
        let name = self.trouble.name();
        let began = Instant::now();
        let asked = self.staying.iter().map(|(volume, path)| stats(self.client, &volume.volume_id, path));
        let answers = join_all(asked).await;
        assert!(answers.iter().all(is_silence), "{name}: {answers:?}");
        let took = began.elapsed().as_secs_f64();
        table.note(
            name,
            &format!("the first calls: {} NodeGetVolumeStats at once", answers.len()),
            &format!("Unavailable {took:.2} s"),
        );
        assert!(took < 25.0, "{name}: {took}");
    }

    /// Every call that needs the server.
    async fn refused(&self, table: &mut Table) {
        let (client, usage, name) = (self.client, &self.usage, self.trouble.name());
        let (volume, path) = self.leaving;
        let id = &volume.volume_id;
        let mut controller = client.controller();
        macro_rules! silent {
            ($call:expr, $work:expr) => {{
                let result = table.call(name, $call, async { $work.await.map(drop) }).await;
                assert!(is_silence(&result), "{name}: {}: {result:?}", $call);
            }};
        }
        silent!("CreateVolume", client.try_create(create_request("new", 16 * MIB, usage)));
        silent!(
            "ControllerGetVolume",
            controller.controller_get_volume(csi::ControllerGetVolumeRequest { volume_id: id.clone() })
        );
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.clone(),
            volume_capabilities: vec![usage.capability()],
            ..Default::default()
        };
        silent!("ValidateVolumeCapabilities", controller.validate_volume_capabilities(request));
        silent!("ListVolumes", controller.list_volumes(csi::ListVolumesRequest::default()));
        let request = csi::GetCapacityRequest { parameters: map([("backend", BACKEND)]), ..Default::default() };
        silent!("GetCapacity", controller.get_capacity(request));
        silent!("ControllerPublishVolume", client.attach(volume, usage));
        silent!("ControllerUnpublishVolume", client.detach(id));
        silent!("ControllerExpandVolume", client.expand(id, at_least(64 * MIB)));
        silent!("CreateSnapshot", client.snapshot("cut", id));
        silent!("ListSnapshots", controller.list_snapshots(csi::ListSnapshotsRequest::default()));
        silent!("DeleteSnapshot", client.delete_snapshot(&id.replace("volume", "snapshot")));
        silent!("DeleteVolume", client.delete(&self.waiting.0.volume_id));
        silent!("NodeStageVolume", client.stage(&self.waiting.0, &self.waiting.1, usage));
        silent!("NodePublishVolume at one more target", client.publish(volume, &Context::new(), usage, "another"));
        silent!("NodeGetVolumeStats", stats(client, id, path));
    }

    /// What needs no server, and the way down as far as it goes.
    async fn way_down(&self, table: &mut Table) {
        let (client, usage, name) = (self.client, &self.usage, self.trouble.name());
        let (volume, _) = self.leaving;
        let id = &volume.volume_id;
        table.call(name, "Probe", async { client.identity().probe(csi::ProbeRequest {}).await.map(drop) }).await.unwrap();
        let again = async { client.publish(volume, &Context::new(), usage, POD).await.map(drop) };
        table.call(name, "NodePublishVolume, again", again).await.expect("a mount that is there needs no server");
        table.call(name, "NodeUnpublishVolume", client.unpublish(id, POD)).await.expect("taking away a view needs no server");
        let unstaged = table.call(name, "NodeUnstageVolume", client.unstage(id)).await;
        assert!(is_silence(&unstaged), "what may be unwritten is not thrown away: {unstaged:?}");
    }

    /// Everything that was refused is done by the same calls, once the server is back.
    async fn afterwards(&self, table: &mut Table) {
        let (client, usage, name) = (self.client, &self.usage, self.trouble.name());
        let (volume, _) = self.leaving;
        let began = Instant::now();
        until_async("the server to be used again", async || client.unstage(&volume.volume_id).await.ok()).await;
        table.note(
            name,
            "NodeUnstageVolume succeeds, after the end of the trouble",
            &format!("{:.1} s", began.elapsed().as_secs_f64()),
        );
        client.detach(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        let (waiting, context) = self.waiting;
        client.stage(waiting, context, usage).await.unwrap();
        client.unstage(&waiting.volume_id).await.unwrap();
        client.detach(&waiting.volume_id).await.unwrap();
        client.delete(&waiting.volume_id).await.unwrap();
        // Each was refused before anything was made.
        let names: Vec<String> = client.volumes().await.into_iter().map(|entry| entry.volume.unwrap().volume_id).collect();
        assert!(!names.contains(&volume.volume_id), "{names:?}");
    }
}

async fn stats(client: &Client, volume: &str, path: &str) -> Result<(), Status> {
    let request =
        csi::NodeGetVolumeStatsRequest { volume_id: volume.to_owned(), volume_path: path.to_owned(), ..Default::default() };
    client.node().node_get_volume_stats(request).await.map(drop)
}

async fn used(client: &Client, name: &str, usage: &Usage) -> Used {
    let volume = client.create(name, 16 * MIB, usage).await;
    let path = text(&client.up(&volume, usage).await);
    (volume, path)
}

/// Ends the plugin as an orchestrator does, and starts it again, with the server silent.
async fn restarted(table: &mut Table, trouble: &str, machine: &mut Machine) {
    let began = Instant::now();
    machine.plugin.signal(Signal::TERM);
    assert!(machine.plugin.wait().success(), "{}", machine.plugin.tail());
    let ended = began.elapsed();
    machine.plugin.start_again(&machine.node).await;
    let both = began.elapsed();
    table.note(trouble, "SIGTERM until the end of the process", &format!("{:.2} s", ended.as_secs_f64()));
    table.note(trouble, "start until the first Probe", &format!("{:.2} s", (both - ended).as_secs_f64()));
    assert!(both < Duration::from_secs(25), "{trouble}: stopping took {ended:?}, with starting {both:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_delays_nobody_and_loses_nothing() {
    let mut world = World::new(["n1", "n2"], MORE).await;
    let mut one = world.nodes.remove(0);
    let two = world.nodes.remove(0);
    let (client, usage) = (one.plugin.client(), Usage::mount().mode(Mode::SingleNodeMultiWriter));
    let mut neighbour = Neighbour::start(&one.plugin.client()).await;
    // A volume of both nodes, and those of one.
    let everybody = Usage::mount().mode(Mode::MultiNodeMultiWriter);
    let (shared, here) = used(&client, "shared", &everybody).await;
    let there = text(&two.plugin.client().up(&shared, &everybody).await);
    let mut staying = vec![(shared.clone(), here.clone())];
    while staying.len() < VOLUMES - Trouble::ALL.len() {
        staying.push(used(&client, &format!("staying-{}", staying.len()), &usage).await);
    }
    let (mut leaving, mut waiting) = (Vec::new(), Vec::new());
    for trouble in Trouble::ALL {
        leaving.push(used(&client, &format!("leaving-{}", trouble.name()), &usage).await);
        let volume = client.create(&format!("waiting-{}", trouble.name()), 16 * MIB, &usage).await;
        let context = client.attach(&volume, &usage).await.unwrap();
        waiting.push((volume, context));
    }
    let mut tenants: Vec<Tenant> =
        (0..TENANTS).map(|n| Tenant::start(&one.node, &staying[n].1, &format!("tenant-{n}"))).collect();
    assert!(!gets_the_lock(&two.node, &there));
    let mut table = Table::default();
    table.note("none", "another backend's calls, the longest", &format!("{:.2} s", neighbour.longest().await.as_secs_f64()));
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
        for tenant in &mut tenants {
            tenant.goes_on(&one.node);
        }
        if trouble.restarts() {
            assert!(!gets_the_lock(&two.node, &there), "{name}: the lock is lost");
        }
        for (volume, path) in &staying {
            stats(&client, &volume.volume_id, path).await.unwrap();
        }
        notice(&format!("{name} is over"));
    }
    for tenant in tenants {
        tenant.finish(&one.node, &world.server);
    }
    assert!(gets_the_lock(&two.node, &there), "the lock of a process that has ended stays");
    neighbour.stop().await;
    two.plugin.client().down(&shared).await;
    for (volume, _) in &staying {
        client.down(volume).await;
        client.delete(&volume.volume_id).await.unwrap();
    }
    assert!(client.volumes().await.is_empty());
    for machine in [&one, &two] {
        assert_eq!(machine.node.shell("grep -c ' nfs4 ' /proc/self/mountinfo || true"), "0");
    }
}

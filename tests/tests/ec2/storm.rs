//! Lives of volumes under two controllers that are killed at random, with an EC2 that throttles, fails and loses answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use hawser_ebs::label;
use hawser_proto::csi;
use hawser_tests::client::{Client, create_request, map};
use hawser_tests::ec2::{Chances, Controller, Ec2, Ec2Settings, ZONES};
use hawser_tests::usage::Usage;
use tokio::sync::RwLock;
use tonic::{Code, Status};

/// How many lives: `HAWSER_EC2_LIVES`, few by default.
fn lives() -> usize {
    std::env::var("HAWSER_EC2_LIVES").map_or(24, |text| text.parse().unwrap())
}

/// The chances' seed: `HAWSER_EC2_SEED`.
fn seed() -> u64 {
    std::env::var("HAWSER_EC2_SEED").map_or(7, |text| text.parse().unwrap())
}

const MORE: &str = "    listed-within-seconds: 3\n    request-rate: 20\n";

struct Storm {
    controllers: [RwLock<Controller>; 2],
    calls: AtomicU64,
    again: AtomicU64,
    place: PathBuf,
    seed: u64,
}

impl Storm {
    /// Calls one of the controllers until it is done. What a CO would show its user ends the test.
    async fn until<T>(&self, node: &str, what: &str, call: impl AsyncFn(Client) -> Result<T, Status>) -> T {
        loop {
            let turn = usize::try_from(self.calls.fetch_add(1, Ordering::Relaxed) % 2).unwrap();
            let client = self.controllers[turn].read().await.client(node);
            match tokio::time::timeout(Duration::from_secs(30), call(client)).await {
                Ok(Ok(done)) => return done,
                Err(_) => {}
                Ok(Err(status)) => {
                    let passing =
                        matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown);
                    assert!(passing, "seed {}: {what}: {status}", self.seed);
                }
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn life(&self, node: String, name: String) {
        let place = csi::Topology { segments: map([("csi.hawser.dev/ebs", ZONES[0])]) };
        let request = csi::CreateVolumeRequest {
            accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![place], preferred: vec![] }),
            ..create_request(&name, 1024 * hawser_tests::MIB, &Usage::mount())
        };
        // Both are asked at once.
        let create = async |client: Client| client.try_create(request.clone()).await;
        let (volume, same) = tokio::join!(self.until(&node, "create", create), self.until(&node, "create", create));
        assert_eq!(volume.volume_id, same.volume_id, "seed {}", self.seed);
        self.until(&node, "attach", async |client: Client| client.attach(&volume, &Usage::mount()).await).await;
        self.until(&node, "detach", async |client: Client| client.detach(&volume.volume_id).await).await;
        self.until(&node, "delete", async |client: Client| client.delete(&volume.volume_id).await).await;
    }
}

#[tokio::test]
async fn nothing_is_leaked_doubled_or_attached_twice() {
    let (seed, lives) = (seed(), lives());
    println!("seed {seed}, {lives} lives");
    let step = Duration::from_millis(150);
    let settings = Ec2Settings { create: step, attach: step, detach: step, listed: step, ..Ec2Settings::default() };
    let ec2 = Ec2::start(settings).await;
    let place = tempfile::tempdir().unwrap();
    let nodes: Vec<String> = (0..10).map(|_| ec2.world().instance(ZONES[0])).collect();
    let start = async |name: &str| RwLock::new(Controller::start(&ec2, place.path(), name, MORE).await);
    let storm = Storm {
        controllers: [start("one").await, start("two").await],
        calls: AtomicU64::new(0),
        again: AtomicU64::new(0),
        place: place.path().to_owned(),
        seed,
    };
    ec2.chances(Chances { throttle: 100, fail: 50, lose: 20 }, seed);
    let over = AtomicBool::new(false);
    let kills = async {
        let mut kills = 0_u64;
        while !over.load(Ordering::Relaxed) {
            let turn = usize::try_from(kills % 2).unwrap();
            tokio::time::sleep(Duration::from_millis(400 + (seed + kills) * 7919 % 1100)).await;
            // Nobody waits for the lock of a process that is about to be killed: calls hold it only to get their client.
            let mut controller = storm.controllers[turn].write().await;
            controller.kill();
            *controller = Controller::start(&ec2, &storm.place, ["one", "two"][turn], MORE).await;
            kills += 1;
        }
        kills
    };
    let work = async {
        let life = async |number: usize| storm.life(nodes[number % 10].clone(), format!("life{number}")).await;
        futures_util::stream::iter(0..lives).for_each_concurrent(40, life).await;
        over.store(true, Ordering::Relaxed);
    };
    let (kills, ()) = tokio::join!(kills, work);
    ec2.calm();
    let world = ec2.world();
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for tags in &world.made {
        *names.entry(tags[label::VOLUME].as_str()).or_default() += 1;
    }
    let doubles: Vec<_> = names.iter().filter(|(_, count)| **count > 1).collect();
    let attached: BTreeSet<&String> = world.granted.iter().map(|(volume, _)| volume).collect();
    println!(
        "{lives} lives, {kills} kills, {} calls, {} of them again; EC2: {:?}; leaked {}, doubles {}, attached twice {}",
        storm.calls.load(Ordering::Relaxed),
        storm.again.load(Ordering::Relaxed),
        ec2.asked(),
        world.volumes.len(),
        doubles.len(),
        world.granted.len() - attached.len()
    );
    assert!(world.volumes.is_empty(), "seed {seed}: left: {:?}", world.volumes.keys());
    assert!(doubles.is_empty(), "seed {seed}: {doubles:?}");
    assert_eq!((names.len(), world.granted.len(), attached.len()), (lives, lives, lives), "seed {seed}");
    assert!(kills > 0, "seed {seed}: the storm was too short");
}

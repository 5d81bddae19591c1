//! Tokens that run out, gateways that die with calls under way, lost answers, and two controllers that do the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hawser_controller::Provisioner;
use hawser_controller::backend::scaleio::ScaleIo as Backend;
use hawser_scaleio::ScaleIoConfig;
use hawser_tests::scaleio::{Chances, ScaleIo, ScaleIoSettings};
use hawser_volume::{Deadline, Error, Kind, Secrets};

use crate::ready::{attach, config, snapshot, volume};

const SEED: u64 = 7;
const NAMES: usize = 12;

/// Again until it is done: what a CO does with UNAVAILABLE and with what another one holds.
async fn until_done<T>(retries: &AtomicU64, mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded | Kind::Precondition) => {
                retries.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("seed {SEED}: {error:?}"),
        }
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

async fn life(backend: &Backend, number: usize, who: &str, retries: &AtomicU64) -> String {
    let name = format!("v{number}");
    let id = until_done(retries, async || {
        backend.create(hawser_controller::provision::NewVolume { deadline: soon(), ..volume(&name) }).await.map(|made| made.id)
    })
    .await;
    // Both want it; each has it for a while, alone.
    until_done(retries, async || {
        backend.attach(hawser_controller::provision::Attach { deadline: soon(), ..attach(&id, who) }).await
    })
    .await;
    let cut = format!("s{number}").parse().unwrap();
    let first = until_done(retries, async || {
        backend.snapshot(&cut, &id, hawser_controller::provision::NewSnapshot { deadline: soon(), ..snapshot() }).await
    })
    .await;
    assert_eq!(first.source, id);
    let node = who.parse().unwrap();
    until_done(retries, async || backend.detach(&id, Some(&node), &Secrets::default(), soon()).await).await;
    id.native().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_nothing_is_made_twice_and_nobody_shares() {
    for version in ["3.6", "4.5"] {
        let settings = ScaleIoSettings {
            version: version.to_owned(),
            gateways: 2,
            token_uses: Some(40),
            removal: 1,
            ..ScaleIoSettings::default()
        };
        let array = Arc::new(ScaleIo::start(settings).await);
        for node in ["node-a", "node-b"] {
            array.world().sdc(Some(node));
        }
        array.chances(Chances { throttle: 20, fail: 40, lose: 30 }, SEED);
        let config = ScaleIoConfig { answer_within_seconds: 2, ..config(&[&array]) };
        let controllers = ["node-a", "node-b"].map(|node| (Backend::new("sio".parse().unwrap(), config.clone()).unwrap(), node));
        let (retries, over) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
        let killer = tokio::spawn({
            let (array, over) = (Arc::clone(&array), Arc::clone(&over));
            async move {
                let mut kills = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    let victim = usize::try_from(kills % 2).unwrap();
                    array.kill(victim);
                    kills += 1;
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    array.revive(victim).await;
                    array.expire_tokens();
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                kills
            }
        });
        let lives = (0..NAMES).flat_map(|number| controllers.iter().map(move |(backend, node)| (number, backend, *node)));
        let lives = lives.map(|(number, backend, node)| {
            let retries = &retries;
            async move { (number, life(backend, number, node, retries).await) }
        });
        let mut ids: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (number, id) in join_all(lives).await {
            ids.entry(number).or_default().push(id);
        }
        {
            let world = array.world();
            assert!(ids.values().all(|ids| ids.len() == 2 && ids[0] == ids[1]), "seed {SEED}: {ids:?}");
            assert_eq!(world.volumes.len(), 2 * NAMES, "seed {SEED}: a volume and a snapshot of each name");
            assert!(world.volumes.values().all(|volume| volume.mapped.is_empty()), "seed {SEED}");
            assert!(world.shared.is_empty(), "seed {SEED}: {:?}", world.shared);
        }
        // All goes, snapshots first.
        let (backend, _) = &controllers[0];
        let snapshots = until_done(&retries, async || backend.list_snapshots(None, None, 1000).await).await.items;
        assert_eq!(snapshots.len(), NAMES);
        for snapshot in snapshots {
            until_done(&retries, async || backend.delete_snapshot(&snapshot.id, &Secrets::default(), soon()).await).await;
        }
        for id in ids.values().map(|ids| format!("sio:{}", ids[0]).parse().unwrap()) {
            until_done(&retries, async || backend.delete(&id, &Secrets::default(), soon()).await).await;
        }
        over.store(true, Ordering::Relaxed);
        let kills = killer.await.unwrap();
        assert!(array.world().volumes.is_empty(), "seed {SEED}");
        let asked = array.asked();
        println!(
            "{version}: {NAMES} names by two controllers: {} requests, {} logins, {kills} gateways killed, {} calls repeated by the CO; \
             0 leaked, 0 made twice, 0 shared",
            asked.values().sum::<u64>(),
            asked["login"],
            retries.load(Ordering::Relaxed)
        );
    }
}

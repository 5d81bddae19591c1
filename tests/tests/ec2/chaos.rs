//! Requests that are throttled, fail and get lost, with their answers or without.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_tests::ec2::{Chances, Ec2, Ec2Settings, Trick, ZONES};

use crate::ready::{NAME, account, client, new, soon};

/// Each is asked for by two clients at once, as two controllers would, and again until it is there.
#[tokio::test]
async fn whatever_happens_a_name_has_one_volume() {
    let seed = 42;
    let ec2 = Ec2::start(Ec2Settings { listed: Duration::from_millis(50), ..Ec2Settings::default() }).await;
    ec2.chances(Chances { throttle: 100, fail: 50, lose: 20 }, seed);
    let accounts = [account(&ec2), account(&ec2)];
    let tasks: Vec<_> = (0..40)
        .flat_map(|number| accounts.clone().map(|account| (number, account)))
        .map(|(number, account)| {
            tokio::spawn(async move {
                let name = format!("v{number}");
                loop {
                    match account.ec2.create_volume(&new(&name), soon()).await {
                        Ok(volume) => return (name, volume.id),
                        Err(refusal) => assert!(refusal.class() == hawser_ebs::Class::Transient, "seed {seed}: {refusal}"),
                    }
                }
            })
        })
        .collect();
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for task in tasks {
        let (name, id) = task.await.unwrap();
        ids.entry(name).or_default().insert(id);
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "seed {seed}: {ids:?}");
    let world = ec2.world();
    let names: BTreeSet<&String> = world.volumes.values().map(|volume| &volume.tags[NAME]).collect();
    assert_eq!((world.volumes.len(), names.len()), (40, 40), "seed {seed}");
}

#[tokio::test]
async fn an_attachment_is_never_asked_for_twice_by_one_call() {
    for trick in [Trick::LoseAnswer, Trick::FailAfter, Trick::LoseRequest, Trick::Fail] {
        let ec2 = Ec2::start(Ec2Settings::default()).await;
        let (client, instance) = (client(&ec2), ec2.world().instance(ZONES[0]));
        let volume = client.create_volume(&new("a"), soon()).await.unwrap().id;
        ec2.trick("AttachVolume", Trick::Throttle);
        ec2.trick("AttachVolume", trick);
        let refusal = client.attach_volume(&volume, &instance, "/dev/xvdba", soon()).await.unwrap_err();
        assert!(refusal.is_uncertain(), "{trick:?}: {refusal}");
        assert_eq!(ec2.asked()["AttachVolume"], 2, "{trick:?}");
        let done = matches!(trick, Trick::LoseAnswer | Trick::FailAfter);
        assert_eq!(ec2.world().granted.len(), usize::from(done), "{trick:?}");
    }
}

/// The account's own limits, and a client that keeps to them. Without its limiter some twenty would be throttled; one or two may
/// be when the machine is slow to deliver the first request.
#[tokio::test]
async fn who_keeps_to_the_rate_is_not_throttled() {
    let ec2 = Ec2::start(Ec2Settings { rate: Some((50.0, 5.0)), ..Ec2Settings::default() }).await;
    let account = account(&ec2);
    let tasks: Vec<_> = (0..70)
        .map(|number| {
            let account = account.clone();
            tokio::spawn(async move { account.ec2.create_volume(&new(&format!("v{number}")), soon()).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    println!("70 volumes at 50 + 5/s: {} throttled", ec2.throttled());
    assert!(ec2.throttled() <= 3, "{}", ec2.throttled());
}

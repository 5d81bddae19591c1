//! Many volumes at once, and one at a time: how often EC2 is asked, and what is added to the time that it takes itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_tests::client::{Client, create_request, map};
use hawser_tests::ec2::{Controller, Ec2, Ec2Settings, ZONES};
use hawser_tests::usage::Usage;

const STEP: Duration = Duration::from_secs(1);

fn request(name: &str) -> csi::CreateVolumeRequest {
    let place = csi::Topology { segments: map([("csi.hawser.dev/ebs", ZONES[0])]) };
    csi::CreateVolumeRequest {
        accessibility_requirements: Some(csi::TopologyRequirement { requisite: vec![place], preferred: vec![] }),
        ..create_request(name, 1024 * hawser_tests::MIB, &Usage::mount())
    }
}

/// The times of create, attach, detach and delete.
async fn life(client: Client, name: String) -> [Duration; 4] {
    let mut times = [Duration::ZERO; 4];
    let mut last = Instant::now();
    let mut lap = |index: usize| {
        times[index] = last.elapsed();
        last = Instant::now();
    };
    let volume = client.try_create(request(&name)).await.unwrap();
    lap(0);
    client.attach(&volume, &Usage::mount()).await.unwrap();
    lap(1);
    client.detach(&volume.volume_id).await.unwrap();
    lap(2);
    client.delete(&volume.volume_id).await.unwrap();
    lap(3);
    times
}

fn since(ec2: &Ec2, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let count = |(action, count): (String, u64)| {
        let more = count - before.get(&action).copied().unwrap_or_default();
        (more > 0).then_some((action, more))
    };
    ec2.asked().into_iter().filter_map(count).collect()
}

#[tokio::test]
async fn ec2_is_asked_seldom_and_waited_for_shortly() {
    let listed = Duration::from_millis(200);
    let settings =
        Ec2Settings { create: STEP, attach: STEP, detach: STEP, listed, rate: Some((50.0, 5.0)), ..Ec2Settings::default() };
    let ec2 = Ec2::start(settings).await;
    let place = tempfile::tempdir().unwrap();
    let plugin = Controller::start(&ec2, place.path(), "one", "").await;
    let nodes: Vec<String> = (0..10).map(|_| ec2.world().instance(ZONES[0])).collect();

    // One at a time. How long EC2 takes is not known at the first, and is for the others.
    let mut added = [Duration::ZERO; 4];
    const ALONE: u32 = 9;
    let mut looks = Vec::new();
    for number in 0..ALONE {
        let before = ec2.asked();
        let times = life(plugin.client(&nodes[0]), format!("alone{number}")).await;
        for (sum, (time, own)) in added.iter_mut().zip(times.iter().zip([STEP, STEP, STEP, Duration::ZERO])) {
            *sum += time.saturating_sub(own);
        }
        looks.push(since(&ec2, &before)["DescribeVolumes"]);
    }
    let alone = since(&ec2, &BTreeMap::new());
    for (name, sum) in ["create", "attach", "detach", "delete"].iter().zip(added) {
        println!("alone: {name} adds {:?}", sum / ALONE);
    }
    println!("alone: {ALONE} lives: {alone:?}; DescribeVolumes of each: {looks:?}");
    // Every 400 ms from the beginning on it would be 11 for each; that is about 5, and now and then one look too early.
    assert!(looks[1..].iter().sum::<u64>() <= 8 * u64::from(ALONE - 1), "{looks:?}");
    assert!(added.iter().all(|sum| *sum / ALONE < Duration::from_secs(5)), "{added:?}");
    for action in ["CreateVolume", "AttachVolume", "DetachVolume", "DeleteVolume"] {
        assert_eq!(alone[action], u64::from(ALONE), "{alone:?}");
    }

    // A hundred at once, on ten nodes. The limits of the account are EC2's usual ones, so this takes its time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, began) = (ec2.asked(), Instant::now());
    let tasks: Vec<_> =
        (0..100).map(|number| tokio::spawn(life(plugin.client(&nodes[number % 10]), format!("many{number}")))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let many = since(&ec2, &before);
    println!("100 at once: {:?}, {} throttled, {many:?}", began.elapsed(), ec2.throttled());
    for action in ["CreateVolume", "AttachVolume", "DetachVolume", "DeleteVolume"] {
        // What was throttled is sent again.
        assert!((100..=103).contains(&many[action]), "{many:?}");
    }
    assert!(ec2.throttled() <= 6, "{}", ec2.throttled());
    // aws-ebs-csi-driver describes each volume at least four times in such a life, before its batches.
    let described: u64 = many.iter().filter(|(action, _)| action.starts_with("Describe")).map(|(_, count)| count).sum();
    assert!(described <= 400, "{many:?}");
    let world = ec2.world();
    assert!(world.volumes.is_empty());
    let volumes: std::collections::BTreeSet<&String> = world.granted.iter().map(|(volume, _)| volume).collect();
    assert_eq!(world.granted.len(), volumes.len(), "each volume is attached once");
}

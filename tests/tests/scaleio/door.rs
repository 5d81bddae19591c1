//! Logins, certificates, and gateways that fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_scaleio::volume::NewVolume;
use hawser_scaleio::{Class, Gateways, SystemConfig};
use hawser_tests::scaleio::{MONITOR, ScaleIo, ScaleIoSettings, Trick};
use hawser_volume::{Bytes, Deadline, Kind};

use crate::ready::{client, soon, system};

fn face(version: &str) -> ScaleIoSettings {
    ScaleIoSettings { version: version.to_owned(), ..ScaleIoSettings::default() }
}

fn new(array: &ScaleIo, name: &str) -> NewVolume {
    let world = array.world();
    let (id, pool) = world.pools.first_key_value().unwrap();
    NewVolume {
        name: name.to_owned(),
        size: Bytes::gib(8),
        pool: id.clone(),
        domain: pool["protectionDomainId"].as_str().unwrap().to_owned(),
        provisioning: hawser_scaleio::config::Provisioning::Thin,
    }
}

#[tokio::test]
async fn every_face_is_found_out_and_spoken_to() {
    for settings in [
        face("2.5"),
        face("3.0"),
        face("3.6"),
        face("4.0"),
        face("4.5"),
        ScaleIoSettings { without_jwt: true, ..face("4.0") },
        ScaleIoSettings { numbers_as_text: true, renumbered: true, ..face("4.5") },
    ] {
        let array = ScaleIo::start(settings.clone()).await;
        let client = client(&array);
        assert_eq!(client.version(soon()).await.unwrap(), settings.version);
        let new = new(&array, "a");
        let id = client.create_volume(&new, soon()).await.unwrap();
        let volume = client.volume_by_name("a", soon()).await.unwrap().unwrap();
        assert_eq!((&volume.id, volume.size()), (&id, Bytes::gib(8)), "{settings:?}");
        assert_eq!(client.create_volume(&new, soon()).await.unwrap_err().class(), Class::NameInUse, "{settings:?}");
        array.expire_tokens();
        client.remove_volume(&id, soon()).await.unwrap();
        assert!(client.volume(&id, soon()).await.unwrap().is_none(), "{settings:?}");
        assert!(array.asked().keys().all(|action| !action.contains("doctype")));
    }
}

#[tokio::test]
async fn many_callers_share_one_login() {
    for version in ["3.6", "4.5"] {
        let array = ScaleIo::start(face(version)).await;
        let client = Arc::new(client(&array));
        client.systems(soon()).await.unwrap();
        let logins = |array: &ScaleIo| array.asked().get("login").copied().unwrap_or_default();
        for _ in 0..3 {
            array.expire_tokens();
            let before = logins(&array);
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let client = Arc::clone(&client);
                    tokio::spawn(async move { client.systems(soon()).await.map(drop) })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            let made = logins(&array) - before;
            assert_eq!(made, 1, "{version}: fifty callers");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_by_everyone() {
    let array = ScaleIo::start(face("3.6")).await;
    let wrong = array.place().join("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    let client = Gateways::new(&SystemConfig { password_file: wrong, ..system(&array) }, Duration::from_secs(5)).unwrap();
    for _ in 0..20 {
        let refusal = client.systems(soon()).await.unwrap_err();
        assert_eq!(refusal.class(), Class::Unauthenticated);
        let error = refusal.while_doing("list");
        assert!(
            error.kind() == Kind::Unauthenticated && error.to_string().ends_with("check user and password of the backend"),
            "{error}"
        );
    }
    assert_eq!(array.asked()["login"], 1);
}

#[tokio::test]
async fn who_may_only_look_is_told_so() {
    let array = ScaleIo::start(face("3.6")).await;
    let config = SystemConfig { user: MONITOR.to_owned(), ..system(&array) };
    let client = Gateways::new(&config, Duration::from_secs(5)).unwrap();
    assert_eq!(client.systems(soon()).await.unwrap().len(), 1);
    let refusal = client.create_volume(&new(&array, "a"), soon()).await.unwrap_err();
    assert_eq!(refusal.while_doing("x").kind(), Kind::PermissionDenied);
    assert_eq!(array.asked()["login"], 1, "a new login gives no new rights");
}

#[tokio::test]
async fn only_who_is_trusted_gets_the_password() {
    let array = ScaleIo::start(face("3.6")).await;
    let other = ScaleIo::start(face("3.6")).await;
    let plain = SystemConfig { ca_file: None, ..system(&array) };
    let pinned = |digest: String| SystemConfig { certificate_sha256: vec![digest], ..plain.clone() };
    for (config, trusted) in [
        (system(&array), true),
        (plain.clone(), false),
        (SystemConfig { ca_file: Some(other.ca_file()), ..plain.clone() }, false),
        (pinned(array.fingerprint(0)), true),
        (pinned(array.fingerprint(0).to_uppercase()), true),
        (pinned(other.fingerprint(0)), false),
        (SystemConfig { insecure: true, ..plain.clone() }, true),
    ] {
        let before = array.asked().values().sum::<u64>();
        let client = Gateways::new(&config, Duration::from_secs(5)).unwrap();
        let answer = client.systems(Deadline::after(Duration::from_secs(3))).await;
        assert_eq!(answer.is_ok(), trusted, "{config:?}");
        if let Err(refusal) = answer {
            assert_eq!(array.asked().values().sum::<u64>(), before, "{config:?}");
            println!("{refusal}");
        }
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn the_next_gateway_is_asked_when_one_has_gone() {
    let array = ScaleIo::start(ScaleIoSettings { gateways: 3, ..face("3.6") }).await;
    let client = client(&array);
    for (dead, name) in [(0, "a"), (1, "b"), (2, "c")] {
        client.create_volume(&new(&array, name), soon()).await.unwrap();
        array.kill(dead);
        if dead == 2 {
            array.revive(0).await;
        }
        assert!(client.volume_by_name(name, soon()).await.unwrap().is_some(), "{name}");
    }
    assert_eq!(array.world().volumes.len(), 3);
}

#[tokio::test]
async fn a_gateway_that_dies_or_falls_silent_with_a_call_under_way_leaves_one_volume() {
    let array = ScaleIo::start(ScaleIoSettings { gateways: 2, ..face("4.5") }).await;
    let client = Arc::new(Gateways::new(&system(&array), Duration::from_secs(2)).unwrap());
    client.systems(soon()).await.unwrap();
    array.slow(0, Duration::from_secs(30));
    let call = tokio::spawn({
        let (client, new) = (Arc::clone(&client), new(&array, "a"));
        async move { client.create_volume(&new, soon()).await }
    });
    let end = Instant::now() + Duration::from_secs(20);
    while array.world().volumes.is_empty() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    array.kill(0);
    // Asked again at the other gateway, the array knows the name.
    let refusal = call.await.unwrap().unwrap_err();
    assert!(refusal.class() == Class::NameInUse && refusal.is_uncertain(), "{refusal}");
    assert!(client.volume_by_name("a", soon()).await.unwrap().is_some());
    // Silence is bounded as well.
    array.slow(1, Duration::from_secs(30));
    array.revive(0).await;
    array.slow(0, Duration::ZERO);
    let began = Instant::now();
    assert_eq!(client.volumes(soon()).await.unwrap().len(), 1);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_could_be_done_twice_is_not_sent_twice() {
    for trick in [Trick::LoseAnswer, Trick::FailAfter, Trick::LoseRequest] {
        let array = ScaleIo::start(ScaleIoSettings { gateways: 2, ..face("3.6") }).await;
        let client = client(&array);
        let (sdc, _) = array.world().sdc(Some("node-a"));
        let id = client.create_volume(&new(&array, "a"), soon()).await.unwrap();
        array.trick("addMappedSdc", trick);
        let mode = hawser_scaleio::volume::MappingMode::ReadWrite;
        let refusal = client.map_volume(&id, &sdc, mode, false, soon()).await.unwrap_err();
        assert!(refusal.is_uncertain(), "{trick:?}: {refusal}");
        assert_eq!(array.asked()["addMappedSdc"], 1, "{trick:?}");
        array.trick("removeMappedSdc", Trick::Throttle);
        let _ = client.unmap_volume(&id, &sdc, soon()).await;
        assert_eq!(array.asked()["removeMappedSdc"], 2, "a busy array has done nothing");
        assert!(array.world().volumes[&id].mapped.is_empty());
    }
}

#[tokio::test]
async fn a_slow_array_delays_no_other() {
    let (slow, quick) = (ScaleIo::start(face("3.6")).await, ScaleIo::start(face("4.5")).await);
    slow.slow(0, Duration::from_secs(60));
    let stuck = Arc::new(client(&slow));
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let stuck = Arc::clone(&stuck);
            tokio::spawn(async move { stuck.systems(Deadline::after(Duration::from_secs(5))).await.map(drop) })
        })
        .collect();
    let began = Instant::now();
    let other = client(&quick);
    for _ in 0..20 {
        other.systems(soon()).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().class(), Class::Transient);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

//! Volumes and snapshots through the seam that the controller's services use.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_controller::Provisioner;
use hawser_controller::backend::scaleio::ScaleIo as Backend;
use hawser_controller::provision::{CapacityQuery, NewVolume, Source};
use hawser_scaleio::ScaleIoConfig;
use hawser_tests::scaleio::{ScaleIo, ScaleIoSettings};
use hawser_volume::{Bytes, Deadline, Kind, Secrets, SizeRange};

use crate::ready::{attach, backend, config, pairs, snapshot, soon, volume};

#[tokio::test]
async fn a_volume_lives_and_every_step_can_be_repeated() {
    for (version, numbers_as_text, renumbered) in [("2.5", true, false), ("3.6", false, false), ("4.5", false, true)] {
        let settings = ScaleIoSettings {
            version: version.to_owned(),
            numbers_as_text,
            renumbered,
            removal: 2,
            ..ScaleIoSettings::default()
        };
        let array = ScaleIo::start(settings).await;
        let backend = backend(&[&array]);
        array.world().sdc(Some("node-a"));
        let made = backend.create(volume("a")).await.unwrap();
        assert_eq!(backend.create(volume("a")).await.unwrap(), made);
        assert_eq!(made.size, Bytes::gib(8));
        let context = backend.attach(attach(&made.id, "node-a")).await.unwrap();
        assert_eq!(backend.attach(attach(&made.id, "node-a")).await.unwrap(), context);
        assert_eq!(context["volume-id"], made.id.native().split_once('-').unwrap().1);
        assert!(!context.values().any(|value| value.contains("127.0.0.1") || value.contains("Pa55")), "{context:?}");
        assert_eq!(backend.delete(&made.id, &Secrets::default(), soon()).await.unwrap_err().kind(), Kind::Precondition);
        let status = backend.get(&made.id).await.unwrap();
        assert_eq!((status.nodes[0].as_str(), status.trouble), ("node-a", None));
        let grown = backend.expand(&made.id, SizeRange::at_least(Bytes::gib(9)), &Secrets::default(), soon()).await.unwrap();
        assert!(grown.size == Bytes::gib(16) && grown.node_must_follow);
        let again = backend.expand(&made.id, SizeRange::at_least(Bytes::gib(9)), &Secrets::default(), soon()).await.unwrap();
        assert_eq!(again, grown);
        let smaller = SizeRange::new(1, 8 << 30).unwrap();
        assert_eq!(backend.expand(&made.id, smaller, &Secrets::default(), soon()).await.unwrap_err().kind(), Kind::OutOfRange);
        let node = "node-a".parse().unwrap();
        for _ in 0..2 {
            backend.detach(&made.id, Some(&node), &Secrets::default(), soon()).await.unwrap();
        }
        for _ in 0..2 {
            backend.delete(&made.id, &Secrets::default(), soon()).await.unwrap();
        }
        assert!(array.world().volumes.is_empty());
        assert_eq!(backend.get(&made.id).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(backend.attach(attach(&made.id, "node-a")).await.unwrap_err().kind(), Kind::NotFound);
        backend.detach(&made.id, Some(&node), &Secrets::default(), soon()).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_compared_in_everything() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let other = {
        let mut world = array.world();
        let domain = world.domains.keys().next().unwrap().clone();
        world.pool(&domain, "pool2")
    };
    let backend = backend(&[&array]);
    let new = |parameters: &[(&str, &str)]| NewVolume { parameters: pairs(parameters), ..volume("a") };
    let made = backend.create(new(&[("storagepool", "pool1")])).await.unwrap();
    for (wish, part) in [
        (new(&[("storagepool", "pool2")]), format!("not in {other}")),
        (new(&[("storagepool", "pool1"), ("thinOrThick", "ThickProvisioned")]), "not ThickProvisioned".to_owned()),
        (NewVolume { range: SizeRange::at_least(Bytes::gib(9)), ..new(&[("storagepool", "pool1")]) }, "has 8GiB".to_owned()),
        (
            NewVolume { source: Some(Source::Volume(made.id.clone())), ..new(&[]) },
            "has another source: it was made from nothing".to_owned(),
        ),
    ] {
        let error = backend.create(wish).await.unwrap_err();
        assert!(error.kind() == Kind::AlreadyExists && error.to_string().contains(&part), "{error}");
    }
    assert_eq!(array.world().volumes.len(), 1);
}

#[tokio::test]
async fn a_place_is_found_by_id_and_name_and_never_guessed() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let (system, pool, domain) = {
        let mut world = array.world();
        let second = world.domain("pd2");
        let pool = world.pool(&second, "pool1");
        let bare = world.pool(&second, "bare");
        world.pools.get_mut(&bare).unwrap()["zeroPaddingEnabled"] = false.into();
        (world.system_name(), pool, second)
    };
    let backend = backend(&[&array]);
    let made = async |name: &str, wishes: &[(&str, &str)]| {
        let made = backend.create(NewVolume { parameters: pairs(wishes), ..volume(name) }).await?;
        Ok::<_, hawser_volume::Error>(array.world().volumes[made.id.native().split_once('-').unwrap().1].pool.clone())
    };
    assert_eq!(made("a", &[("storagePoolID", &pool)]).await.unwrap(), pool);
    assert_eq!(made("b", &[("storagepool", "pool1"), ("protectiondomain", "pd2"), ("systemID", &system)]).await.unwrap(), pool);
    assert_eq!(made("c", &[("type", "pool1"), ("availabilityZone", &domain)]).await.unwrap(), pool);
    for (wishes, part) in [
        (&[][..], "\"storagepool\" is required"),
        (&[("storagepool", "pool1")][..], "several storage pools"),
        (&[("storagepool", "pool9")][..], "does not exist; there are"),
        (&[("storagepool", "pool1"), ("protectiondomain", "pd9")][..], "protection domain \"pd9\" does not exist"),
        (&[("storagepool", "bare")][..], "does not write zeros first"),
        (&[("storagepool", "bare"), ("systemID", "nowhere")][..], "system nowhere is not one of backend sio"),
        (&[("storagepool", "bare"), ("iopsLimit", "5")][..], "at least 11"),
        (&[("flavour", "x")][..], "unknown \"flavour\""),
    ] {
        let error = made("d", wishes).await.unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(part), "{wishes:?}: {error:?}");
    }
    made("e", &[("storagepool", "bare"), ("unpaddedPool", "true")]).await.unwrap();
    let capacity = async |wishes: &[(&str, &str)]| {
        backend.capacity(CapacityQuery { parameters: pairs(wishes), ..CapacityQuery::default() }).await.unwrap().available
    };
    let pib = 1_u64 << 50;
    assert_eq!(capacity(&[("storagepool", "bare")]).await, Bytes::ZERO);
    assert_eq!(capacity(&[("storagePoolID", &pool)]).await.get(), pib - 3 * (8 << 30));
    assert_eq!(capacity(&[]).await.get(), 2 * pib - 3 * (8 << 30));
}

#[tokio::test]
async fn a_pool_that_is_full_is_said_to_be() {
    let array = ScaleIo::start(ScaleIoSettings { pool_gib: 16, ..ScaleIoSettings::default() }).await;
    let backend = backend(&[&array]);
    backend.create(volume("a")).await.unwrap();
    let error = backend.create(NewVolume { range: SizeRange::at_least(Bytes::gib(16)), ..volume("b") }).await.unwrap_err();
    assert!(error.kind() == Kind::Exhausted, "{error:?}");
    assert_eq!(array.world().volumes.len(), 1);
}

#[tokio::test]
async fn snapshots_and_what_is_made_from_them() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let made = backend.create(volume("a")).await.unwrap();
    let other = backend.create(volume("b")).await.unwrap();
    let name = "a".parse().unwrap();
    let cut = backend.snapshot(&name, &made.id, snapshot()).await.unwrap();
    assert_eq!(backend.snapshot(&name, &made.id, snapshot()).await.unwrap(), cut);
    assert_eq!((&cut.source, cut.size, cut.ready, &cut.group), (&made.id, Bytes::gib(8), true, &None));
    assert_eq!(backend.snapshot(&name, &other.id, snapshot()).await.unwrap_err().kind(), Kind::AlreadyExists);
    let gone = "sio:14dbbf5617523654-ffffffffffffffff".parse().unwrap();
    assert_eq!(backend.snapshot(&"x".parse().unwrap(), &gone, snapshot()).await.unwrap_err().kind(), Kind::NotFound);
    // As a volume it is none, and the other way round.
    let as_volume = format!("sio:{}", cut.id.native()).parse().unwrap();
    assert_eq!(backend.get(&as_volume).await.unwrap_err().kind(), Kind::NotFound);
    backend.delete(&as_volume, &Secrets::default(), soon()).await.unwrap();
    backend.delete_snapshot(&format!("sio:{}", other.id.native()).parse().unwrap(), &Secrets::default(), soon()).await.unwrap();
    assert_eq!(array.world().volumes.len(), 3);

    let from = |name: &str, source: Source, gib: u32| NewVolume {
        source: Some(source),
        range: SizeRange::at_least(Bytes::gib(gib)),
        ..volume(name)
    };
    let restored = backend.create(from("c", Source::Snapshot(cut.id.clone()), 20)).await.unwrap();
    assert_eq!((restored.size, &restored.source), (Bytes::gib(24), &Some(Source::Snapshot(cut.id.clone()))));
    assert_eq!(backend.create(from("c", Source::Snapshot(cut.id.clone()), 20)).await.unwrap(), restored);
    let cloned = backend.create(from("d", Source::Volume(made.id.clone()), 0)).await.unwrap();
    assert_eq!(cloned.size, Bytes::gib(8));
    let mismatch = backend.create(from("d", Source::Snapshot(cut.id.clone()), 0)).await.unwrap_err();
    assert_eq!(mismatch.kind(), Kind::AlreadyExists, "{mismatch:?}");
    let small = NewVolume { range: SizeRange::new(1, 4 << 30).unwrap(), ..from("e", Source::Snapshot(cut.id.clone()), 0) };
    assert_eq!(backend.create(small).await.unwrap_err().kind(), Kind::OutOfRange);

    let refused = backend.delete(&made.id, &Secrets::default(), soon()).await.unwrap_err();
    assert!(refused.kind() == Kind::Precondition && refused.to_string().contains("has snapshots"), "{refused}");
    backend.delete_snapshot(&cut.id, &Secrets::default(), soon()).await.unwrap();
    backend.delete_snapshot(&cut.id, &Secrets::default(), soon()).await.unwrap();
    assert_eq!(backend.get_snapshot(&cut.id).await.unwrap_err().kind(), Kind::NotFound);
    backend.delete(&made.id, &Secrets::default(), soon()).await.unwrap();
    for id in [&restored.id, &cloned.id] {
        assert!(backend.get(id).await.is_ok(), "what was made from it stays");
    }
}

#[tokio::test]
async fn a_clone_that_was_left_too_small_is_finished() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let made = backend.create(volume("a")).await.unwrap();
    let wish = || NewVolume {
        source: Some(Source::Volume(made.id.clone())),
        range: SizeRange::at_least(Bytes::gib(16)),
        deadline: Deadline::after(Duration::from_secs(2)),
        ..volume("b")
    };
    for _ in 0..6 {
        array.trick("setVolumeSize", hawser_tests::scaleio::Trick::LoseRequest);
    }
    assert_eq!(backend.create(wish()).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(array.world().volumes.len(), 2);
    let done = backend.create(NewVolume { deadline: soon(), ..wish() }).await.unwrap();
    assert_eq!((done.size, array.world().volumes.len()), (Bytes::gib(16), 2));
    // Whether the source has grown since changes nothing of what is there, nor of what was left half made.
    for _ in 0..6 {
        array.trick("setVolumeSize", hawser_tests::scaleio::Trick::LoseRequest);
    }
    let exactly = |gib: u32| SizeRange::new(i64::from(gib) << 30, i64::from(gib) << 30).unwrap();
    let late = || NewVolume { name: "c".parse().unwrap(), range: exactly(24), ..wish() };
    assert_eq!(backend.create(late()).await.unwrap_err().kind(), Kind::Unavailable);
    backend.expand(&made.id, exactly(24), &Secrets::default(), soon()).await.unwrap();
    assert_eq!(backend.create(NewVolume { deadline: soon(), ..late() }).await.unwrap().size, Bytes::gib(24));
    let exact = |gib: u32, name: &str| NewVolume { name: name.parse().unwrap(), range: exactly(gib), deadline: soon(), ..wish() };
    assert_eq!(backend.create(exact(16, "b")).await.unwrap(), done);
    assert_eq!(backend.create(exact(8, "b")).await.unwrap_err().kind(), Kind::OutOfRange);
    assert_eq!(backend.create(exact(16, "d")).await.unwrap_err().kind(), Kind::OutOfRange);
}

#[tokio::test]
async fn a_group_is_cut_at_once_and_goes_as_a_whole() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(backend.create(volume(name)).await.unwrap().id);
    }
    let name = "nightly".parse().unwrap();
    let group = backend.group_snapshot(&name, &ids[..2], snapshot()).await.unwrap();
    assert_eq!(backend.group_snapshot(&name, &ids[..2], snapshot()).await.unwrap(), group);
    for others in [&ids[..], &ids[2..], &ids[..1]] {
        let error = backend.group_snapshot(&name, others, snapshot()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error:?}");
    }
    let sources: BTreeSet<_> = group.members.iter().map(|member| member.source.clone()).collect();
    assert_eq!(sources, ids[..2].iter().cloned().collect());
    assert_eq!(backend.get_group_snapshot(&group.id).await.unwrap(), group);
    let member = &group.members[0].id;
    assert_eq!(backend.delete_snapshot(member, &Secrets::default(), soon()).await.unwrap_err().kind(), Kind::Invalid);
    let own: Vec<_> = group.members.iter().map(|member| member.id.clone()).collect();
    let wrong = backend.delete_group_snapshot(&group.id, &own[..1], &Secrets::default(), soon()).await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::Invalid);
    for _ in 0..2 {
        backend.delete_group_snapshot(&group.id, &own, &Secrets::default(), soon()).await.unwrap();
    }
    assert_eq!(array.world().volumes.len(), 3);
}

#[tokio::test]
async fn listings_over_systems_have_each_volume_once() {
    let one = ScaleIo::start(ScaleIoSettings::default()).await;
    let settings =
        ScaleIoSettings { system: "24dbbf5617523655".to_owned(), version: "4.5".to_owned(), ..ScaleIoSettings::default() };
    let two = ScaleIo::start(settings).await;
    // The first system is configured twice.
    let backend = Backend::new("sio".parse().unwrap(), config(&[&one, &two, &one])).unwrap();
    let mut made = BTreeSet::new();
    for number in 0..7 {
        for system in ["14dbbf5617523654", "24dbbf5617523655"] {
            let wish = NewVolume { parameters: pairs(&[("systemID", system)]), ..volume(&format!("v{number}")) };
            made.insert(backend.create(wish).await.unwrap().id);
        }
    }
    assert_eq!(made.len(), 14, "a name is free on each system");
    let first = made.first().unwrap().clone();
    let snap = backend.snapshot(&"s".parse().unwrap(), &first, snapshot()).await.unwrap();
    for max in [1, 3, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = backend.list(after.as_deref(), max).await.unwrap();
            seen.extend(page.items.into_iter().map(|status| status.volume.id));
            // What comes and goes meanwhile moves no other volume from its page.
            let passing = backend.create(volume(&format!("passing-{}-{max}", seen.len()))).await.unwrap();
            backend.delete(&passing.id, &Secrets::default(), soon()).await.unwrap();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), &seen.into_iter().collect::<BTreeSet<_>>()), (14, &made), "{max}");
    }
    assert_eq!(backend.list(Some("nonsense"), 1).await.unwrap_err().kind(), Kind::BadToken);
    let snapshots = backend.list_snapshots(Some(&first), None, 10).await.unwrap().items;
    assert_eq!(snapshots, [snap]);
    two.kill(0);
    assert_eq!(
        backend.list(None, 10).await.unwrap_err().kind(),
        Kind::Unavailable,
        "who could not be asked is not taken for empty"
    );
    assert!(backend.get(&first).await.is_ok(), "and does not keep the other waiting");
}

#[tokio::test]
async fn what_is_wrong_with_the_array_is_said_of_its_volumes() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let (sdc, _) = array.world().sdc(Some("node-a"));
    let id = backend.create(volume("a")).await.unwrap().id;
    backend.attach(attach(&id, "node-a")).await.unwrap();
    let trouble = async || backend.get(&id).await.unwrap().trouble;
    assert_eq!(trouble().await, None);
    array.world().connect(&sdc, false);
    assert!(trouble().await.unwrap().contains("has lost SDC node-a"));
    let pool = array.world().pools.keys().next().unwrap().clone();
    array.world().failed.insert(pool.clone(), (0, 1024));
    assert_eq!(trouble().await.unwrap(), "storage pool pool1: 1MiB have lost one of their two copies");
    array.world().failed.insert(pool, (2048, 1024));
    assert_eq!(backend.list(None, 1).await.unwrap().items[0].trouble.as_deref(), Some("storage pool pool1: 2MiB cannot be read"));
}

#[tokio::test]
async fn clusters_that_share_an_array_do_not_share_names() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let of = |prefix: &str| {
        let config = ScaleIoConfig { name_prefix: prefix.to_owned(), ..config(&[&array]) };
        Backend::new("sio".parse().unwrap(), config).unwrap()
    };
    let (prod, test) = (of("prod-"), of("test-"));
    let ids: BTreeSet<_> = [
        prod.create(volume("db")).await.unwrap().id,
        test.create(volume("db")).await.unwrap().id,
        prod.create(volume("db")).await.unwrap().id,
    ]
    .into();
    assert_eq!(ids.len(), 2);
    let names: Vec<_> = array.world().volumes.values().map(|volume| volume.name.clone().unwrap()).collect();
    assert_eq!(names, ["prod-db", "test-db"]);
}

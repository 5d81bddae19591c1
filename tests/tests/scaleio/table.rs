//! Sizes and names of all kinds, and what was made of them.

use std::collections::BTreeMap;

use hawser_controller::Provisioner;
use hawser_controller::provision::NewVolume;
use hawser_tests::scaleio::{ScaleIo, ScaleIoSettings};
use hawser_volume::{Kind, SizeRange};

use crate::ready::{backend, volume};

const GIB: i64 = 1 << 30;

#[tokio::test]
async fn sizes_from_a_byte_to_64_tib_are_exact_or_refused() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    // What is required, the limit, and what is made of it in GiB, or the sizes that the refusal names.
    let table = [
        (0, 0, Ok(16)),
        (0, 8 * GIB, Ok(8)),
        (1, 0, Ok(8)),
        (1, 1, Err("nearest: 8GiB")),
        (8 * GIB - 1, 8 * GIB - 1, Err("nearest: 8GiB")),
        (8 * GIB, 8 * GIB, Ok(8)),
        (8 * GIB + 1, 0, Ok(16)),
        (8 * GIB + 1, 8 * GIB + 1, Err("nearest: 8GiB or 16GiB")),
        (8 * GIB + 1, 15 * GIB, Err("nearest: 8GiB or 16GiB")),
        (8 * GIB + 1, 16 * GIB, Ok(16)),
        (10 * GIB, 10 * GIB, Err("nearest: 8GiB or 16GiB")),
        (100 * GIB, 104 * GIB, Ok(104)),
        (1000 * GIB, 0, Ok(1000)),
        (1001 * GIB, 1001 * GIB, Err("nearest: 1000GiB or 1008GiB")),
        (65_536 * GIB - 1, 0, Ok(65_536)),
        (65_536 * GIB, 65_536 * GIB, Ok(65_536)),
        ((1 << 20) * GIB + 1, 0, Err("nearest: 1024TiB")),
        (i64::MAX, 0, Err("nearest: 1024TiB")),
    ];
    for (number, (required, limit, expected)) in table.into_iter().enumerate() {
        let wish = NewVolume { range: SizeRange::new(required, limit).unwrap(), ..volume(&format!("v{number}")) };
        let made = backend.create(wish).await;
        println!(
            "required {required:>20}, limit {limit:>20}: {}",
            made.as_ref().map_or_else(|e| e.to_string(), |v| v.size.to_string())
        );
        match (made, expected) {
            (Ok(made), Ok(gib)) => assert_eq!(made.size.get() >> 30, gib, "{required} {limit}"),
            (Err(error), Err(part)) => assert!(error.kind() == Kind::OutOfRange && error.to_string().ends_with(part), "{error}"),
            (made, expected) => panic!("{required} {limit}: {made:?}, and {expected:?} was to be"),
        }
    }
    // The array made nothing of what was refused, and was not asked to.
    assert_eq!(array.world().volumes.len(), 10);
    assert_eq!(array.asked()["createVolume"], 10);
}

#[tokio::test]
async fn names_of_any_script_and_length_make_volumes_of_their_own() {
    let array = ScaleIo::start(ScaleIoSettings::default()).await;
    let backend = backend(&[&array]);
    let (long, longer) = (format!("{}a", "x".repeat(31)), format!("{}b", "x".repeat(31)));
    let names = [
        "a",
        "A",
        "orders-db_1.x",
        "with space",
        "Größe",
        "データベース",
        "База данных",
        "قاعدة",
        "🐘🐘🐘",
        "a/b+c=d",
        "'; drop --",
        &"x".repeat(31),
        &long,
        &longer,
        &"ü".repeat(64),
        "pvc-0b4c3d2e-1f60-4718-9a2b-3c4d5e6f7081",
        "pvc-0b4c3d2e-1f60-4718-9a2b-3c4d5e6f7082",
        "hwp-aaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    let mut ids = BTreeMap::new();
    for name in names {
        let made = backend.create(volume(name)).await.unwrap();
        assert_eq!(backend.create(volume(name)).await.unwrap().id, made.id, "{name}");
        let own = array.world().volumes[made.id.native().split_once('-').unwrap().1].name.clone().unwrap();
        println!("{own:31}  {name}");
        assert!(own.len() <= 31);
        if let Some(back) = hawser_scaleio::name::original(&own) {
            assert_eq!(back, name);
        }
        assert!(ids.insert(made.id, name).is_none(), "{name}");
    }
    assert_eq!((ids.len(), array.world().volumes.len()), (names.len(), names.len()));
}

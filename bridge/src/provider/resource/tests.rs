//! Conversions there and back.

use hawser_proto::mesos::v1::resource::{AllocationInfo, DiskInfo, ReservationInfo};
use hawser_proto::mesos::v1::{Volume, offer, value, volume};
use hawser_volume::Kind;
use proptest::prelude::*;

use super::*;

fn raw(mebibytes: f64, roles: &[&str]) -> Resource {
    let source =
        disk_info::Source { r#type: disk_info::source::Type::Raw.into(), profile: Some("fast".to_owned()), ..Default::default() };
    Resource {
        provider_id: Some(ResourceProviderId { value: "p1".to_owned() }),
        name: "disk".to_owned(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value: mebibytes }),
        reservations: roles.iter().map(|role| ReservationInfo { role: Some((*role).to_owned()), ..Default::default() }).collect(),
        disk: Some(DiskInfo { source: Some(source), ..Default::default() }),
        ..Default::default()
    }
}

fn disk(id: &str, mebibytes: f64) -> Resource {
    let raw = raw(mebibytes, &["storage"]);
    let source = disk_info::Source {
        r#type: disk_info::source::Type::Mount.into(),
        id: Some(id.to_owned()),
        ..source(&raw).unwrap().clone()
    };
    with_source(&raw, source)
}

fn totals(resources: &[Resource]) -> Totals {
    let mut totals = Totals::default();
    resources.iter().for_each(|resource| totals.add(resource));
    totals
}

fn reserve(resources: Vec<Resource>, source: Vec<Resource>) -> Operation {
    let reserve = offer::operation::Reserve { resources, source };
    Operation { r#type: Some(Type::Reserve.into()), reserve: Some(reserve), ..Default::default() }
}

#[test]
fn a_part_of_the_space_is_reserved_and_comes_back() {
    let mut all = totals(&[raw(100.0, &[])]);
    let part = Resource { allocation_info: Some(AllocationInfo { role: Some("a".to_owned()) }), ..raw(30.5, &["a"]) };
    all.apply(&conversions(&reserve(vec![part.clone()], vec![])).unwrap()).unwrap();
    assert_eq!(all, totals(&[raw(69.5, &[]), raw(30.5, &["a"])]));
    // From one role to another, as a framework may ask since Mesos 1.9.
    all.apply(&conversions(&reserve(vec![raw(30.5, &["b"])], vec![part])).unwrap()).unwrap();
    assert_eq!(all, totals(&[raw(69.5, &[]), raw(30.5, &["b"])]));
    let unreserve = offer::operation::Unreserve { resources: vec![raw(30.5, &["b"])] };
    let unreserve = Operation { r#type: Some(Type::Unreserve.into()), unreserve: Some(unreserve), ..Default::default() };
    all.apply(&conversions(&unreserve).unwrap()).unwrap();
    assert_eq!(all, totals(&[raw(100.0, &[])]));
}

#[test]
fn what_is_not_there_is_refused_and_nothing_changes() {
    let before = totals(&[raw(100.0, &[]), disk("local:1", 10.0), disk("local:2", 10.0)]);
    for missing in [raw(100.5, &[]), raw(1.0, &["a"]), raw(0.0, &[]), raw(-1.0, &[]), disk("local:3", 10.0), disk("local:1", 5.0)]
    {
        let mut all = before.clone();
        let step = |consumed: &Resource| Conversion { consumed: consumed.clone(), converted: None };
        // The first is possible.
        let error = all.apply(&[step(&raw(10.0, &[])), step(&missing)]).unwrap_err();
        assert_eq!((error.kind(), &all), (Kind::Precondition, &before), "{missing:?}");
    }
    assert_eq!(before.all().len(), 3, "disks of one size are two");
    let mut one_less = before.clone();
    one_less.subtract(&disk("local:1", 10.0)).unwrap();
    assert_eq!(one_less, totals(&[raw(100.0, &[]), disk("local:2", 10.0)]));
}

#[test]
fn a_persistent_volume_is_made_of_its_disk_and_leaves_it() {
    let mut volume = disk("local:1", 10.0);
    let disk_info = volume.disk.as_mut().unwrap();
    disk_info.persistence = Some(disk_info::Persistence { id: "db".to_owned(), principal: Some("me".to_owned()) });
    disk_info.volume = Some(Volume { mode: volume::Mode::Rw.into(), container_path: "data".to_owned(), ..Default::default() });
    volume.shared = Some(Default::default());
    let mut all = totals(&[disk("local:1", 10.0)]);
    let create = offer::operation::Create { volumes: vec![volume.clone()] };
    let create = Operation { r#type: Some(Type::Create.into()), create: Some(create), ..Default::default() };
    all.apply(&conversions(&create).unwrap()).unwrap();
    assert_eq!(all.all(), [volume.clone()]);
    let destroy = offer::operation::Destroy { volumes: vec![volume] };
    let destroy = Operation { r#type: Some(Type::Destroy.into()), destroy: Some(destroy), ..Default::default() };
    all.apply(&conversions(&destroy).unwrap()).unwrap();
    assert_eq!(all.all(), [disk("local:1", 10.0)]);
}

#[test]
fn operations_that_say_nothing_valid_are_refused() {
    let empty = |kind: Type| Operation { r#type: Some(kind.into()), ..Default::default() };
    for kind in [Type::Reserve, Type::Unreserve, Type::Create, Type::Destroy, Type::CreateDisk, Type::GrowVolume, Type::Unknown] {
        assert_eq!(conversions(&empty(kind)).unwrap_err().kind(), Kind::Invalid, "{kind:?}");
    }
    assert!(conversions(&reserve(vec![raw(1.0, &[])], vec![])).is_err(), "without a reservation");
    assert!(conversions(&reserve(vec![raw(1.0, &["a"])], vec![raw(1.0, &[]), raw(1.0, &[])])).is_err());
}

#[test]
fn space_is_as_much_as_there_is_whoever_has_reserved_some() {
    let space = |mebibytes: f64| value::Scalar { value: mebibytes };
    let mut all = totals(&[raw(100.0, &["storage"]), disk("local:1", 10.0), raw(20.0, &["storage", "storage/a"])]);
    let before = all.clone();
    all.set_space(&raw(0.0, &["storage"]), space(120.0));
    assert_eq!(all, before, "nothing has changed, not even the order");
    all.set_space(&raw(0.0, &["storage"]), space(70.0));
    assert_eq!(all, totals(&[raw(50.0, &["storage"]), disk("local:1", 10.0), raw(20.0, &["storage", "storage/a"])]));
    // Less than what is reserved otherwise: that stays.
    all.set_space(&raw(0.0, &["storage"]), space(5.0));
    assert_eq!(all, totals(&[disk("local:1", 10.0), raw(20.0, &["storage", "storage/a"])]));
    all.set_space(&raw(0.0, &["storage"]), space(120.0));
    assert_eq!(all.all().len(), 3);
    all.retain_space(|_| false);
    assert_eq!(all, totals(&[disk("local:1", 10.0)]));
}

#[test]
fn sizes_are_whole_mebibytes() {
    assert_eq!(size(&raw(3.0, &[])).unwrap().get(), 3 << 20);
    for wrong in [0.0, -1.0, 0.5, f64::NAN, f64::INFINITY] {
        assert!(size(&raw(wrong, &[])).is_err(), "{wrong}");
    }
    assert_eq!(mebibytes(Bytes::new((5 << 20) + 1)).value, 5.0);
}

proptest! {
    /// Whatever is taken out part by part and put back is as it was.
    #[test]
    fn nothing_is_lost_or_made_by_taking_apart(whole in 1u32..1_000_000, parts in prop::collection::vec(1u32..50_000, 0..20)) {
        let thousandths = |amount: u32| f64::from(amount) / 1000.0;
        let before = totals(&[raw(thousandths(whole), &[])]);
        let mut all = before.clone();
        let mut taken = Vec::new();
        for part in parts {
            let (from, to) = (raw(thousandths(part), &[]), raw(thousandths(part), &["a"]));
            if all.apply(&[Conversion { consumed: from.clone(), converted: Some(to.clone()) }]).is_ok() {
                taken.push(Conversion { consumed: to, converted: Some(from) });
            }
        }
        let sum: i64 = all.all().iter().map(amount).sum();
        prop_assert_eq!(sum, i64::from(whole));
        all.apply(&taken).unwrap();
        prop_assert_eq!(all, before);
    }
}

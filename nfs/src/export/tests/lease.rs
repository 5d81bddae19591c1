//! Signs of life.

use super::*;

#[test]
fn a_holder_that_lives_keeps_its_volume() {
    let place = Place::new();
    let export = place.controller();
    let [holder, other]: [NodeId; 2] = ["node-a", "node-b"].map(|name| name.parse().unwrap());
    for node in [&holder, &other] {
        export.register_node(node, Duration::from_secs(60));
    }
    let volume = export.create_volume(&new("v"), soon()).unwrap();
    let access = single(AccessMode::SingleNodeWriter);
    let epoch = export.attach(&volume.id, &holder, &access, false, soon()).unwrap().epoch;
    let ages = || export.leases(&volume.id).unwrap().into_iter().map(|lease| lease.age).collect::<Vec<_>>();
    assert_eq!(ages(), [None], "nothing is staged yet");
    export.take(&volume.id, &holder, soon()).unwrap();
    // As if on another machine.
    let taken = |boot: &str| {
        let (id, boot) = (volume.id.clone(), boot.to_owned());
        let set = move |tree: &Tree| {
            tree.change(&id, |mut record: VolumeRecord| {
                record.attachments[0].taken = Some(boot.clone());
                Ok(crate::versions::Change::Write(record, ()))
            })
        };
        export.work(soon(), set).unwrap();
    };
    taken("another machine");
    let refused = export.detach(&volume.id, Some(&holder), soon()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Precondition);
    assert!(refused.to_string().contains("node-a") && refused.to_string().contains("lives"), "{refused}");
    let refused = export.attach(&volume.id, &other, &access, false, soon()).unwrap_err();
    assert!(refused.to_string().contains("node-a renewed its lease"), "{refused}");
    // It falls silent, and then the caller's word is taken.
    let digest = NativeId::parse(&volume.id).unwrap().digest;
    let file = place.path(".hawser/volumes").join(digest).join(format!("lease-{epoch}"));
    let age = |age: Duration| {
        let file = std::fs::File::options().write(true).open(&file).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    };
    age(crate::lease::LEASE - Duration::from_secs(20));
    assert!(export.detach(&volume.id, Some(&holder), soon()).is_err());
    assert!(export.renew(&volume.id, epoch).unwrap());
    assert!(ages()[0].unwrap() < Duration::from_secs(15));
    age(crate::lease::LEASE + Duration::from_secs(1));
    export.detach(&volume.id, Some(&holder), soon()).unwrap();
    // It was alive after all, and learns of it.
    assert!(!export.renew(&volume.id, epoch).unwrap());
    let epoch = export.attach(&volume.id, &other, &access, false, soon()).unwrap().epoch;
    export.take(&volume.id, &other, soon()).unwrap();
    assert!(export.renew(&volume.id, epoch).unwrap());
    export.give_back(&volume.id, &other, soon()).unwrap();
    assert_eq!(ages(), [None], "what is given back is not held");
    taken("another machine");
    export.detach(&volume.id, Some(&other), soon()).unwrap();
}

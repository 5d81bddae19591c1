//! The tree below an export, in a directory: the crate's own account of names, records and kills. What NFS adds is tried with a real
//! server in the suites.

mod given;
mod lease;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::thread;

use hawser_host::Linux;
use hawser_host::step::Step;
use hawser_volume::{
    Access, AccessKind, AccessMode, Attachment, Kind, MountAccess, NativeId, NodeId, ObjectName, Origin, SizeRange,
};

use super::*;
use crate::config::OnDelete;
use crate::record::{Owner, SnapshotRecord, VolumeRecord};
use crate::volume::NewVolume;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// A controller of its own, as if in another process.
    fn controller(&self) -> Arc<Export> {
        let config =
            NfsConfig { server: "server".into(), path: "/export".into(), answer_within_seconds: 60, ..NfsConfig::default() };
        Export::over("nfs".parse().unwrap(), config, Arc::new(Linux), Connection::directory(self.directory.path()))
    }

    fn own(&self, folder: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.path(".hawser").join(folder)).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn new(name: &str) -> NewVolume {
    NewVolume {
        name: name.parse().unwrap(),
        range: SizeRange::default(),
        path: None,
        origin: None,
        on_delete: OnDelete::Delete,
        owner: Owner { uid: Some(1000), gid: None, mode: Some(0o2770) },
        context: BTreeMap::new(),
    }
}

fn at(name: &str, path: &str) -> NewVolume {
    NewVolume { path: Some(path.into()), ..new(name) }
}

fn single(mode: AccessMode) -> Access {
    Access { kind: AccessKind::Mount(MountAccess::default()), mode }
}

fn content(place: &Place, record: &VolumeRecord) -> PathBuf {
    place.directory.path().join(crate::tree::content(record).unwrap())
}

fn sweep(export: &Arc<Export>) {
    export.work(soon(), |tree| tree.sweep()).unwrap();
}

#[test]
fn a_volume_is_made_once_and_goes_once() {
    let place = Place::new();
    let (one, two) = (place.controller(), place.controller());
    let first = one.create_volume(&new("v"), soon()).unwrap();
    assert_eq!(two.create_volume(&new("v"), soon()).unwrap(), first);
    let metadata = content(&place, &first).metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (1000, 0o2770));
    let other = NewVolume { on_delete: OnDelete::Retain, ..new("v") };
    assert_eq!(two.create_volume(&other, soon()).unwrap_err().kind(), Kind::AlreadyExists);
    std::fs::write(content(&place, &first).join("data"), "x").unwrap();
    two.delete_volume(&first.id, soon()).unwrap();
    one.delete_volume(&first.id, soon()).unwrap();
    assert_eq!(one.volume(&first.id).unwrap_err().kind(), Kind::NotFound);
    let again = one.create_volume(&new("v"), soon()).unwrap();
    assert_ne!(again.id, first.id);
    // A late call for the old one finds nothing.
    two.delete_volume(&first.id, soon()).unwrap();
    one.volume(&again.id).unwrap();
    sweep(&one);
    assert_eq!(place.own("trash"), Vec::<String>::new());
    assert!(content(&place, &again).exists());
}

#[test]
fn two_controllers_at_once_make_one_volume_and_one_attachment() {
    let place = Place::new();
    let controllers = [place.controller(), place.controller()];
    let nodes: Vec<NodeId> = (0..6).map(|n| format!("node-{n}").parse().unwrap()).collect();
    for node in &nodes {
        controllers[0].register_node(node, Duration::from_secs(60));
    }
    for round in 0..10 {
        let name = format!("v{round}");
        let ids: Vec<String> = thread::scope(|scope| {
            let create = |n: usize| controllers[n % 2].create_volume(&at(&name, &format!("teams/{name}")), soon()).unwrap().id;
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || create(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let access = single(AccessMode::SingleNodeWriter);
        let granted: Vec<Result<Attachment>> = thread::scope(|scope| {
            let attach = |n: usize| controllers[n % 2].attach(&ids[0], &nodes[n], &access, false, soon());
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || attach(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<&Attachment> = granted.iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{granted:?}");
        for error in granted.iter().filter_map(|granted| granted.as_ref().err()) {
            assert_eq!(error.kind(), Kind::Precondition);
            assert!(error.to_string().contains(winners[0].node.as_str()), "{error}");
        }
        for (node, granted) in nodes.iter().zip(&granted) {
            let taken = controllers[1].take(&ids[0], node, soon());
            assert_eq!(taken.is_ok(), granted.is_ok(), "{taken:?}");
        }
        assert_eq!(controllers[0].delete_volume(&ids[0], soon()).unwrap_err().kind(), Kind::Precondition);
        controllers[1].detach(&ids[0], None, soon()).unwrap();
        let left: Vec<Result<()>> = thread::scope(|scope| {
            let delete = |n: usize| controllers[n % 2].delete_volume(&ids[0], soon());
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || delete(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(left.iter().all(Result::is_ok), "{left:?}");
        assert!(!place.path("teams").join(&name).exists());
    }
    sweep(&controllers[0]);
    for folder in ["volumes", "trash", "new"] {
        assert_eq!(place.own(folder), Vec::<String>::new(), "{folder}");
    }
}

#[test]
fn create_and_delete_race_and_nothing_is_lost() {
    let place = Place::new();
    let controllers = [place.controller(), place.controller()];
    thread::scope(|scope| {
        for controller in &controllers {
            scope.spawn(move || {
                for _ in 0..40 {
                    match controller.create_volume(&at("v", "shared/place"), soon()) {
                        Ok(volume) => controller.delete_volume(&volume.id, soon()).unwrap(),
                        // The other one deletes it at this moment.
                        Err(error) => {
                            assert!(matches!(error.kind(), Kind::NotFound | Kind::Unavailable | Kind::AlreadyExists), "{error:?}")
                        }
                    }
                }
            });
        }
    });
    let last = controllers[0].create_volume(&at("v", "shared/place"), soon()).unwrap();
    std::fs::write(place.path("shared/place/data"), "x").unwrap();
    sweep(&controllers[1]);
    assert_eq!(std::fs::read_to_string(place.path("shared/place/data")).unwrap(), "x");
    controllers[0].delete_volume(&last.id, soon()).unwrap();
    sweep(&controllers[0]);
    assert_eq!(place.own("trash"), Vec::<String>::new());
}

#[test]
fn what_is_removed_while_it_is_filled_leaves_its_place() {
    // The second draft is that of a claim.
    for (step, passes) in [(Step::DraftMade, 1), (Step::PathClaimed, 0), (Step::ContentMoved, 0), (Step::VolumeFilled, 0)] {
        let place = Place::new();
        let (filling, other) = (place.controller(), place.controller());
        let wanted = at("v", "teams/v");
        let (removing, digest) = (Arc::clone(&other), wanted.name.digest());
        let remove = move || {
            let find = move |tree: &Tree| Ok(tree.of_digest::<VolumeRecord>(&digest)?.unwrap().id);
            let id = removing.work(soon(), find).unwrap();
            removing.delete_volume(&id, soon()).unwrap();
        };
        *filling.kill.1.lock().unwrap() = Some((step, passes, Box::new(remove)));
        let error = filling.create_volume(&wanted, soon()).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{}: {error:?}", step.name());
        assert!(!place.path("teams/v").exists(), "{}", step.name());
        let again = other.create_volume(&wanted, soon()).unwrap_or_else(|error| panic!("{}: {error:?}", step.name()));
        assert!(content(&place, &again).exists(), "{}", step.name());
        sweep(&filling);
        assert_eq!((place.own("trash"), place.own("volumes").len()), (Vec::new(), 1), "{}", step.name());
    }
}

#[test]
fn a_place_is_one_volumes_alone() {
    let place = Place::new();
    let export = place.controller();
    let outer = export.create_volume(&at("a", "x/y"), soon()).unwrap();
    for path in ["x", "x/y", "x/y/z", "x/y/z/deeper"] {
        let error = export.create_volume(&at("b", path), soon()).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{path}: {error:?}");
    }
    export.create_volume(&at("b", "x/z"), soon()).unwrap();
    std::fs::create_dir(place.path("foreign")).unwrap();
    std::fs::write(place.path("foreign/data"), "x").unwrap();
    let error = export.create_volume(&at("c", "foreign"), soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error:?}");
    assert!(place.path("foreign/data").exists());
    assert_eq!(export.volumes(None, 100).unwrap().items.len(), 2);
    export.delete_volume(&outer.id, soon()).unwrap();
    export.create_volume(&at("d", "x/y"), soon()).unwrap();
    // A link in the way is not followed.
    std::fs::create_dir(place.path("outside")).unwrap();
    symlink("outside", place.path("link")).unwrap();
    assert!(export.create_volume(&at("e", "link/x"), soon()).is_err());
    assert_eq!(std::fs::read_dir(place.path("outside")).unwrap().count(), 0);
}

#[test]
fn what_is_to_be_kept_is_kept() {
    let place = Place::new();
    let export = place.controller();
    for (policy, path, kept) in [
        (OnDelete::Retain, None, "retained"),
        (OnDelete::Archive, None, "archived"),
        (OnDelete::Archive, Some("teams/a"), "archived"),
        (OnDelete::Retain, Some("teams/b"), "teams/b"),
    ] {
        let wanted = NewVolume { path: path.map(PathBuf::from), on_delete: policy, ..new("v") };
        let volume = export.create_volume(&wanted, soon()).unwrap();
        std::fs::write(content(&place, &volume).join("data"), kept).unwrap();
        export.delete_volume(&volume.id, soon()).unwrap();
        sweep(&export);
        let incarnation = volume.id.split_once('-').unwrap().1;
        let at = if kept == "teams/b" { place.path(kept) } else { place.path(kept).join(format!("v-{incarnation}")) };
        assert_eq!(std::fs::read_to_string(at.join("data")).unwrap(), kept);
    }
    assert_eq!(place.own("volumes"), Vec::<String>::new());
}

#[test]
fn a_directory_that_somebody_put_in_place_of_a_volume_is_left() {
    let place = Place::new();
    let export = place.controller();
    let volume = export.create_volume(&at("v", "teams/v"), soon()).unwrap();
    std::fs::rename(place.path("teams/v"), place.path("teams/moved")).unwrap();
    std::fs::create_dir(place.path("teams/v")).unwrap();
    std::fs::write(place.path("teams/v/theirs"), "x").unwrap();
    export.delete_volume(&volume.id, soon()).unwrap();
    sweep(&export);
    assert!(place.path("teams/v/theirs").exists() && place.path("teams/moved").exists());
}

#[test]
fn a_kill_at_any_step_is_finished_by_the_same_call_and_by_its_opposite() {
    let node: NodeId = "node-a".parse().unwrap();
    let access = single(AccessMode::SingleNodeWriter);
    let mut reached = 0;
    for step in Step::ALL {
        for opposite in [false, true] {
            let place = Place::new();
            let healthy = place.controller();
            healthy.register_node(&node, Duration::from_secs(60));
            let origin = healthy.create_volume(&new("origin"), soon()).unwrap();
            std::fs::write(content(&place, &origin).join("data"), "content").unwrap();
            let mined = place.controller();
            *mined.kill.0.lock().unwrap() = Some(*step);
            let wanted = NewVolume { origin: Some(Origin::Volume(origin.id.clone())), ..at("v", "teams/v") };
            let snapshot: ObjectName = "s".parse().unwrap();
            let life = |export: &Arc<Export>| -> Result<()> {
                let volume = export.create_volume(&wanted, soon())?;
                export.attach(&volume.id, &node, &access, false, soon())?;
                export.take(&volume.id, &node, soon())?;
                export.give_back(&volume.id, &node, soon())?;
                export.detach(&volume.id, Some(&node), soon())?;
                let cut = export.create_snapshot(&snapshot, &volume.id, soon())?;
                assert!(cut.is_ready());
                let data = place.path(".hawser/snapshots").join(snapshot.digest());
                let data = data.join(layout::data(&NativeId::parse(&cut.id).unwrap())).join("data");
                assert_eq!(std::fs::read_to_string(data).unwrap(), "content");
                assert_eq!(std::fs::read_to_string(place.path("teams/v/data")).unwrap(), "content");
                export.delete_snapshot(&cut.id, soon())?;
                export.delete_volume(&volume.id, soon())
            };
            let killed = life(&mined);
            if killed.is_ok() {
                continue;
            }
            reached += 1;
            let error = killed.unwrap_err();
            assert!(error.to_string().contains("killed at"), "{}: {error:?}", step.name());
            // What the killed process had begun to fill nobody else fills for a while; the same process was started again.
            let after = place.controller();
            for shelf in ["volumes", "snapshots"] {
                for digest in place.own(shelf) {
                    let beat = place.path(".hawser").join(shelf).join(digest).join(layout::BEAT);
                    if let Ok(file) = std::fs::File::options().write(true).open(beat) {
                        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
                    }
                }
            }
            if opposite {
                for shelf in [snapshot.digest()] {
                    if let Some(id) = healthy
                        .work(soon(), move |tree| Ok(tree.of_digest::<SnapshotRecord>(&shelf)?.map(|found| found.id)))
                        .unwrap()
                    {
                        after.delete_snapshot(&id, soon()).unwrap();
                    }
                }
                let digest = wanted.name.digest();
                if let Some(id) =
                    healthy.work(soon(), move |tree| Ok(tree.of_digest::<VolumeRecord>(&digest)?.map(|found| found.id))).unwrap()
                {
                    after.detach(&id, None, soon()).unwrap();
                    after.delete_volume(&id, soon()).unwrap();
                }
            } else {
                life(&after).unwrap_or_else(|error| panic!("after a kill at {}: {error:?}", step.name()));
            }
            sweep(&after);
            assert!(!place.path("teams/v").exists(), "{}", step.name());
            assert_eq!(place.own("volumes").len(), 1, "{}", step.name());
            for folder in ["snapshots", "trash"] {
                assert_eq!(place.own(folder), Vec::<String>::new(), "{}: {folder}", step.name());
            }
            assert_eq!(std::fs::read_to_string(content(&place, &origin).join("data")).unwrap(), "content");
        }
    }
    assert!(reached >= 20, "only {reached} kills happened");
}

#[test]
fn a_snapshot_whose_volume_goes_meanwhile_is_never_ready() {
    let place = Place::new();
    let export = place.controller();
    let volume = export.create_volume(&new("v"), soon()).unwrap();
    std::fs::write(content(&place, &volume).join("data"), "x").unwrap();
    let name: ObjectName = "s".parse().unwrap();
    let (wanted, id) = (name.clone(), volume.id.clone());
    let record = export.work(soon(), move |tree| tree.create_snapshot(&wanted, &id)).unwrap();
    export.delete_volume(&volume.id, soon()).unwrap();
    let error = export.create_snapshot(&name, &volume.id, soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal, "{error:?}");
    assert!(!export.snapshot(&record.id).unwrap().is_ready());
    export.delete_snapshot(&record.id, soon()).unwrap();
    sweep(&export);
    assert_eq!(place.own("snapshots"), Vec::<String>::new());
}

#[test]
fn what_does_not_say_that_it_is_to_go_stays_in_the_trash() {
    let place = Place::new();
    let export = place.controller();
    let volume = export.create_volume(&new("v"), soon()).unwrap();
    let digest = new("v").name.digest();
    std::fs::rename(place.path(".hawser/volumes").join(digest), place.path(".hawser/trash").join(&volume.id)).unwrap();
    sweep(&export);
    assert_eq!(place.own("trash"), [volume.id]);
}

#[test]
fn a_volume_of_a_snapshot_has_its_content_and_listings_are_complete() {
    let place = Place::new();
    let export = place.controller();
    let volume = export.create_volume(&new("v"), soon()).unwrap();
    symlink("/etc", content(&place, &volume).join("out")).unwrap();
    std::fs::write(content(&place, &volume).join("data"), "old").unwrap();
    let cut = export.create_snapshot(&"s".parse().unwrap(), &volume.id, soon()).unwrap();
    assert!(cut.is_ready() && cut.still);
    std::fs::write(content(&place, &volume).join("data"), "new").unwrap();
    let wanted = NewVolume { origin: Some(Origin::Snapshot(cut.id.clone())), ..new("restored") };
    let restored = export.create_volume(&wanted, soon()).unwrap();
    assert_eq!(std::fs::read_to_string(content(&place, &restored).join("data")).unwrap(), "old");
    assert_eq!(std::fs::read_link(content(&place, &restored).join("out")).unwrap(), Path::new("/etc"));
    for n in 0..5 {
        export.create_volume(&new(&format!("more-{n}")), soon()).unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = export.volumes(after.as_deref(), 2).unwrap();
        seen.extend(page.items.into_iter().map(|record| record.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
    assert_eq!(export.snapshots(Some(&volume.id), None, 10).unwrap().items.len(), 1);
    assert_eq!(export.snapshots(Some(&restored.id), None, 10).unwrap().items.len(), 0);
}

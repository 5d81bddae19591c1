//! Static volumes.

use super::*;
use crate::record::State;

#[test]
fn a_directory_that_was_there_is_a_volume_and_stays() {
    let place = Place::new();
    let export = place.controller();
    let node: NodeId = "node-a".parse().unwrap();
    export.register_node(&node, Duration::from_secs(60));
    std::fs::create_dir_all(place.path("teams/web")).unwrap();
    std::fs::write(place.path("teams/web/letter"), "hello").unwrap();
    let path = Path::new("teams/web");
    let adopt = |id: &str, path: Option<&Path>| export.adopt(id, path, soon());
    assert_eq!(adopt("web", None).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(adopt("web", Some(Path::new("teams/nobody"))).unwrap_err().kind(), Kind::NotFound);
    let volume = adopt("web", Some(path)).unwrap();
    assert_eq!((volume.id.as_str(), volume.path.as_deref(), volume.state), ("web", Some(path), State::Ready));
    assert_eq!(adopt("web", None).unwrap(), volume);
    assert_eq!(adopt("web", Some(Path::new("teams"))).unwrap_err().kind(), Kind::Precondition);
    // One directory is one volume: two ids would be two writers. What was refused leaves nothing.
    for (id, path) in [("web2", "teams/web"), ("all", "teams")] {
        let error = adopt(id, Some(Path::new(path))).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
    assert_eq!(export.create_volume(&at("v", "teams/web/inner"), soon()).unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(export.volumes(None, 10).unwrap().items.len(), 1);
    let access = single(AccessMode::SingleNodeWriter);
    export.attach("web", &node, &access, false, soon()).unwrap();
    let claim = export.take("web", &node, soon()).unwrap();
    assert_eq!(claim.path, path);
    let cut = export.create_snapshot(&"s".parse().unwrap(), "web", soon()).unwrap();
    let restored = NewVolume { origin: Some(Origin::Snapshot(cut.id)), ..new("restored") };
    let restored = export.create_volume(&restored, soon()).unwrap();
    assert_eq!(std::fs::read_to_string(content(&place, &restored).join("letter")).unwrap(), "hello");
    assert_eq!(export.delete_volume("web", soon()).unwrap_err().kind(), Kind::Precondition);
    export.give_back("web", &node, soon()).unwrap();
    export.detach("web", None, soon()).unwrap();
    export.delete_volume("web", soon()).unwrap();
    export.delete_volume("web", soon()).unwrap();
    sweep(&export);
    assert_eq!(place.own("trash"), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(place.path("teams/web/letter")).unwrap(), "hello");
    // Forgotten, it can be declared under another id, and under its own.
    adopt("web2", Some(path)).unwrap();
    export.delete_volume("web2", soon()).unwrap();
    adopt("web", Some(path)).unwrap();
}

#[test]
fn a_kill_while_a_directory_is_adopted_or_forgotten_is_finished() {
    let path = Path::new("teams/web");
    let mut reached = 0;
    for step in Step::ALL {
        for opposite in [false, true] {
            let place = Place::new();
            std::fs::create_dir_all(place.path("teams/web")).unwrap();
            let mined = place.controller();
            *mined.kill.0.lock().unwrap() = Some(*step);
            let life = |export: &Arc<Export>| {
                export.adopt("web", Some(path), soon())?;
                export.delete_volume("web", soon())
            };
            if life(&mined).is_ok() {
                continue;
            }
            reached += 1;
            let after = place.controller();
            for digest in place.own("volumes") {
                let beat = place.path(".hawser/volumes").join(digest).join(layout::BEAT);
                if let Ok(file) = std::fs::File::options().write(true).open(beat) {
                    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
                }
            }
            if opposite {
                after.delete_volume("web", soon()).unwrap();
            } else {
                life(&after).unwrap_or_else(|error| panic!("after a kill at {}: {error:?}", step.name()));
            }
            sweep(&after);
            for folder in ["volumes", "trash"] {
                assert_eq!(place.own(folder), Vec::<String>::new(), "{}: {folder}", step.name());
            }
            // The directory is there, and free for another id.
            after.adopt("other", Some(path), soon()).unwrap_or_else(|error| panic!("{}: {error:?}", step.name()));
        }
    }
    assert!(reached >= 10, "only {reached} kills happened");
}

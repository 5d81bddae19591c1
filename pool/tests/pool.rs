//! The pool on a real filesystem: what two processes, or one that is killed, can do to each other.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says by its failure what it expected")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hawser_host::{Host, Linux, copy};
use hawser_pool::{Kind, LocalConfig, NewVolume, Pool, Provisioning, VolumeRecord};
use hawser_volume::{Access, AccessKind, AccessMode, Bytes, Deadline, Kind as Outcome, MountAccess, NodeId, Origin, SizeRange};
use tempfile::TempDir;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn open(root: &Path) -> Arc<Pool> {
    let config = LocalConfig { root: root.to_owned(), overcommit: 1000.0, ..LocalConfig::default() };
    open_with(config)
}

fn open_with(config: LocalConfig) -> Arc<Pool> {
    Arc::new(Pool::open("local".parse().unwrap(), config, Arc::new(Linux)).unwrap())
}

fn new(name: &str, size: Bytes) -> NewVolume {
    NewVolume {
        name: name.parse().unwrap(),
        range: SizeRange::at_least(size),
        min: Bytes::ZERO,
        provisioning: Provisioning::Thin,
        origin: None,
        context: Default::default(),
    }
}

fn create(pool: &Pool, name: &str) -> VolumeRecord {
    pool.create_volume(&new(name, Bytes::mib(8)), soon()).unwrap()
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn access(mode: AccessMode) -> Access {
    Access { kind: AccessKind::Mount(MountAccess::default()), mode }
}

/// Writes `mebibytes` of data that is not zero into a volume's image.
fn fill(root: &Path, volume: &VolumeRecord, mebibytes: u64) {
    let image = root.join("volumes").join(&volume.id[..32]).join("image");
    let file = OpenOptions::new().write(true).open(image).unwrap();
    for at in 0..mebibytes {
        file.write_all_at(&[u8::try_from(at % 251).unwrap() + 1; 1 << 20], at << 20).unwrap();
    }
}

fn content(root: &Path, shelf: &str, id: &str) -> Vec<u8> {
    fs::read(root.join(shelf).join(&id[..32]).join("image")).unwrap()
}

fn count(root: &Path, folder: &str) -> usize {
    fs::read_dir(root.join(folder)).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "lock").count()
}

#[test]
fn two_processes_make_one_volume_of_one_name() {
    let root = TempDir::new().unwrap();
    let pools = [open(root.path()), open(root.path())];
    let start = Barrier::new(16);
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let (pools, start) = (&pools, &start);
                scope.spawn(move || {
                    start.wait();
                    create(&pools[n % 2], "same").id
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!((count(root.path(), "volumes"), count(root.path(), "new"), count(root.path(), "trash")), (1, 0, 0));
}

#[test]
fn an_old_id_never_reaches_a_new_volume_of_its_name() {
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    let old = create(&pool, "v");
    pool.delete_volume(&old.id, soon()).unwrap();
    let new = create(&pool, "v");
    assert_ne!(old.id, new.id);
    assert_eq!(pool.volume(&old.id).unwrap_err().kind(), Outcome::NotFound);
    pool.delete_volume(&old.id, soon()).unwrap();
    assert_eq!(pool.volume(&new.id).unwrap().id, new.id);
}

#[test]
fn a_single_writer_is_attached_to_one_node() {
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    let (a, b) = (node("node-a"), node("node-b"));
    pool.register_node(&a).unwrap();
    pool.register_node(&b).unwrap();
    let volume = create(&pool, "v");
    let writer = access(AccessMode::SingleNodeWriter);
    let first = pool.attach(&volume.id, &a, &writer, false, soon()).unwrap();
    assert_eq!(pool.attach(&volume.id, &a, &writer, false, soon()).unwrap(), first);
    assert_eq!(pool.attach(&volume.id, &a, &writer, true, soon()).unwrap_err().kind(), Outcome::AlreadyExists);
    let error = pool.attach(&volume.id, &b, &writer, false, soon()).unwrap_err();
    assert_eq!(error.kind(), Outcome::Precondition);
    assert!(error.to_string().contains("node-a"), "{error}");
    assert_eq!(pool.attach(&volume.id, &node("ghost"), &writer, false, soon()).unwrap_err().kind(), Outcome::NotFound);
    assert_eq!(pool.take(&volume.id, &b, soon(), |_| Ok(())).unwrap_err().kind(), Outcome::Precondition);
    assert_eq!(pool.delete_volume(&volume.id, soon()).unwrap_err().kind(), Outcome::Precondition);
    pool.detach(&volume.id, None, soon()).unwrap();
    pool.detach(&volume.id, Some(&b), soon()).unwrap();
    assert!(pool.attach(&volume.id, &b, &writer, false, soon()).unwrap().epoch > first.epoch);
}

#[test]
fn a_copy_in_the_background_is_complete_before_it_is_ready() {
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    let volume = pool.create_volume(&new("v", Bytes::mib(256)), soon()).unwrap();
    fill(root.path(), &volume, 96);
    let name = "s".parse().unwrap();
    let begun = pool.create_snapshot(&name, &volume.id, soon()).unwrap();
    let waited = Instant::now();
    let ready = loop {
        let snapshot = pool.create_snapshot(&name, &volume.id, soon()).unwrap();
        assert_eq!((&snapshot.id, snapshot.created()), (&begun.id, begun.created()));
        if snapshot.is_ready() {
            break snapshot;
        }
        assert!(waited.elapsed() < Duration::from_secs(60));
        match from_snapshot(&pool, "early", &snapshot.id) {
            Err(error) => assert_eq!(error.kind(), Outcome::Unavailable),
            // It was complete by then.
            Ok(early) => assert!(content(root.path(), "volumes", &early.id) == content(root.path(), "volumes", &volume.id)),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(content(root.path(), "snapshots", &ready.id) == content(root.path(), "volumes", &volume.id));
    let restored = from_snapshot(&pool, "restored", &ready.id).unwrap();
    assert!(content(root.path(), "volumes", &restored.id) == content(root.path(), "volumes", &volume.id));
}

fn from_snapshot(pool: &Pool, name: &str, snapshot: &str) -> hawser_volume::Result<VolumeRecord> {
    let wanted =
        NewVolume { range: SizeRange::default(), origin: Some(Origin::Snapshot(snapshot.to_owned())), ..new(name, Bytes::ZERO) };
    pool.create_volume(&wanted, soon())
}

/// What a process that was killed while it copied leaves: a record that says `copying`, and nobody who holds its lock.
fn interrupt(root: &Path, id: &str) {
    let folder = root.join("snapshots").join(&id[..32]);
    let record = fs::read_to_string(folder.join("record.json")).unwrap();
    fs::write(folder.join("record.json"), record.replace("\"ready\"", "\"copying\"")).unwrap();
    let image = OpenOptions::new().write(true).open(folder.join("image")).unwrap();
    let length = image.metadata().unwrap().len();
    image.set_len(0).unwrap();
    image.set_len(length).unwrap();
}

#[test]
fn an_interrupted_copy_is_resumed_while_its_volume_is_untouched_and_lost_otherwise() {
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    pool.register_node(&node("node-a")).unwrap();
    let volume = create(&pool, "v");
    fill(root.path(), &volume, 2);
    let name = "s".parse().unwrap();
    let snapshot = pool.create_snapshot(&name, &volume.id, soon()).unwrap();
    interrupt(root.path(), &snapshot.id);
    let waited = Instant::now();
    while !pool.create_snapshot(&name, &volume.id, soon()).unwrap().is_ready() {
        assert!(waited.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(content(root.path(), "snapshots", &snapshot.id) == content(root.path(), "volumes", &volume.id));

    interrupt(root.path(), &snapshot.id);
    pool.attach(&volume.id, &node("node-a"), &access(AccessMode::SingleNodeWriter), false, soon()).unwrap();
    let error = pool.create_snapshot(&name, &volume.id, soon()).unwrap_err();
    assert!(error.to_string().contains("take a new one"), "{error}");
    assert!(!pool.snapshot(&snapshot.id).unwrap().is_ready());
    pool.delete_snapshot(&snapshot.id, soon()).unwrap();
}

#[test]
fn what_a_killed_process_leaves_is_swept_and_nothing_else() {
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    let volume = create(&pool, "v");
    let unfinished = root.path().join("new").join("0123");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("image"), "half").unwrap();
    let removed = root.path().join("trash").join("gone");
    fs::create_dir(&removed).unwrap();
    fs::write(removed.join("image"), "old").unwrap();
    pool.sweep().unwrap();
    assert!(!unfinished.exists() && !removed.exists());
    assert_eq!(pool.volume(&volume.id).unwrap().id, volume.id);
}

#[test]
fn a_directory_with_other_things_in_it_is_not_taken_over() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("thesis.tex"), "years of work").unwrap();
    let config = LocalConfig { root: root.path().to_owned(), ..LocalConfig::default() };
    let error = Pool::open("local".parse().unwrap(), config, Arc::new(Linux)).unwrap_err();
    assert!(error.to_string().contains("thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "lock").count(), 1);
}

#[test]
fn no_more_is_promised_than_there_is() {
    let root = TempDir::new().unwrap();
    let pool = open_with(LocalConfig { root: root.path().to_owned(), capacity: Some(Bytes::mib(64)), ..LocalConfig::default() });
    assert_eq!(pool.capacity().unwrap().available, Bytes::mib(64));
    let first = pool.create_volume(&new("a", Bytes::mib(40)), soon()).unwrap();
    assert_eq!(pool.capacity().unwrap().available, Bytes::mib(24));
    let error = pool.create_volume(&new("b", Bytes::mib(40)), soon()).unwrap_err();
    assert_eq!(error.kind(), Outcome::Exhausted);
    assert_eq!(
        pool.expand_volume(&first.id, SizeRange::at_least(Bytes::mib(80)), soon()).unwrap_err().kind(),
        Outcome::Exhausted
    );
    pool.delete_volume(&first.id, soon()).unwrap();
    pool.create_volume(&new("b", Bytes::mib(40)), soon()).unwrap();
    assert_eq!((count(root.path(), "volumes"), count(root.path(), "new")), (1, 0));
}

#[test]
fn a_record_of_a_newer_version_is_left_alone() {
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    let volume = create(&pool, "v");
    let record = root.path().join("volumes").join(&volume.id[..32]).join("record.json");
    let text = fs::read_to_string(&record).unwrap().replacen('{', "{\n  \"compression\": \"zstd\",", 1);
    fs::write(&record, &text).unwrap();
    assert_eq!(pool.volume(&volume.id).unwrap_err().kind(), Outcome::Internal);
    assert_eq!(pool.delete_volume(&volume.id, soon()).unwrap_err().kind(), Outcome::Internal);
    assert_eq!(fs::read_to_string(&record).unwrap(), text);
    assert_eq!(pool.kind(), Kind::Image);
}

/// A mount that lives on in another mount namespace holds the device, and no record or table of mounts shows it.
#[test]
fn what_is_held_in_secret_is_not_copied_as_if_it_stood_still() {
    use std::os::unix::fs::OpenOptionsExt;

    const O_EXCL: i32 = 0o200;
    let root = TempDir::new().unwrap();
    let pool = open(root.path());
    let volume = create(&pool, "v");
    fill(root.path(), &volume, 1);
    let image = root.path().join("volumes").join(&volume.id[..32]).join("image");
    let reflinks = copy::clone_file(&fs::File::open(&image).unwrap(), &tempfile::tempfile_in(root.path()).unwrap()).unwrap();
    let device = Linux.attach_loop(&image, false).unwrap();
    let held = OpenOptions::new().read(true).custom_flags(O_EXCL).open(&device.path).unwrap();
    let snapshot = pool.create_snapshot(&"s".parse().unwrap(), &volume.id, soon());
    drop(held);
    let path = device.path.clone();
    drop(device);
    let again = pool.create_snapshot(&"s".parse().unwrap(), &volume.id, soon());
    Linux.detach_loop(&path, &image, soon()).unwrap();
    match snapshot {
        // A reflink is atomic, whoever writes.
        Ok(_) => assert!(reflinks),
        Err(error) => assert!(!reflinks && error.kind() == Outcome::Precondition, "{error}"),
    }
    assert!(again.unwrap().is_ready());
    assert_eq!(count(root.path(), "new"), 0);
}

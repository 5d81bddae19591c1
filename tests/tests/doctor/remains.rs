//! What volumes that are gone have left.

use crate::{Told, examined_where};

struct Row {
    what: &'static str,
    setup: &'static str,
    told: Told,
}

const fn row(
    what: &'static str,
    setup: &'static str,
    step: &'static str,
    result: &'static str,
    parts: &'static [&'static str],
) -> Row {
    Row { what, setup, told: Told { step, result, parts } }
}

/// An image below the root of the pool, with a filesystem.
const IMAGE: &str = "truncate -s 8M /mnt/pool/volumes/image; mkfs.ext4 -q /mnt/pool/volumes/image\n";

const ROWS: [Row; 6] = [
    row(
        "a mount whose image was deleted",
        "mkdir -p /mnt/csi.hawser.dev/v; mount -o loop /mnt/pool/volumes/image /mnt/csi.hawser.dev/v; rm /mnt/pool/volumes/image",
        "mounts",
        "wrong",
        &["/mnt/csi.hawser.dev/v is mounted from an image that was deleted", "goes nowhere", "umount"],
    ),
    // The device goes with the last who has it open, which is the shell that runs the doctor.
    row(
        "a loop device without a file",
        "losetup -f /mnt/pool/volumes/image; d=$(losetup -j /mnt/pool/volumes/image | cut -d: -f1); exec 9< $d; losetup -d $d; rm /mnt/pool/volumes/image",
        "loop devices",
        "doubtful",
        &["which was deleted", "losetup -d /dev/loop"],
    ),
    row(
        "files where no volume is mounted",
        "mkdir -p /mnt/mounts/v/staging; touch /mnt/mounts/v/staging/ledger.db",
        "directories of volumes",
        "wrong",
        &["nothing is mounted on /mnt/mounts/v/staging", "disk of this machine", "move them away"],
    ),
    row(
        "a note of a device that is gone",
        "mkdir -p /run/hawser/ebs/cloud; echo 'number 250:77' > /run/hawser/ebs/cloud/vol-0123456789abcdef0",
        "notes of devices",
        "doubtful",
        &["1 of 1", "rm /run/hawser/ebs/cloud/vol-0123456789abcdef0"],
    ),
    row(
        "an object half made",
        "mkdir /mnt/pool/new/x; touch -d '1 hour ago' /mnt/pool/new/x",
        "half made in /mnt/pool/new",
        "doubtful",
        &["1 that nobody finishes", "restart the driver"],
    ),
    row(
        "a ledger that is none",
        "mkdir -p /mnt/state; echo no > /mnt/state/ledger.redb",
        "the ledger",
        "wrong",
        &["/mnt/state/ledger.redb", "start the bridge"],
    ),
];

const WHOLE: &str = "mount -t tmpfs none /run
mount -t tmpfs none /mnt
mkdir -p /mnt/pool/new /mnt/pool/trash /mnt/pool/volumes
touch /mnt/pool/new/lock
echo '{\"format\":1,\"id\":\"6f3e0c3e-51f9-4a3b-9a5c-1f1f6b1f6a11\",\"kind\":\"image\"}' > /mnt/pool/pool.json
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_volumes_that_are_gone_is_told_with_its_remedy() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.yaml");
    let text =
        "backends: {here: {type: local, root: /mnt/pool}}\nbridge: {state: /mnt/state, mounts: /mnt/mounts, takeover: never}";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let arguments = ["--config", &file, "--only", "leftovers"];
    // A mount that is as it should be, and an empty directory.
    let living =
        "mkdir -p /mnt/csi.hawser.dev/v /mnt/mounts/v/staging; mount -o loop /mnt/pool/volumes/image /mnt/csi.hawser.dev/v";
    let found = examined_where(&format!("{WHOLE}{IMAGE}{living}"), &arguments).await;
    assert!(
        found.steps("wrong").is_empty() && found.steps("doubtful").is_empty(),
        "{:?} {:?}",
        found.steps("wrong"),
        found.steps("doubtful")
    );
    found.assert("what lives", &Told { step: "mounts", result: "well", parts: &["1 of volumes"] });
    for Row { what, setup, told } in ROWS {
        examined_where(&format!("{WHOLE}{IMAGE}{setup}"), &arguments).await.assert(what, &told);
    }
}

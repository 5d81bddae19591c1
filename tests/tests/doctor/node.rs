//! The machine itself.

use std::os::unix::net::UnixListener;

use crate::{Told, examined_where};

struct Row {
    what: &'static str,
    setup: &'static str,
    backend: &'static str,
    more: &'static [&'static str],
    told: Told,
}

const LOCAL: &str = "backends: {here: {type: local, root: ROOT}}";
const EBS: &str = "backends: {cloud: {type: ebs, region: us-east-1}}";
const NFS3: &str = "backends: {far: {type: nfs, server: 127.0.0.1, path: /x, mount-options: [vers=3]}}";
const BRIDGE: &str =
    "backends: {here: {type: local, root: ROOT}}\nbridge: {state: /mnt/state, mounts: /mnt/mounts, takeover: never}";

/// A machine like any other: nothing of the one that runs the tests is seen but its programs.
const WHOLE: &str = "hostname node-7
mount -t tmpfs none /run
mkdir -p /run/systemd/system
mount -t tmpfs none /mnt
mount --make-shared /mnt
";

const fn row(what: &'static str, setup: &'static str, backend: &'static str, told: Told) -> Row {
    Row { what, setup, backend, more: &[], told }
}

const fn wrong(step: &'static str, parts: &'static [&'static str]) -> Told {
    Told { step, result: "wrong", parts }
}

const fn doubt(step: &'static str, parts: &'static [&'static str]) -> Told {
    Told { step, result: "doubtful", parts }
}

const ROWS: [Row; 17] = [
    row(
        "no mkfs.ext4",
        "mount --bind /dev/null /usr/sbin/mkfs.ext4",
        LOCAL,
        wrong("mkfs.ext4", &["not in PATH", "cannot be formatted", "e2fsprogs"]),
    ),
    row("no mkfs.xfs", "mount --bind /dev/null /usr/sbin/mkfs.xfs", LOCAL, doubt("mkfs.xfs", &["not in PATH", "xfsprogs"])),
    row(
        "a mkfs that does not run",
        "printf broken > /run/x; chmod +x /run/x; mount --bind /run/x /usr/sbin/mkfs.ext4",
        LOCAL,
        wrong("mkfs.ext4", &["does not run", "anew"]),
    ),
    row(
        "no mount.nfs",
        "mount --bind /dev/null /usr/sbin/mount.nfs",
        NFS3,
        wrong("mount.nfs", &["NFSv3 with locks", "nfs-common"]),
    ),
    row(
        "private mounts",
        "mount --make-private /mnt",
        BRIDGE,
        wrong("mount propagation of /mnt/mounts", &["private", "Bidirectional"]),
    ),
    row("a host name that many have", "hostname localhost", LOCAL, wrong("the node's id", &["localhost", "driver.node-id"])),
    Row {
        more: &["--node-id", "Debian"],
        ..row("an id that many have", "", LOCAL, wrong("the node's id", &["Debian", "no other machine has"]))
    },
    row("/run read-only", "mount -o remount,ro /run", EBS, wrong("space in /run/hawser", &["read-only", "remount,rw"])),
    row(
        "a full disk",
        "mkdir /mnt/state; mount -t tmpfs -o size=1m none /mnt/state",
        BRIDGE,
        wrong("space in /mnt/state", &["are left", "ledger", "make room"]),
    ),
    row("a file for a directory", "touch /mnt/state", BRIDGE, wrong("space in /mnt/state", &["no directory", "move it away"])),
    row(
        "a unit apart",
        "printf '[Service]\\nExecStart=/usr/bin/hawser serve node\\nPrivateMounts=yes\\nProtectSystem=full\\n' > /run/systemd/system/hawser.service",
        LOCAL,
        wrong("unit hawser.service", &["PrivateMounts=yes ProtectSystem=full", "systemctl edit"]),
    ),
    row("a container's /dev", "mount -t tmpfs none /dev", LOCAL, doubt("/dev", &["tmpfs of its own", "hostPath /dev"])),
    row("no loop devices", "mount -t tmpfs none /dev", LOCAL, wrong("loop devices", &["/dev/loop-control", "modprobe loop"])),
    row(
        "multipathd",
        "cp /bin/sleep /run/multipathd; /run/multipathd 60 & mount -t tmpfs none /etc",
        EBS,
        doubt("multipathd", &["it runs", "devnode \"^nvme\"", "reconfigure"]),
    ),
    row(
        "no rights",
        "set -- setpriv --bounding-set -sys_admin --inh-caps -sys_admin -- \"$0\" \"$@\"; exec \"$@\"",
        LOCAL,
        wrong("privileges", &["CAP_SYS_ADMIN", "privileged: true"]),
    ),
    row(
        "no mounting",
        "set -- setpriv --bounding-set -sys_admin --inh-caps -sys_admin -- \"$0\" \"$@\"; exec \"$@\"",
        LOCAL,
        wrong("mounting", &["open_tree(2) is forbidden", "CAP_SYS_ADMIN"]),
    ),
    Row {
        more: &["--endpoint", "/run/dead.sock"],
        ..row("something that is no socket", "touch /run/dead.sock", LOCAL, wrong("/run/dead.sock", &["no socket", "move"]))
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_machine_lacks_is_told_with_its_remedy() {
    let place = tempfile::tempdir().unwrap();
    let config = |text: &str| {
        let file = place.path().join("config.yaml");
        std::fs::write(&file, text.replace("ROOT", &place.path().join("root").display().to_string())).unwrap();
        file.display().to_string()
    };
    for backend in [LOCAL, EBS, BRIDGE] {
        let found = examined_where(WHOLE, &["--config", &config(backend), "--only", "node"]).await;
        assert!(found.steps("wrong").is_empty(), "{backend}: {:?}", found.steps("wrong"));
        // What the machine that runs the tests may lack.
        let of_machine = ["privileges", "clock", "driver nvme", "mkfs.btrfs", "filesystem"];
        let doubts: Vec<&str> =
            found.steps("doubtful").into_iter().filter(|step| !of_machine.iter().any(|known| step.starts_with(known))).collect();
        assert!(doubts.is_empty(), "{backend}: {doubts:?}");
    }
    for Row { what, setup, backend, more, told } in ROWS {
        let file = config(backend);
        let arguments = [&["--config", &file, "--only", "node"][..], more].concat();
        examined_where(&format!("{WHOLE}{setup}"), &arguments).await.assert(what, &told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_served_or_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("csi.sock").display().to_string();
    let arguments = ["--only", "node", "--endpoint", &path];
    let look = async |what: &str, result, parts| {
        examined_where("hostname node-7", &arguments).await.assert(what, &Told { step: "csi.sock", result, parts });
    };
    look("nobody yet", "well", &["nobody serves it yet"]).await;
    let listener = UnixListener::bind(&path).unwrap();
    look("somebody, and everybody may", "doubtful", &["others may use it", "chmod 0600"]).await;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    look("somebody", "well", &["is served"]).await;
    drop(listener);
    look("somebody who is dead", "doubtful", &["nobody answers", "start the service"]).await;
}

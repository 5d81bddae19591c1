//! The NFS server, and what happens to its clients.

use hawser_tests::ground::Ground;
use hawser_tests::rig::{Export, NfsServer, Node, Rig};

const OPTIONS: &str = "rw,no_root_squash,sync,no_subtree_check";

fn mount(node: &Node, export: &Export, options: &str) {
    node.shell(&format!("mkdir -p /mnt/v; mount -t nfs -o {options} {export} /mnt/v"));
}

#[test]
fn two_nodes_share_an_export() {
    let rig = Rig::start();
    let [storage, n1, n2] = rig.nodes(["storage", "n1", "n2"]);
    let server = NfsServer::on(storage);
    let (first, second) = (server.export("first", OPTIONS), server.export("second", OPTIONS));
    mount(&n1, &first, "vers=4.2");
    mount(&n2, &first, "vers=4.1");
    n1.shell("echo letter > /mnt/v/letter");
    assert_eq!(n2.shell("cat /mnt/v/letter"), "letter");
    assert_eq!(server.node().shell(&format!("cat {}/letter", server.tree("first").display())), "letter");
    n2.shell("umount /mnt/v");
    // The same path for the older version, and another export is another tree.
    mount(&n2, &first, "vers=3,nolock");
    assert_eq!(n2.shell("cat /mnt/v/letter; umount /mnt/v"), "letter");
    mount(&n2, &second, "vers=4.2");
    assert_eq!(n2.shell("ls -A /mnt/v; umount /mnt/v"), "");
    // Blocks are shared by the server, not copied.
    n1.shell("head -c 20M /dev/urandom > /mnt/v/big; cp --reflink=always /mnt/v/big /mnt/v/clone; cmp /mnt/v/big /mnt/v/clone");
    server.unexport("second");
    assert!(!n2.run(["mount", "-t", "nfs4", &second.to_string(), "/mnt/v"]).status.success());
}

#[test]
fn a_server_comes_back_with_what_was_written_and_locked() {
    let rig = Rig::start();
    let [storage, n1] = rig.nodes(["storage", "n1"]);
    let server = NfsServer::with(storage, Ground::Ext4);
    mount(&n1, &server.export("v1", OPTIONS), "vers=4.2");
    n1.shell("echo before > /mnt/v/letter; sync");
    // Who holds a lock keeps it over the crash: the client reclaims it within the grace period.
    n1.shell("setsid flock /mnt/v/lock sh -c 'echo locked > /run/locked; exec sleep 1000' > /dev/null 2>&1 &");
    n1.shell("until test -e /run/locked; do sleep 0.05; done");
    server.kill();
    server.boot();
    n1.shell("cat /mnt/v/letter > /dev/null; echo after >> /mnt/v/letter");
    assert_eq!(n1.shell("cat /mnt/v/letter"), "before\nafter");
    n1.shell("! flock --nonblock /mnt/v/lock true");
    assert!(!n1.run(["dmesg"]).well().contains("lock reclaim failed"));
    // The service alone.
    server.stop();
    server.serve();
    n1.shell("echo again >> /mnt/v/letter");
}

#[test]
fn a_server_that_is_frozen_or_out_of_reach_hangs_its_clients_and_no_more() {
    let rig = Rig::start();
    let [storage, n1, n2] = rig.nodes(["storage", "n1", "n2"]);
    let server = NfsServer::on(storage);
    let export = server.export("v1", OPTIONS);
    for node in [&n1, &n2] {
        mount(node, &export, "vers=4.2,hard");
    }
    let answers = |node: &Node| node.run(["timeout", "--signal=KILL", "2", "touch", "/mnt/v/touched"]).status.success();
    rig.cut(&n1, server.node());
    assert!(!answers(&n1));
    assert!(answers(&n2));
    rig.heal(&n1, server.node());
    n1.shell("touch /mnt/v/healed");
    server.node().freeze();
    assert!(!answers(&n1) && !answers(&n2));
    server.node().thaw();
    for node in [&n1, &n2] {
        node.shell("touch /mnt/v/thawed");
    }
    n1.kill();
    n1.boot();
    mount(&n1, &export, "vers=4.2,hard");
    assert_eq!(n1.shell("ls /mnt/v"), "healed\nthawed\ntouched");
}

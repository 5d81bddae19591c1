//! What is between the nodes.

use std::io::Write;

use hawser_tests::rig::{Node, Rig};

fn reaches(from: &Node, to: &Node) -> bool {
    from.run(["busybox", "ping", "-c", "1", "-W", "2", &to.address().to_string()]).status.success()
}

/// How many questions of others a node has received.
fn asked(node: &Node) -> u32 {
    let table = node.shell("grep ^Icmp: /proc/net/snmp");
    let mut lines = table.lines().map(str::split_whitespace);
    let (mut names, mut values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.position(|name| name == "InEchos").unwrap();
    values.nth(place).unwrap().parse().unwrap()
}

#[test]
fn cables_are_cut_and_healed() {
    let rig = Rig::start();
    let [n1, n2, n3] = rig.nodes(["n1", "n2", "n3"]);
    assert!(reaches(&n1, &n2) && reaches(&n2, &n3));
    rig.cut(&n1, &n2);
    let before = (asked(&n1), asked(&n2));
    assert!(!reaches(&n1, &n2) && !reaches(&n2, &n1));
    assert_eq!((asked(&n1), asked(&n2)), before, "something passes in one direction");
    assert!(reaches(&n1, &n3) && reaches(&n2, &n3), "the wrong cable");
    rig.cut(&n3, &n1);
    rig.heal(&n1, &n2);
    assert!(reaches(&n1, &n2) && !reaches(&n1, &n3));
    rig.heal(&n1, &n3);
    assert!(reaches(&n1, &n3));
    // What goes one way only: the question arrives, the answer does not.
    rig.cut_one_way(&n2, &n1);
    let before = asked(&n2);
    assert!(!reaches(&n1, &n2));
    assert_eq!(asked(&n2), before + 1);
}

#[test]
fn a_test_serves_its_nodes() {
    let rig = Rig::start();
    let node = rig.node("n1");
    let listener = rig.listen();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello\n").unwrap());
    let nc = format!("busybox nc {} {} < /dev/null", address.ip(), address.port());
    assert_eq!(node.shell(&nc), "hello");
    server.join().unwrap();
}

#[test]
fn nothing_leads_out_and_rigs_do_not_meet() {
    let (one, other) = (Rig::start(), Rig::start());
    let a = one.node("n1");
    let b = other.node("n1");
    assert_eq!(a.address(), b.address(), "they would collide if they were on one network");
    assert_eq!(a.shell("ip route show default"), "");
    b.shell("echo b > /run/name");
    assert!(!a.run(["cat", "/run/name"]).status.success());
    drop(other);
    a.shell("true");
}

//! What is between the nodes.

use hawser_tests::rig::{Node, Rig};

fn reaches(from: &Node, to: &Node) -> bool {
    from.run(["busybox", "ping", "-c", "1", "-W", "2", &to.address().to_string()]).status.success()
}

#[test]
fn cables_are_cut_and_healed() {
    let rig = Rig::start();
    let [n1, n2, n3] = rig.nodes(["n1", "n2", "n3"]);
    assert!(reaches(&n1, &n2) && reaches(&n2, &n3));
    rig.cut(&n1, &n2);
    assert!(!reaches(&n1, &n2) && !reaches(&n2, &n1));
    assert!(reaches(&n1, &n3) && reaches(&n2, &n3), "the wrong cable");
    rig.cut(&n3, &n1);
    rig.heal(&n1, &n2);
    assert!(reaches(&n1, &n2) && !reaches(&n1, &n3));
    rig.heal(&n1, &n3);
    assert!(reaches(&n1, &n3));
    // What goes one way only: the question arrives, the answer does not.
    rig.cut_one_way(&n2, &n1);
    let received = || n2.shell("cat /sys/class/net/vec0/statistics/rx_packets").parse::<u64>().unwrap();
    let before = received();
    assert!(!reaches(&n1, &n2));
    assert!(received() > before);
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

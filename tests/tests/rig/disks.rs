//! Disks that are plugged in and pulled out.

use hawser_tests::rig::{Plan, Rig};

#[test]
fn a_disk_moves_with_its_data() {
    let rig = Rig::start();
    let [n1, n2] = rig.nodes(["n1", "n2"]);
    let disk = rig.disk("disk", 64 << 20);
    let device = n1.attach(&disk, "serial1");
    let device = device.to_str().unwrap();
    assert_eq!(n1.run(["blockdev", "--getsize64", device]).well(), (64 << 20).to_string());
    n1.shell(&format!("mkfs.ext4 -q {device}; mount {device} /mnt; echo letter > /mnt/letter; umount /mnt"));
    n1.detach(&disk);
    assert!(!n1.run(["test", "-e", device]).status.success());
    let device = n2.attach(&disk, "serial1");
    n2.shell(&format!("mount {} /mnt", device.display()));
    assert_eq!(n2.shell("cat /mnt/letter"), "letter");
    // It stays plugged in when the power fails, and has what was flushed.
    n2.shell("echo flushed > /mnt/flushed; sync");
    n2.kill();
    n2.boot();
    n2.shell(&format!("mount {} /mnt", device.display()));
    assert_eq!(n2.shell("cat /mnt/letter /mnt/flushed"), "letter\nflushed");
}

#[test]
fn the_scratch_disk_has_room() {
    let rig = Rig::start();
    let [node] = rig.nodes_of([Plan { scratch: 2 << 30, ..Plan::new("n1") }]);
    assert_eq!(node.shell("stat --file-system --format=%T /tmp"), "ext2/ext3");
    node.shell("head -c 600M /dev/zero > /tmp/much; rm /tmp/much");
    node.shell(&format!("echo hello > {}/letter", rig.shared().display()));
    assert_eq!(std::fs::read_to_string(rig.shared().join("letter")).unwrap(), "hello\n");
}

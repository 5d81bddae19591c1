//! Volumes of EBS.

use hawser_tests::rig::Rig;

const SERIAL: &str = "vol0123456789abcdef0";

#[test]
fn an_ebs_volume_moves_with_its_data() {
    let rig = Rig::start();
    let [n1, n2] = rig.nodes(["n1", "n2"]);
    let (volume, other) = (rig.disk("volume", 128 << 20), rig.disk("other", 64 << 20));
    let device = n1.attach_nvme(&volume, SERIAL);
    let second = n1.attach_nvme(&other, "vol0fedcba9876543210");
    assert_ne!(device, second);
    let told = |what: &str| n1.shell(&format!("cat /sys/class/nvme/nvme0/{what}"));
    assert_eq!((told("serial").trim(), told("model").trim()), (SERIAL, "Amazon Elastic Block Store"));
    assert_eq!(n1.run(["blockdev", "--getsize64", device.to_str().unwrap()]).well(), (128 << 20).to_string());
    let device = device.display();
    n1.shell(&format!("mkfs.ext4 -q {device}; mount {device} /mnt; echo letter > /mnt/letter; umount /mnt"));
    n1.detach_nvme(&volume, SERIAL);
    assert_eq!(n1.shell("cat /sys/class/nvme/*/serial").trim(), "vol0fedcba9876543210");
    n2.start_udev();
    let device = n2.attach_nvme(&volume, SERIAL);
    let link = format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{SERIAL}");
    assert_eq!(n2.shell(&format!("udevadm settle; readlink -f {link}")), device.to_str().unwrap());
    assert_eq!(n2.shell(&format!("mount {} /mnt; cat /mnt/letter", device.display())), "letter");
    // Taken away by force under a mounted filesystem.
    n2.detach_nvme(&volume, SERIAL);
    assert!(!n2.run(["sh", "-c", "echo lost > /mnt/lost; sync /mnt/lost"]).status.success());
    n1.attach_nvme(&volume, SERIAL);
}

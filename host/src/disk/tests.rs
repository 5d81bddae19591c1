use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::mounted::{beneath, node_of_root};
use super::*;
use crate::mountinfo::MountEntry;

const MODEL: &str = "Amazon Elastic Block Store";

/// A sysfs as the kernel lays it out, in a directory.
struct Machine {
    place: tempfile::TempDir,
    tree: Tree,
}

impl Machine {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let tree = Tree { sys: place.path().join("sys"), dev: place.path().join("dev") };
        for directory in [tree.sys.join("block"), tree.sys.join("dev/block"), tree.sys.join("bus/xen"), tree.dev.clone()] {
            fs::create_dir_all(directory).unwrap();
        }
        Self { place, tree }
    }

    fn disk(&self, node: &str, number: &str) -> PathBuf {
        let device = self.place.path().join("sys/devices").join(node).join("block").join(node);
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("dev"), format!("{number}\n")).unwrap();
        symlink(&device, self.tree.sys.join("block").join(node)).unwrap();
        symlink(&device, self.tree.sys.join("dev/block").join(number)).unwrap();
        device
    }

    /// An NVMe device; the kernel fills texts up with spaces and ends them with a newline.
    fn nvme(&self, node: &str, number: &str, serial: &str, model: &str) {
        let device = self.disk(node, number);
        let controller = device.join("../controller");
        fs::create_dir_all(&controller).unwrap();
        symlink(&controller, device.join("device")).unwrap();
        fs::write(device.join("nsid"), "1\n").unwrap();
        fs::write(controller.join("serial"), format!("{serial:20}\n")).unwrap();
        fs::write(controller.join("model"), format!("{model:40}\n")).unwrap();
    }

    fn xen(&self, node: &str, number: &str, bus: &str) {
        let device = self.disk(node, number);
        fs::create_dir_all(device.join("device")).unwrap();
        symlink(self.tree.sys.join("bus").join(bus), device.join("device/subsystem")).unwrap();
    }

    fn found(&self, names: &[DiskName]) -> Option<String> {
        find(&self.tree, names, &mut scini::Told::default()).unwrap().map(|(_, listed)| listed.node)
    }
}

fn ebs(serial: &str) -> DiskName {
    DiskName::Nvme { model: MODEL.to_owned(), serial: serial.to_owned(), namespace: 1 }
}

fn xen(name: &str) -> DiskName {
    DiskName::Xen { name: name.to_owned() }
}

#[test]
fn a_disk_is_found_by_what_it_says_and_by_nothing_else() {
    let machine = Machine::new();
    machine.nvme("nvme0n1", "259:0", "vol0a", MODEL);
    machine.nvme("nvme1n1", "259:1", "vol0b", MODEL);
    // Ephemeral storage with the same serial number, if that could be; a path of a multipath device, which has no number.
    machine.nvme("nvme2n1", "259:2", "vol0c", "Amazon EC2 NVMe Instance Storage");
    fs::create_dir_all(machine.tree.sys.join("block/nvme0c0n1/device")).unwrap();
    machine.xen("xvdba", "202:1", "xen");
    machine.xen("xvdbb", "202:2", "scsi");
    assert_eq!(machine.found(&[ebs("vol0b")]).as_deref(), Some("nvme1n1"));
    assert_eq!(machine.found(&[ebs("vol0c")]), None);
    assert_eq!(machine.found(&[ebs("vol0")]), None);
    assert_eq!(machine.found(&[xen("xvdba")]).as_deref(), Some("xvdba"));
    assert_eq!(machine.found(&[xen("xvdbb")]), None);
    // The first name that there is counts.
    assert_eq!(machine.found(&[ebs("vol0x"), xen("xvdba")]).as_deref(), Some("xvdba"));
    assert_eq!(machine.found(&[ebs("vol0a"), xen("xvdba")]).as_deref(), Some("nvme0n1"));
}

#[test]
fn two_that_say_the_same_are_none() {
    let machine = Machine::new();
    machine.nvme("nvme0n1", "259:0", "vol0a", MODEL);
    machine.nvme("nvme1n1", "259:1", "vol0a", MODEL);
    let error = find(&machine.tree, &[ebs("vol0a")], &mut scini::Told::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains("nvme0n1 and nvme1n1"), "{error}");
}

#[test]
fn a_machine_without_sysfs_is_not_one_without_disks() {
    let machine = Machine::new();
    fs::remove_dir_all(&machine.tree.sys).unwrap();
    assert_eq!(find(&machine.tree, &[ebs("vol0a")], &mut scini::Told::default()).unwrap_err().kind(), Kind::Precondition);
}

fn mount(line: &str) -> MountEntry {
    crate::MountTable::parse(line.as_bytes()).unwrap().entries()[0].clone()
}

#[test]
fn what_a_mount_shows_follows_from_its_device() {
    let machine = Machine::new();
    machine.nvme("nvme0n1", "259:0", "vol0a", MODEL);
    machine.nvme("nvme1n1", "259:1", "vol0b", MODEL);
    let shown = |line: &str| beneath(&machine.tree, &mount(line)).unwrap();
    // Whoever mounted it called it by another name: that is no proof of anything.
    let ext4 = "30 1 259:1 / /mnt rw - ext4 /dev/nvme0n1 rw\n";
    assert_eq!(shown(ext4), Beneath::Disk(ebs("vol0b")));
    let btrfs = "30 1 0:50 / /mnt rw - btrfs /dev/nvme1n1 rw\n";
    assert_eq!(shown(btrfs), Beneath::Disk(ebs("vol0b")));
    assert_eq!(shown("30 1 0:50 / /mnt rw - overlay overlay rw\n"), Beneath::Other);
    assert_eq!(shown("30 1 0:6 /null /mnt rw - devtmpfs udev rw\n"), Beneath::Other);
    fs::remove_file(machine.tree.sys.join("dev/block/259:1")).unwrap();
    fs::remove_file(machine.tree.sys.join("block/nvme1n1")).unwrap();
    assert_eq!(shown(ext4), Beneath::Gone(Trace::Number(DeviceNumber { major: 259, minor: 1 })));
    assert_eq!(shown(btrfs), Beneath::Gone(Trace::Name("nvme1n1".to_owned())));
}

#[test]
fn a_node_that_was_removed_shows_what_is_gone() {
    assert_eq!(node_of_root(Path::new("/nvme1n1")), Some(("nvme1n1".to_owned(), false)));
    assert_eq!(node_of_root(Path::new("/nvme1n1//deleted")), Some(("nvme1n1".to_owned(), true)));
    assert_eq!(node_of_root(Path::new("/loop0")), None);
    assert_eq!(node_of_root(Path::new("/")), None);
    // The node at the path is of another device than the disk of that name is: it is what was there before.
    let machine = Machine::new();
    machine.nvme("nvme1n1", "259:1", "vol0b", MODEL);
    let file = machine.place.path().join("target");
    fs::write(&file, "").unwrap();
    let line = format!("30 1 0:6 /nvme1n1 {} rw - devtmpfs udev rw\n", file.display());
    assert!(matches!(beneath(&machine.tree, &mount(&line)).unwrap(), Beneath::Gone(Trace::Node(_, _))));
}

#[test]
fn an_open_device_that_is_no_disk_is_not_proved() {
    let path = Path::new("/dev/null");
    let number = DeviceNumber { major: 1, minor: 3 };
    let open = |disk| Device {
        path: path.to_owned(),
        number,
        size: Bytes::new(0),
        sector: 512,
        read_only: true,
        disk,
        file: fs::File::open(path).unwrap(),
    };
    open(None).prove().unwrap();
    for name in [ebs("vol0a"), xen("xvdba")] {
        assert!(open(Some(name)).prove().is_err());
    }
}

#[test]
fn a_disk_that_does_not_come_is_waited_for_until_the_deadline() {
    let began = Instant::now();
    let wait = Duration::from_millis(700);
    assert!(open(&[ebs("vol-that-never-comes")], true, Deadline::after(wait)).unwrap().is_none());
    assert!(began.elapsed() >= wait);
    assert_eq!(rescan(&[ebs("vol-that-never-comes")], Bytes::new(1), Deadline::after(wait)).unwrap(), None);
    rest(&[ebs("vol-that-never-comes")]).unwrap();
}

proptest! {
    #[test]
    fn any_name_is_a_disks_or_not(name in ".{0,12}", digits in 0_u32..200) {
        let _ = (tree::is_disk(&name), node_of_root(Path::new(&name)));
        let whole = format!("nvme{}n{}", digits, digits + 1);
        let partition = format!("{whole}p1");
        prop_assert!(tree::is_disk(&whole));
        prop_assert!(!tree::is_disk(&partition));
    }
}

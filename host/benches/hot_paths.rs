//! What every call on a node does: read the table of mounts, ask it, and look at what is on a device. The last one needs root.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to report")]

use std::fmt::Write;
use std::path::Path;

use divan::{Bencher, black_box};
use hawser_host::{Host, Linux, MountTable};
use hawser_volume::Deadline;
use tempfile::NamedTempFile;

fn main() {
    divan::main();
}

/// A table like that of a node with so many volumes, each staged and published.
fn table(volumes: usize) -> String {
    let mut text = "22 1 252:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n".to_owned();
    for volume in 0..volumes {
        let (device, id) = (volume + 8, volume * 2 + 100);
        let super_options = "ext4 /dev/loop8 rw,seclabel";
        let staging = format!("/var/lib/kubelet/plugins/kubernetes.io/csi/csi.hawser.dev/{volume:064x}/globalmount");
        let target = format!("/var/lib/kubelet/pods/00000000-0000-4000-8000-{volume:012x}/volumes/kubernetes.io~csi/data/mount");
        writeln!(text, "{id} 22 7:{device} / {staging} rw,relatime shared:{id} - {super_options}").unwrap();
        writeln!(text, "{} 22 7:{device} / {target} rw,relatime shared:{id} - {super_options}", id + 1).unwrap();
    }
    text
}

#[divan::bench(args = [10, 100, 1000])]
fn parse_mountinfo(bencher: Bencher<'_, '_>, volumes: usize) {
    let text = table(volumes);
    bencher.bench(|| MountTable::parse(black_box(text.as_bytes())).unwrap());
}

#[divan::bench(args = [10, 100, 1000])]
fn ask_who_is_on_top(bencher: Bencher<'_, '_>, volumes: usize) {
    let table = MountTable::parse(table(volumes).as_bytes()).unwrap();
    let last = table.entries().last().unwrap().mount_point.clone();
    bencher.bench(|| table.top(black_box(&last)).is_some());
}

#[divan::bench]
fn read_mountinfo_of_this_machine(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Linux.mounts().unwrap());
}

/// A blank image on a loop device, which is freed when this goes.
struct Bound {
    image: NamedTempFile,
    device: hawser_host::Device,
}

impl Bound {
    fn new(mebibytes: u64) -> Self {
        let image = NamedTempFile::new().unwrap();
        image.as_file().set_len(mebibytes << 20).unwrap();
        let device = Linux.attach_loop(image.path(), false).unwrap();
        Self { image, device }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let path: &Path = &self.device.path;
        Linux.detach_loop(path, self.image.path(), Deadline::after(std::time::Duration::from_secs(10))).unwrap();
    }
}

#[divan::bench(args = [64, 1024, 65536])]
fn probe_a_blank_device(bencher: Bencher<'_, '_>, mebibytes: u64) {
    let bound = Bound::new(mebibytes);
    bencher.bench_local(|| Linux.probe(&bound.device).unwrap());
}

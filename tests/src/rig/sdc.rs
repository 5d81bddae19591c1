//! An SDC of ScaleIO in a node, and the disks of the volumes that are mapped to it.
//!
//! All of it is a stand-in, as Dell's driver and programs cannot be had: the driver is `tests/rig/scini.c`, which says what of it is as
//! with Dell's; `drv_cfg` is `tests/src/bin/drv-cfg.rs`, with the questions and the form of the answers of Dell's; udev's rule says what
//! Dell's does. What is real is the kernel: block devices of a driver called `scini` that come and go, its messages, udev, and errors on what is gone.

mod inside;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Machine, Node};
use crate::binary::drv_cfg;

const INSTALL: &str = r#"
guid=$1
mkdir -p /opt/emc/scaleio/sdc/bin /etc/udev/rules.d
ln --symbolic --force "$2" /opt/emc/scaleio/sdc/bin/drv_cfg
cat > /etc/udev/rules.d/20-scini.rules << 'END'
ACTION!="remove", SUBSYSTEM=="block", KERNEL=="scini*", PROGRAM="/opt/emc/scaleio/sdc/bin/drv_cfg --query_block_device_id --block_device /dev/%k", SYMLINK+="disk/by-id/emc-vol-%c"
END
modprobe loop
modprobe scini guid="$guid"
"#;

const MAP: &str = r#"
volume=$1 file=$2 mode=$3
device=$(losetup --find --show "$file")
echo "map $volume $device $mode" > /dev/scini
while read -r disk is; do
  [ "$is" != "$volume" ] || echo "/dev/$disk"
done < /dev/scini
"#;

const UNMAP: &str = r#"
volume=$1 file=$2
echo "unmap $volume" > /dev/scini
for device in $(losetup --associated "$file" --noheadings --output NAME); do losetup --detach "$device"; done
"#;

// One that is not there any more needs nothing.
const HOLD: &str = r#"
order=$1
shift
for volume; do
  echo "$order $volume" > /dev/scini || if cat /dev/scini | grep --quiet " $volume$"; then exit 1; fi
done
"#;

// There, because the node would not look at the file's size anew.
const RESIZE: &str = r#"
file=$1
truncate --size "$2" "$file"
for device in $(losetup --associated "$file" --noheadings --output NAME); do losetup --set-capacity "$device"; done
"#;

/// Where the driver gets its orders, and tells which disks there are.
const DRIVER: &str = "/dev/scini";

/// What the driver says at once.
const PAGE: usize = 4096;

/// The disks of the driver of this machine, each with its volume (`SYSTEM-VOLUME`).
///
/// Read at once: whoever reads bit by bit reads another list each time when disks come and go. It is no longer than a page.
pub fn sdc_disks() -> io::Result<Vec<(String, String)>> {
    let mut list = vec![0; PAGE];
    let length = File::open(DRIVER)?.read(&mut list)?;
    let list = String::from_utf8_lossy(&list[..length]);
    let words = list.lines().filter_map(|line| line.split_once(' '));
    Ok(words.map(|(disk, volume)| (disk.to_owned(), volume.to_owned())).collect())
}

/// Where disks of an SDC appear.
pub trait Sdc: Machine {
    /// Installs an SDC with this GUID, its `drv_cfg` and its rule for [udev](super::Node::start_udev). A node loses it when it goes off.
    fn install_sdc(&self, guid: &str) {
        self.script(INSTALL, &[guid, drv_cfg().to_str().unwrap()]).well();
    }

    /// Lets the SDC have a volume (`SYSTEM-VOLUME`) whose content is in `file`, which the machine sees at the same path; returns its disk.
    fn map(&self, volume: &str, file: &Path) -> PathBuf {
        PathBuf::from(self.script(MAP, &[volume, file.to_str().unwrap(), "rw"]).well())
    }

    /// The same without writing.
    fn map_read_only(&self, volume: &str, file: &Path) -> PathBuf {
        PathBuf::from(self.script(MAP, &[volume, file.to_str().unwrap(), "ro"]).well())
    }

    /// Takes it away: who uses it gets errors.
    fn unmap(&self, volume: &str, file: &Path) {
        self.script(UNMAP, &[volume, file.to_str().unwrap()]).well();
    }

    /// Makes what is behind it `bytes` large. The disk stays as it is until the SDC looks at it anew.
    fn grow_unseen(&self, file: &Path, bytes: u64) {
        self.script(RESIZE, &[file.to_str().unwrap(), &bytes.to_string()]).well();
    }

    /// What is written to any of these volumes waits, until as many times [`Sdc::release`] was called. One that goes meanwhile is not held.
    fn hold(&self, volumes: &[String]) {
        self.script(HOLD, &words("hold", volumes)).well();
    }

    /// What waits for these volumes goes on.
    fn release(&self, volumes: &[String]) {
        self.script(HOLD, &words("release", volumes)).well();
    }

    /// From now on the driver says that its disk of `volume` is `other`.
    fn call_volume(&self, volume: &str, other: &str) {
        self.script("echo \"call $1 $2\" > /dev/scini", &[volume, other]).well();
    }
}

fn words<'a>(order: &'a str, volumes: &'a [String]) -> Vec<&'a str> {
    std::iter::once(order).chain(volumes.iter().map(String::as_str)).collect()
}

impl Sdc for Node {}

impl<T: Sdc> Sdc for Arc<T> {}

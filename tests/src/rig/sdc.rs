//! An SDC of ScaleIO in a node, and the disks of the volumes that are mapped to it.
//!
//! All of it is a stand-in, as Dell's driver and programs cannot be had: the driver is `tests/rig/scini.c`, which says what of it is as
//! with Dell's; `drv_cfg` is a script with the questions and the form of the answers of Dell's; udev's rule says what Dell's does. What is
//! real is the kernel: block devices of a driver called `scini` that come and go, its messages, udev, and errors on what is gone.

mod inside;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Machine, Node};

const INSTALL: &str = r#"
guid=$1
mkdir -p /opt/emc/scaleio/sdc/bin /etc/udev/rules.d
cat > /opt/emc/scaleio/sdc/bin/drv_cfg << 'END'
#!/bin/sh
case $1 in
--query_guid)
  cat /sys/module/scini/parameters/guid
  ;;
--query_block_device_id)
  # The driver is asked by the node that it is given, whatever that is called.
  number=$(stat -L -c %t:%T "$3") || exit 1
  at=/sys/dev/block/$((0x${number%:*})):$((0x${number#*:}))/uevent
  [ -e "$at" ] || { echo "no such device" >&2; exit 1; }
  while IFS='=' read -r key value; do
    [ "$key" != DEVNAME ] || name=$value
  done < "$at"
  # At once: what is read byte by byte is another list at each byte when disks come and go.
  list=$(cat /dev/scini)
  while read -r disk volume; do
    [ "$disk" != "$name" ] || { echo "$volume"; exit 0; }
  done << LIST
$list
LIST
  echo "$3 is not a disk of the SDC" >&2
  exit 1
  ;;
*)
  echo "unknown option $1" >&2
  exit 1
  ;;
esac
END
chmod +x /opt/emc/scaleio/sdc/bin/drv_cfg
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

// There, because the node would not look at the file's size anew.
const RESIZE: &str = r#"
file=$1
truncate --size "$2" "$file"
for device in $(losetup --associated "$file" --noheadings --output NAME); do losetup --set-capacity "$device"; done
"#;

/// Where disks of an SDC appear.
pub trait Sdc: Machine {
    /// Installs an SDC with this GUID, its `drv_cfg` and its rule for [udev](super::Node::start_udev). A node loses it when it goes off.
    fn install_sdc(&self, guid: &str) {
        self.script(INSTALL, &[guid]).well();
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

    /// From now on the driver says that its disk of `volume` is `other`.
    fn call_volume(&self, volume: &str, other: &str) {
        self.script("echo \"call $1 $2\" > /dev/scini", &[volume, other]).well();
    }
}

impl Sdc for Node {}

impl<T: Sdc> Sdc for Arc<T> {}

//! An SDC of ScaleIO in a node, and the disks of the volumes that are mapped to it.
//!
//! All of it is a stand-in, as Dell's driver and programs cannot be had: the driver is `tests/rig/scini.c`, which says what of it is as
//! with Dell's; `drv_cfg` is a script with the questions and the form of the answers of Dell's; udev's rule says what Dell's does. What is
//! real is the kernel: block devices of a driver called `scini` that come and go, its messages, udev, and errors on what is gone.

use std::path::{Path, PathBuf};

use super::Node;

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
  at=$(readlink "/sys/dev/block/$((0x${number%:*})):$((0x${number#*:}))") || { echo "no such device" >&2; exit 1; }
  while read -r disk volume; do
    [ "$disk" != "${at##*/}" ] || { echo "$volume"; exit 0; }
  done < /dev/scini
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

impl Node {
    /// Installs an SDC with this GUID, its `drv_cfg` and its rule for [udev](Node::start_udev). Gone when the node goes off.
    pub fn install_sdc(&self, guid: &str) {
        self.script_of_sdc(INSTALL, &[guid]);
    }

    /// Lets the SDC have a volume (`SYSTEM-VOLUME`) whose content is in `file`, which the node sees at the same path; returns its disk.
    pub fn map(&self, volume: &str, file: &Path) -> PathBuf {
        PathBuf::from(self.script_of_sdc(MAP, &[volume, file.to_str().unwrap(), "rw"]))
    }

    /// The same without writing.
    pub fn map_read_only(&self, volume: &str, file: &Path) -> PathBuf {
        PathBuf::from(self.script_of_sdc(MAP, &[volume, file.to_str().unwrap(), "ro"]))
    }

    /// Takes it away: who uses it gets errors.
    pub fn unmap(&self, volume: &str, file: &Path) {
        self.script_of_sdc(UNMAP, &[volume, file.to_str().unwrap()]);
    }

    /// Makes what is behind it `bytes` large. The disk stays as it is until the SDC looks at it anew.
    pub fn grow_unseen(&self, file: &Path, bytes: u64) {
        self.script_of_sdc(RESIZE, &[file.to_str().unwrap(), &bytes.to_string()]);
    }

    /// From now on the driver says that its disk of `volume` is `other`.
    pub fn call_volume(&self, volume: &str, other: &str) {
        self.shell(&format!("echo 'call {volume} {other}' > /dev/scini"));
    }

    fn script_of_sdc(&self, script: &str, arguments: &[&str]) -> String {
        self.run(["sh", "-euc", script, "sh"].into_iter().chain(arguments.iter().copied())).well()
    }
}

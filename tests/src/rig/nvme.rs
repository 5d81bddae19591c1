//! Volumes of EBS as an instance of EC2 sees them: NVMe devices with the volume's id as their serial number.
//!
//! Behind each is a disk of the node, shown by the kernel's NVMe target over its loop transport. What differs from EC2: the transport
//! is not PCIe, so the controller is below `/sys/devices/virtual`, and the identification has nothing of the vendor's own in it.

mod inside;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use inside::Disk;

use super::{Machine, Node};

/// What EC2 says of its volumes.
const MODEL: &str = "Amazon Elastic Block Store";

const ATTACH: &str = r#"
disk=$1 serial=$2 model=$3 name=nqn.2026-01.dev.hawser.rig:$4
modprobe --all nvmet nvme-loop
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
target=/sys/kernel/config/nvmet
subsystem=$target/subsystems/$name
mkdir "$subsystem" "$subsystem/namespaces/1"
printf %s "$serial" > "$subsystem/attr_serial"
printf %s "$model" > "$subsystem/attr_model"
echo 1 > "$subsystem/attr_allow_any_host"
printf %s "$disk" > "$subsystem/namespaces/1/device_path"
echo 1 > "$subsystem/namespaces/1/enable"
[ -d "$target/ports/1" ] || { mkdir "$target/ports/1"; echo loop > "$target/ports/1/addr_trtype"; }
ln -s "$subsystem" "$target/ports/1/subsystems/"
echo "transport=loop,nqn=$name" > /dev/nvme-fabrics
# The kernel looks for namespaces in the background.
for _ in $(seq 200); do
  for device in /sys/block/nvme*n1; do
    if [ "$(cat "$device/device/subsysnqn" 2> /dev/null)" = "$name" ] && [ -b "/dev/${device##*/}" ]; then
      echo "/dev/${device##*/}"
      exit
    fi
  done
  sleep 0.02
done
echo "no device appeared" >&2
exit 1
"#;

const DETACH: &str = r#"
name=nqn.2026-01.dev.hawser.rig:$1
target=/sys/kernel/config/nvmet
for controller in /sys/class/nvme/nvme*; do
  [ "$(cat "$controller/subsysnqn")" != "$name" ] || echo 1 > "$controller/delete_controller"
done
rm "$target/ports/1/subsystems/$name"
echo 0 > "$target/subsystems/$name/namespaces/1/enable"
rmdir "$target/subsystems/$name/namespaces/1" "$target/subsystems/$name"
"#;

/// A loop device over a file that both sides see: unlike a disk of the node, its size can change while it is used.
const LOOP: &str = r#"
file=$1
modprobe loop
device=$(losetup --find)
losetup "$device" "$file"
echo "$device"
"#;

const DETACH_LOOP: &str = r#"
for device in $(losetup --associated "$1" --noheadings --output NAME); do losetup --detach "$device"; done
"#;

// There, because the node would not look at the file's size anew.
const RESIZE: &str = r#"
file=$1 name=nqn.2026-01.dev.hawser.rig:$2
truncate --size "$3" "$file"
for device in $(losetup --associated "$file" --noheadings --output NAME); do losetup --set-capacity "$device"; done
echo 1 > "/sys/kernel/config/nvmet/subsystems/$name/namespaces/1/revalidate_size"
"#;

/// Makes the target of a device that is reached over TCP, anew if it is there. The kernel that uses it connects again, and goes on with
/// what it was told first.
const SERVE_TCP: &str = r#"
backing=$1 serial=$2 model=$3 name=nqn.2026-01.dev.hawser.rig:$4
modprobe --all nvmet nvmet-tcp nvme-tcp
ip link set lo up
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
target=/sys/kernel/config/nvmet port=/sys/kernel/config/nvmet/ports/2
subsystem=$target/subsystems/$name
state() { for c in /sys/class/nvme/nvme*; do [ "$(cat "$c/subsysnqn" 2> /dev/null)" != "$name" ] || cat "$c/state"; done; }
if [ -d "$subsystem" ]; then
  rm "$port/subsystems/$name"
  until [ "$(state)" != live ]; do sleep 0.05; done
  echo 0 > "$subsystem/namespaces/1/enable"
  rmdir "$subsystem/namespaces/1" "$subsystem"
fi
mkdir "$subsystem" "$subsystem/namespaces/1"
printf %s "$serial" > "$subsystem/attr_serial"
printf %s "$model" > "$subsystem/attr_model"
echo 1 > "$subsystem/attr_allow_any_host"
printf %s "$backing" > "$subsystem/namespaces/1/device_path"
echo 6f0cf0b1-5d1c-4b5b-9a39-3f1c2a6d7e80 > "$subsystem/namespaces/1/device_uuid"
echo 1 > "$subsystem/namespaces/1/enable"
if [ ! -d "$port" ]; then
  mkdir "$port"
  for pair in trtype=tcp adrfam=ipv4 traddr=127.0.0.1 trsvcid=4420; do echo "${pair#*=}" > "$port/addr_${pair%%=*}"; done
fi
ln -s "$subsystem" "$port/subsystems/"
[ -n "$(state)" ] || echo "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=$name,reconnect_delay=1,ctrl_loss_tmo=60" > /dev/nvme-fabrics
for _ in $(seq 400); do
  for device in /sys/block/nvme*n1; do
    if [ "$(cat "$device/device/subsysnqn" 2> /dev/null)" = "$name" ] && [ -b "/dev/${device##*/}" ] && [ "$(state)" = live ]; then
      echo "/dev/${device##*/}"
      exit
    fi
  done
  sleep 0.05
done
echo "no device appeared" >&2
exit 1
"#;

const END_TCP: &str = r#"
name=nqn.2026-01.dev.hawser.rig:$1
target=/sys/kernel/config/nvmet
for controller in /sys/class/nvme/nvme*; do
  [ "$(cat "$controller/subsysnqn")" != "$name" ] || echo 1 > "$controller/delete_controller"
done
rm "$target/ports/2/subsystems/$name"
echo 0 > "$target/subsystems/$name/namespaces/1/enable"
rmdir "$target/subsystems/$name/namespaces/1" "$target/subsystems/$name"
"#;

/// Where NVMe devices appear.
pub trait Nvme: Machine {
    /// Shows a file that the machine sees (below [`Rig::shared`](super::Rig::shared), say) as an EBS volume with the serial number
    /// `serial` and the model that EC2 gives its volumes; returns the device.
    fn plug(&self, file: &Path, serial: &str) -> PathBuf {
        self.plug_as(file, serial, MODEL, serial)
    }

    /// The same with another model, and a `tag` of its own, of which a machine can have one at a time.
    fn plug_as(&self, file: &Path, serial: &str, model: &str, tag: &str) -> PathBuf {
        let backing = self.script(LOOP, &[file.to_str().unwrap()]).well();
        PathBuf::from(self.script(ATTACH, &[&backing, serial, model, tag]).well())
    }

    /// Takes it away, as EC2 does by force: who uses it gets errors.
    fn unplug(&self, file: &Path, tag: &str) {
        self.script(DETACH, &[tag]).well();
        self.script(DETACH_LOOP, &[file.to_str().unwrap()]).well();
    }

    /// Like [`Nvme::plug`], with a device that [can change](Inconstant::answer_as) what it says of itself.
    fn plug_inconstant(&self, file: &Path, serial: &str) -> Inconstant<'_, Self>
    where
        Self: Sized,
    {
        let backing = self.script(LOOP, &[file.to_str().unwrap()]).well();
        let device = Inconstant { machine: self, file: file.to_owned(), backing, tag: serial.to_owned() };
        device.answer_as(serial);
        device
    }

    /// Makes it `bytes` large.
    fn resize(&self, file: &Path, tag: &str, bytes: u64) {
        self.script(RESIZE, &[file.to_str().unwrap(), tag, &bytes.to_string()]).well();
    }
}

/// A device behind whose address another one may answer.
pub struct Inconstant<'m, M> {
    machine: &'m M,
    file: PathBuf,
    backing: String,
    tag: String,
}

impl<M: Nvme> Inconstant<'_, M> {
    /// Lets it answer with this serial number from now on, when it is asked: the kernel goes on with what it was told first.
    pub fn answer_as(&self, serial: &str) {
        self.machine.script(SERVE_TCP, &[&self.backing, serial, MODEL, &self.tag]).well();
    }

    /// Takes it away.
    pub fn unplug(self) {
        self.machine.script(END_TCP, &[&self.tag]).well();
        self.machine.script(DETACH_LOOP, &[self.file.to_str().unwrap()]).well();
    }
}

impl Nvme for Node {}

impl<T: Nvme> Nvme for Arc<T> {}

impl Node {
    /// Attaches `file` as an EBS volume with the serial number `serial` (20 characters at most: `vol` and the digits of the id), and
    /// returns the device in the node. It has to be attached anew when the node was off.
    pub fn attach_nvme(&self, file: &Path, serial: &str) -> PathBuf {
        let disk = self.attach(file, serial);
        self.show_nvme(&disk, serial)
    }

    /// Shows a disk that the node [has](Node::attach) as an EBS volume.
    pub fn show_nvme(&self, disk: &Path, serial: &str) -> PathBuf {
        PathBuf::from(self.script(ATTACH, &[disk.to_str().unwrap(), serial, MODEL, serial]).well())
    }

    /// Starts udev, which makes links in `/dev/disk` for what is attached from then on.
    pub fn start_udev(&self) {
        self.shell("mkdir -p /run/udev; /lib/systemd/systemd-udevd --daemon");
    }

    /// Takes an EBS volume away, as EC2 does by force: who uses it gets errors.
    pub fn detach_nvme(&self, file: &Path, serial: &str) {
        self.script(DETACH, &[serial]).well();
        self.detach(file);
    }
}

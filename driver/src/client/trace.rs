//! Where this machine has a volume mounted, as far as the kernel's table tells it.
//!
//! CSI has no question for it. So a mount is taken to show a volume when something that only this volume has stands in it: its id, or the
//! digest that the kubelet makes of it, in the path; its storage system's own name in the source, in the file behind a loop device, or in
//! the serial number of the disk. And whatever shows the same directory of the same filesystem as such a mount does. A mount that is found
//! is a reason to leave a volume alone; that none is found proves nothing, and the driver is still asked by the calls themselves.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use hawser_host::{Beneath, DeviceNumber, Host, Linux, MountEntry, MountTable};
use hawser_volume::id::digest;
use hawser_volume::{Error, NativeId, Result};
use serde::Serialize;

use super::volume::Volume;

/// An id that is shorter may be part of a path by accident.
const TELLING: usize = 8;

/// A mount of a volume. The fields are those of the JSON output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mounted {
    pub(super) path: PathBuf,
    pub(super) filesystem: String,
    pub(super) read_only: bool,
    /// Who made it, as far as its path tells.
    pub(super) by: Maker,
}

/// Who makes mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Maker {
    /// `hawser volume mount`.
    Person,
    /// The bridge of this machine.
    Bridge,
    /// The kubelet.
    Kubelet,
    /// Somebody else.
    Other,
}

impl Maker {
    pub(super) fn words(self) -> &'static str {
        match self {
            Maker::Person => "hawser volume mount",
            Maker::Bridge => "the Mesos bridge",
            Maker::Kubelet => "the kubelet",
            Maker::Other => "somebody else",
        }
    }
}

/// The paths by which makers are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// What `hawser volume mount` made for this volume.
    pub(super) own: Vec<PathBuf>,
    /// `bridge.mounts` and what its ledger knows.
    pub(super) bridge: Vec<PathBuf>,
}

impl Places {
    fn maker(&self, path: &Path) -> Maker {
        if self.own.iter().any(|own| own == path) {
            Maker::Person
        } else if self.bridge.iter().any(|bridge| path.starts_with(bridge)) {
            Maker::Bridge
        } else if path.components().any(|part| part.as_os_str() == "kubelet") {
            Maker::Kubelet
        } else {
            Maker::Other
        }
    }
}

/// The mounts of this machine, read once.
#[derive(Debug)]
pub(super) struct Mounts(MountTable);

impl Mounts {
    /// Reads them.
    pub(super) fn read() -> Result<Self> {
        Ok(Self(Linux.mounts()?))
    }

    /// What somebody who opens exactly `path` gets, if it is a mount.
    pub(super) fn top(&self, path: &Path) -> Option<&MountEntry> {
        self.0.top(path)
    }

    /// Where `volume` is mounted.
    pub(super) fn of(&self, volume: &Volume, places: &Places) -> Result<Vec<Mounted>> {
        let marks = Marks::of(volume);
        let mut seen: Vec<(DeviceNumber, &Path)> = Vec::new();
        for entry in self.0.entries() {
            if places.own.contains(&entry.mount_point) || marks.are_in(entry)? {
                seen.push((entry.device, &entry.root));
            }
        }
        let shows = |entry: &&MountEntry| seen.contains(&(entry.device, entry.root.as_path()));
        let mounted = |entry: &MountEntry| Mounted {
            path: entry.mount_point.clone(),
            filesystem: entry.filesystem.clone(),
            read_only: entry.read_only(),
            by: places.maker(&entry.mount_point),
        };
        Ok(self.0.entries().iter().filter(shows).map(mounted).collect())
    }
}

/// By what a volume is recognized.
struct Marks {
    /// Names of files and directories that are the volume's alone.
    names: Vec<String>,
    /// The first half of what the kubelet calls its directory: the SHA-256 of the id
    /// (kubernetes: `pkg/volume/csi/csi_attacher.go`, `makeDeviceMountPath`).
    kubelet: String,
    /// The directory on an NFS server.
    directory: Option<String>,
    /// The whole of what a pool calls the volume.
    native: Option<NativeId>,
}

impl Marks {
    fn of(volume: &Volume) -> Self {
        let id = volume.id.as_str();
        let native = id.split_once(':').map_or(id, |(_, native)| native);
        // Mesos' names of files are percent-encoded.
        let encoded = id.replace(':', "%3A").replace('/', "%2F");
        let mut names = vec![id.to_owned(), encoded, native.to_owned(), native.replace('-', "")];
        names.extend(NativeId::parse(native).map(|native| native.digest));
        names.retain(|name| name.len() >= TELLING);
        let directory = volume.context.iter().find(|(key, _)| key.eq_ignore_ascii_case("subDir")).map(|(_, value)| value.clone());
        let directory = directory.filter(|directory| !directory.is_empty());
        Self { names, kubelet: digest(id), directory, native: NativeId::parse(native) }
    }

    /// Whether an image is that of another volume of the same name: one of another pool, or of a time before. A pool's directories are
    /// called by the digest of the name; the record beside the image has all of the id.
    fn is_anothers(&self, image: &Path) -> bool {
        let record = image.with_file_name("record.json");
        match (&self.native, std::fs::read_to_string(record)) {
            (Some(native), Ok(record)) => !record.contains(&native.to_string()),
            // What cannot be read may be this one.
            _ => false,
        }
    }

    fn are_in(&self, entry: &MountEntry) -> Result<bool> {
        let by_path = entry.mount_point.iter().any(|part| self.is_name(part) || self.is_kubelets(part))
            || entry.root.iter().chain(entry.source.iter()).any(|part| self.is_name(part));
        if by_path {
            return Ok(true);
        }
        if let Some(directory) = &self.directory
            && entry.filesystem.starts_with("nfs")
            && entry.source.ends_with(directory.trim_matches('/'))
        {
            return Ok(true);
        }
        if let Some(image) = Linux.loop_image_of(entry)? {
            return Ok(image.iter().any(|part| self.is_name(part)) && !self.is_anothers(&image));
        }
        Ok(match Linux.disk_of(entry)? {
            Beneath::Disk(name) => self.is_name(OsStr::new(&name.to_string())),
            Beneath::ScaleIo(_) | Beneath::Gone(_) | Beneath::Other => false,
        })
    }

    fn is_name(&self, part: &OsStr) -> bool {
        part.to_str().is_some_and(|part| self.names.iter().any(|name| name == part))
    }

    fn is_kubelets(&self, part: &OsStr) -> bool {
        part.to_str().is_some_and(|part| part.len() == 64 && part.starts_with(&self.kubelet))
    }
}

/// `Precondition` if the volume is mounted here, whoever did that.
pub(super) fn refuse_mounted(volume: &Volume, mounts: &[Mounted], what: &str) -> Result<()> {
    let Some(first) = mounts.first() else { return Ok(()) };
    let paths: Vec<String> = mounts.iter().map(|mount| mount.path.display().to_string()).collect();
    let mend = match first.by {
        Maker::Person => format!("take it down with `hawser volume unmount {}`", volume.id),
        Maker::Bridge => "it goes when the task that uses it ends".to_owned(),
        Maker::Kubelet => "it goes when the pod that uses it ends".to_owned(),
        Maker::Other => "whoever mounted it has to unmount it".to_owned(),
    };
    Err(Error::precondition(format!(
        "{what}: volume {} is mounted on this node at {} by {}; {mend}",
        volume.words(),
        paths.join(", "),
        first.by.words()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: &str) -> Volume {
        let volume = hawser_proto::csi::Volume { volume_id: id.to_owned(), ..Default::default() };
        Volume::bare_of(volume)
    }

    fn shown(table: &str, volume: &Volume) -> Vec<String> {
        let mounts = Mounts(MountTable::parse(table.as_bytes()).unwrap());
        let places = Places { own: vec!["/mine".into()], bridge: vec!["/b/mounts".into()] };
        let found = mounts.of(volume, &places).unwrap();
        found.iter().map(|mount| format!("{} {:?}", mount.path.display(), mount.by)).collect()
    }

    #[test]
    fn a_mount_is_recognized_by_what_only_its_volume_has() {
        let native = "0123456789abcdef0123456789abcdef-01234567";
        let id = format!("local:{native}");
        let kubelet = format!("{}{}", digest(&id), "0".repeat(32));
        let table = format!(
            "1 0 0:99 / / rw - tmpfs x rw\n\
             2 1 0:50 / /var/lib/kubelet/plugins/kubernetes.io/csi/d/{kubelet}/globalmount rw - tmpfs x rw\n\
             3 1 0:50 / /elsewhere rw - tmpfs x rw\n\
             4 1 0:50 /sub /part rw - tmpfs x rw\n\
             5 1 0:51 / /mesos/csi/local%3A{native}/staging rw - tmpfs x rw\n\
             6 1 0:52 / /b/mounts/pgdata rw - nfs4 server:/share/{native} rw\n\
             7 1 0:53 /volumes/0123456789abcdef0123456789abcdef /dir rw - ext4 x rw\n\
             8 1 0:54 / /mine rw - tmpfs x rw\n\
             9 1 0:55 / /other/local:{native}x rw - tmpfs x rw\n"
        );
        let expected = [
            format!("/var/lib/kubelet/plugins/kubernetes.io/csi/d/{kubelet}/globalmount Kubelet"),
            "/elsewhere Other".to_owned(),
            format!("/mesos/csi/local%3A{native}/staging Other"),
            "/b/mounts/pgdata Bridge".to_owned(),
            "/dir Other".to_owned(),
            "/mine Person".to_owned(),
        ];
        assert_eq!(shown(&table, &volume(&id)), expected);
    }

    #[test]
    fn an_image_of_the_same_name_may_be_anothers() {
        let native = "0123456789abcdef0123456789abcdef-01234567";
        let directory = tempfile::tempdir().unwrap();
        let (image, record) = (directory.path().join("image"), directory.path().join("record.json"));
        let marks = Marks::of(&volume(&format!("local:{native}")));
        assert!(!marks.is_anothers(&image));
        std::fs::write(&record, format!("{{\"id\":\"{native}\"}}")).unwrap();
        assert!(!marks.is_anothers(&image));
        std::fs::write(&record, "{\"id\":\"0123456789abcdef0123456789abcdef-76543210\"}").unwrap();
        assert!(marks.is_anothers(&image));
    }

    #[test]
    fn a_short_id_is_not_found_in_every_path() {
        let table = "1 0 0:99 / / rw - tmpfs x rw\n2 1 0:50 / /run/user/1000 rw - tmpfs x rw\n";
        assert!(shown(table, &volume("1000")).is_empty());
    }
}

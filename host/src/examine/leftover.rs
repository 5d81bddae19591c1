//! What is left on a machine of volumes that are gone: mounts without a device, loop devices without a file, files where a volume should
//! have been.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hawser_volume::checkup::{Check, Step};

use crate::Host;
use crate::Linux;
use crate::mountinfo::{MountEntry, MountTable};
use crate::remote;

/// What the kernel adds to the name of a file that was removed.
const DELETED: &str = " (deleted)";

/// How many of a kind are named.
const NAMED: usize = 5;

/// One look.
type Look = fn(&Remains) -> Vec<Check>;

/// Where things of Hawser's are on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// The directory below which a bridge mounts.
    pub mounts: PathBuf,
    /// The plugin's name, which COs put into the paths that they give.
    pub plugin: String,
    /// The roots of local backends.
    pub roots: Vec<PathBuf>,
    /// Where it is noted whose a device is: below it a directory a type, a directory a backend, a file a volume.
    pub notes: PathBuf,
}

impl Remains {
    /// The steps of a look at all of it.
    pub fn steps(&self) -> Vec<Step> {
        let each: [(&str, Look); 4] = [
            ("mounts", Remains::dead_mounts),
            ("loop devices", Remains::loops),
            ("directories of volumes", Remains::directories),
            ("notes of devices", Remains::stale_notes),
        ];
        each.into_iter()
            .map(|(name, look)| {
                let remains = self.clone();
                Step::new(name, move || look(&remains))
            })
            .collect()
    }

    /// Whether a mount is of a volume of ours: where a bridge mounts, where COs mount for this plugin, or of an image of ours.
    fn is_ours(&self, mount: &MountEntry) -> bool {
        let point = &mount.mount_point;
        let by_place = point.starts_with(&self.mounts) || point.components().any(|part| part.as_os_str() == self.plugin.as_str());
        let image = || Linux.loop_image_of(mount).ok().flatten();
        by_place || image().is_some_and(|image| self.is_image(&image))
    }

    fn is_image(&self, image: &Path) -> bool {
        self.roots.iter().any(|root| image.starts_with(root))
    }

    /// Mounts whose device, file or server does not know them any more.
    fn dead_mounts(&self) -> Vec<Check> {
        const STEP: &str = "mounts";
        let table = match MountTable::read() {
            Ok(table) => table,
            Err(error) => return vec![Check::wrong(STEP, error.chain(), "mount /proc")],
        };
        let ours: Vec<&MountEntry> = table.entries().iter().filter(|mount| self.is_ours(mount)).collect();
        let mut checks = Vec::new();
        for mount in &ours {
            let point = mount.mount_point.display();
            let mend = format!("stop who uses it (`fuser -vm {point}`), then unpublish the volume, or `umount {point}`");
            match self.fate(mount) {
                Ok(None) => {}
                Ok(Some(why)) => {
                    checks.push(Check::wrong(STEP, format!("{point} is mounted {why}: what is written there goes nowhere"), mend))
                }
                Err(error) => checks.push(Check::doubtful(STEP, format!("{point}: {}", error.chain()), mend)),
            }
        }
        if checks.is_empty() {
            checks.push(Check::well(STEP, format!("{} of volumes; the device of each is there", ours.len())));
        }
        checks
    }

    fn fate(&self, mount: &MountEntry) -> hawser_volume::Result<Option<&'static str>> {
        if remote::is_remote(mount) {
            // A server that is silent is told by the backend's examination; asking here would wait for it again.
            return Ok(None);
        }
        if mount.device.major == LOOP_MAJOR && is_deleted(mount.device.minor) {
            return Ok(Some("from an image that was deleted"));
        }
        Ok(Linux.is_severed(mount)?.then_some("from a device that is gone"))
    }

    /// Loop devices whose file was deleted, which keep its space, and on which nothing is mounted.
    fn loops(&self) -> Vec<Check> {
        const STEP: &str = "loop devices";
        let table = MountTable::read().unwrap_or_default();
        let mut checks = Vec::new();
        let (mut all, mut idle) = (0, Vec::new());
        for (minor, file) in bound() {
            let text = file.to_string_lossy();
            let (path, is_deleted) = text.strip_suffix(DELETED).map_or((&*text, false), |path| (path, true));
            if !self.is_image(Path::new(path)) {
                continue;
            }
            all += 1;
            let is_mounted = table.entries().iter().any(|mount| (mount.device.major, mount.device.minor) == (LOOP_MAJOR, minor));
            if is_deleted && !is_mounted {
                idle.push((minor, path.to_owned()));
            }
        }
        for (minor, path) in &idle {
            checks.push(Check::doubtful(
                STEP,
                format!("/dev/loop{minor} holds {path}, which was deleted, so its space is not free; it is not mounted here"),
                format!("see that nobody uses it (`fuser -v /dev/loop{minor}`), then `losetup -d /dev/loop{minor}`"),
            ));
        }
        if checks.is_empty() {
            checks.push(Check::well(STEP, format!("{all} of volumes; the image of each is there")));
        }
        checks
    }

    /// Files in directories on which a volume should be mounted and is not: they were written to the disk of the machine.
    fn directories(&self) -> Vec<Check> {
        const STEP: &str = "directories of volumes";
        let table = match MountTable::read() {
            Ok(table) => table,
            Err(error) => return vec![Check::wrong(STEP, error.chain(), "mount /proc")],
        };
        let kubelet = Path::new("/var/lib/kubelet/plugins/kubernetes.io/csi").join(&self.plugin);
        let mut bare: Vec<PathBuf> = Vec::new();
        for (base, names) in [(&self.mounts, &["staging", "mount"][..]), (&kubelet, &["globalmount"][..])] {
            for folder in fs::read_dir(base).into_iter().flatten().flatten() {
                bare.extend(names.iter().map(|name| folder.path().join(name)).filter(|path| table.at(path).is_empty()));
            }
        }
        // A directory that cannot be listed is not there, or below a mount that is told elsewhere.
        let has_files = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        let bare: Vec<PathBuf> = bare.into_iter().filter(|path| path.is_dir()).collect();
        let used: Vec<String> = bare.iter().filter(|path| has_files(path)).map(|path| path.display().to_string()).collect();
        if used.is_empty() {
            return vec![Check::well(STEP, format!("{} on which nothing is mounted; all are empty", bare.len()))];
        }
        let named = used.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        vec![Check::wrong(
            STEP,
            format!(
                "nothing is mounted on {named}, and there are files: they were written to the disk of this machine, not to a volume"
            ),
            "move them away, and find out who wrote there while no volume was mounted",
        )]
    }

    /// Notes of devices that are neither there nor mounted.
    fn stale_notes(&self) -> Vec<Check> {
        const STEP: &str = "notes of devices";
        let table = MountTable::read().unwrap_or_default();
        let mut all = 0;
        let mut stale = Vec::new();
        for kind in subdirectories(&self.notes) {
            for backend in subdirectories(&kind) {
                for note in fs::read_dir(&backend)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .filter(|note| !note.file_name().to_string_lossy().starts_with('.'))
                {
                    let Ok(text) = fs::read_to_string(note.path()) else { continue };
                    all += 1;
                    let numbers: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("number ")).collect();
                    let is_used = |number: &str| {
                        Path::new("/sys/dev/block").join(number).exists()
                            || table.entries().iter().any(|mount| mount.device.to_string() == number)
                    };
                    if !numbers.is_empty() && !numbers.iter().any(|number| is_used(number)) {
                        stale.push(note.path().display().to_string());
                    }
                }
            }
        }
        if stale.is_empty() {
            return vec![Check::well(STEP, format!("{all}; the device of each is there"))];
        }
        let named = stale.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ");
        vec![Check::doubtful(
            STEP,
            format!("{} of {all} are of devices that are neither there nor mounted: {named}", stale.len()),
            format!("nothing has to be done: the next boot removes them; by hand `rm {named}`"),
        )]
    }
}

/// The major number of loop devices.
const LOOP_MAJOR: u32 = 7;

fn backing(minor: u32) -> Option<PathBuf> {
    let mut name = fs::read(format!("/sys/dev/block/{LOOP_MAJOR}:{minor}/loop/backing_file")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(std::ffi::OsString::from_vec(name).into())
}

fn is_deleted(minor: u32) -> bool {
    backing(minor).is_some_and(|file| file.to_string_lossy().ends_with(DELETED))
}

/// The loop devices that are bound, by their minor numbers, with their files.
fn bound() -> Vec<(u32, PathBuf)> {
    let names = fs::read_dir("/sys/dev/block").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let minors = names.filter_map(|name| name.to_str()?.strip_prefix(&format!("{LOOP_MAJOR}:"))?.parse().ok());
    minors.filter_map(|minor| Some((minor, backing(minor)?))).collect()
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

//! A directory for one test, which takes with it what the test leaves: mounts, loop devices, files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hawser_host::{Content, Device, FilesystemInfo, FormatOptions, Host, Linux, MountOptions, Shape, Target};
use hawser_volume::{Bytes, Deadline, Filesystem, Kind};

/// The smallest image that every filesystem can be made on (XFS wants 300 MiB).
pub const SIZE: Bytes = Bytes::mib(320);

pub struct Place {
    root: PathBuf,
    _directory: tempfile::TempDir,
    _turn: Turn,
}

/// A new mount namespace has copies of all mounts, those of other tests too, and keeps their filesystems alive after they have
/// been unmounted. So a test that makes one runs alone.
static TURNS: RwLock<()> = RwLock::new(());

enum Turn {
    Together(#[expect(dead_code, reason = "held until it is dropped")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held until it is dropped")] RwLockWriteGuard<'static, ()>),
}

impl Place {
    /// A place for a test that runs beside others.
    pub fn new() -> Self {
        Self::with(Turn::Together(TURNS.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A place for a test beside which no other runs.
    pub fn alone() -> Self {
        Self::with(Turn::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with(turn: Turn) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount filesystems: run them as root");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("the directory is there");
        Self { root, _directory: directory, _turn: turn }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A new image file, all hole.
    pub fn image(&self, name: &str, size: Bytes) -> PathBuf {
        let path = self.path(name);
        File::create(&path).and_then(|file| file.set_len(size.get())).expect("create an image");
        path
    }

    /// A new image on a loop device.
    pub fn device(&self, name: &str, size: Bytes) -> Device {
        Linux.attach_loop(&self.image(name, size), false).expect("attach a loop device")
    }

    /// A device with a filesystem on it.
    pub fn formatted(&self, name: &str, filesystem: Filesystem) -> Device {
        let device = self.device(name, SIZE);
        format(&device, filesystem);
        device
    }

    pub fn directory(&self, name: &str) -> Target {
        Linux.create_target(&self.path(name), Shape::Directory).expect("create a target")
    }

    /// Mounts a device with the given options.
    pub fn mounted(&self, device: &Device, filesystem: Filesystem, name: &str, flags: &[&str]) -> PathBuf {
        let target = self.directory(name);
        Linux.mount(device, filesystem, &options(flags), &target).expect("mount");
        target.path().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for _ in 0..100 {
            let mounts = Linux.mounts().expect("mountinfo is readable");
            let Some(mount) = mounts.below(&self.root).last().map(|mount| mount.mount_point.clone()) else { break };
            let _ = Linux.thaw(&mount);
            unmount(&mount);
        }
        for entry in std::fs::read_dir("/sys/block").expect("sysfs is there").flatten() {
            let Ok(image) = std::fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
            if Path::new(&image).starts_with(&self.root) {
                let _ = Command::new("losetup").arg("-d").arg(Path::new("/dev").join(entry.file_name())).status();
            }
        }
    }
}

pub fn format(device: &Device, filesystem: Filesystem) {
    let options = FormatOptions { volume: "local:test".into(), arguments: Vec::new() };
    Linux.format(device, filesystem, &options, soon()).expect("format");
}

pub fn options(flags: &[&str]) -> MountOptions {
    MountOptions::parse(&flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()).expect("valid options")
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// What is on the device, which must be a filesystem.
pub fn info(device: &Device) -> FilesystemInfo {
    match Linux.probe(device).expect("probe") {
        Content::Filesystem(info) => info,
        other => panic!("{} holds {other:?}", device.path.display()),
    }
}

/// Runs a tool that must be there and succeed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}); install the package that has it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}: {said}", output.status);
    said
}

/// Writes so many MiB by another program. A large file that this program has open for writing would be copied into every child
/// that another test starts at this moment, whose closing of it writes it out and keeps the mount busy for that long.
pub fn fill(path: &Path, mib: u32) {
    run("sh", &["-c", &format!("yes data | head -c {mib}M > {}", text(path))]);
}

/// Whether a file is what [`fill`] wrote.
pub fn assert_filled(path: &Path, mib: u32) {
    run("sh", &["-c", &format!("yes data | head -c {mib}M | cmp - {}", text(path))]);
}

/// Unmounts, with more patience than [`Host::unmount`]: these tests start many programs side by side, each of which holds copies
/// of all that is open here until it runs, and on a loaded machine that takes its time.
pub fn unmount(path: &Path) {
    let patience = soon();
    loop {
        match Linux.unmount(path) {
            Err(error) if error.kind() == Kind::Precondition && !patience.passed() => {}
            other => return other.expect("unmount"),
        }
    }
}

/// Cuts an image or makes it longer.
pub fn resize(image: &Path, size: Bytes) {
    File::options().write(true).open(image).and_then(|file| file.set_len(size.get())).expect("resize an image");
}

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

/// Has the filesystem's own checker look at an unmounted image.
pub fn verify(image: &Path, filesystem: Filesystem) {
    match filesystem {
        Filesystem::Ext4 => run("e2fsck", &["-fn", text(image)]),
        Filesystem::Xfs => run("xfs_repair", &["-n", text(image)]),
        Filesystem::Btrfs => run("btrfs", &["check", "--readonly", text(image)]),
    };
}

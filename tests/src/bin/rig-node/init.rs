//! The first process of a node. Its root is the host's, read-only, with everything that it writes above that in its own memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use hawser_tests::notice::notice;
use hawser_tests::rig::setting::{Setting, Share};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, WaitOptions, chdir, pivot_root, wait};
use rustix::system::{RebootCommand, finit_module, reboot, sethostname};

/// Where the new root is put together.
const NEW: &str = "/run/new";

/// Sets the node up, starts the agent, and reaps whoever loses its parent.
pub fn init(setting: &Path) -> io::Result<ExitCode> {
    let told = fs::read(setting).map_err(|error| about(setting, error))?;
    let setting: Setting = serde_json::from_slice(&told)?;
    root(&setting)?;
    sethostname(setting.name.as_bytes())?;
    network(&setting.address)?;
    if let Some(disk) = &setting.scratch {
        scratch(disk, &setting.shares)?;
    }
    let program = std::env::args_os().next().unwrap_or_default();
    let agent = Command::new(program).arg("agent").arg(&setting.ready).stdin(Stdio::null()).spawn()?;
    let agent = Pid::from_child(&agent);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == agent => {
                notice(&format!("the agent ended: {status:?}"));
                reboot(RebootCommand::PowerOff)?;
            }
            _ => {}
        }
    }
}

fn about(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Puts the root together and moves into it.
fn root(setting: &Setting) -> io::Result<()> {
    attach("tmpfs", "/run", "mode=755")?;
    for directory in ["upper", "work", "new"] {
        fs::create_dir(Path::new("/run").join(directory))?;
    }
    // The kernel cannot load the one by itself before its modules are at their place; and for the other, which machines usually have
    // from the beginning, nobody asks it.
    for module in ["fs/overlayfs/overlay.ko", "drivers/block/loop.ko"] {
        insert(&setting.modules, module)?;
    }
    attach("overlay", NEW, "lowerdir=/,upperdir=/run/upper,workdir=/run/work")?;
    let new = Path::new(NEW);
    for (kind, place, options) in [
        ("proc", "proc", ""),
        ("sysfs", "sys", ""),
        ("cgroup2", "sys/fs/cgroup", ""),
        ("devtmpfs", "dev", ""),
        ("devpts", "dev/pts", "ptmxmode=0666"),
        ("tmpfs", "dev/shm", "mode=1777"),
        ("tmpfs", "run", "mode=755"),
        ("tmpfs", "tmp", "mode=1777"),
    ] {
        let place = new.join(place);
        if kind.starts_with("dev") || kind == "tmpfs" {
            fs::create_dir_all(&place)?;
        }
        attach(kind, &place, options)?;
    }
    fs::create_dir_all(new.join("run/lock"))?;
    show(&setting.modules, &new.join("usr/lib/modules"), false)?;
    shares(new, &setting.shares)?;
    chdir(new)?;
    // The old root ends up on top of the new one, and is taken from there (pivot_root(2)).
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    Ok(())
}

fn attach(kind: &str, place: impl AsRef<Path>, options: &str) -> io::Result<()> {
    let (place, options) = (place.as_ref(), std::ffi::CString::new(options)?);
    mount(kind, place, kind, MountFlags::empty(), options.as_c_str()).map_err(|error| about(place, error.into()))
}

/// Mounts a directory of the host.
fn show(directory: &Path, place: &Path, writable: bool) -> io::Result<()> {
    fs::create_dir_all(place).map_err(|error| about(place, error))?;
    let flags = if writable { MountFlags::empty() } else { MountFlags::RDONLY };
    let source = std::ffi::CString::new(directory.as_os_str().as_encoded_bytes())?;
    mount("host", place, "hostfs", flags, source.as_c_str()).map_err(|error| about(place, error.into()))
}

fn shares(root: &Path, shares: &[Share]) -> io::Result<()> {
    for Share { path, writable } in shares {
        let place = root.join(path.strip_prefix("/").unwrap_or(path));
        show(path, &place, *writable)?;
    }
    Ok(())
}

fn insert(modules: &Path, module: &str) -> io::Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let path = modules.join(release).join("kernel").join(module);
    let file = File::open(&path).map_err(|error| about(&path, error))?;
    finit_module(file, c"", 0).map_err(|error| about(&path, error.into()))
}

/// Puts a disk below `/tmp`, and the shares that are there above it.
fn scratch(disk: &Path, given: &[Share]) -> io::Result<()> {
    mount(disk, "/tmp", "ext4", MountFlags::empty(), c"").map_err(|error| about(disk, error.into()))?;
    rustix::fs::chmod("/tmp", rustix::fs::Mode::from_raw_mode(0o1777))?;
    let hidden: Vec<Share> = given.iter().filter(|share| share.path.starts_with("/tmp")).cloned().collect();
    shares(Path::new("/"), &hidden)
}

fn network(address: &str) -> io::Result<()> {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    let lines = format!("link set lo up\naddr add {address} dev vec0\nlink set vec0 up\n");
    if let Some(mut input) = ip.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    let status = ip.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ip: {status}"))) }
}

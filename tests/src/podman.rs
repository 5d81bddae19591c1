//! A real Podman with storage of its own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Workspace;
use crate::enclosure::{Enclosure, Network};
use crate::image;
use crate::kernel::Mount;
use crate::output::Output;

/// A Podman with one image, [`image::NAME`]. It has no daemon.
#[derive(Debug)]
pub struct Podman {
    machine: Enclosure,
    directory: PathBuf,
}

impl Podman {
    /// Sets it up in `workspace` with the volume drivers `plugins`: names and their sockets. Containers see what is mounted below
    /// the directories of `seen`.
    pub async fn start(workspace: &Workspace, plugins: &[(&str, &Path)], seen: &[PathBuf]) -> Self {
        let directory = workspace.directory("podman");
        let drivers: String = plugins.iter().map(|(name, socket)| format!("{name} = \"{}\"\n", socket.display())).collect();
        // Nothing is to be left in control groups or in shared memory, which the enclosure does not clean.
        let config = "[containers]\ncgroups = \"disabled\"\n[engine]\nruntime = \"crun\"\nlock_type = \"file\"\n\
                      events_logger = \"none\"\n[engine.volume_plugins]\n";
        fs::write(directory.join("containers.conf"), format!("{config}{drivers}")).unwrap();
        // crun refuses to work where both kinds of control groups are mounted, though it is to use neither.
        let setup = "mount -t tmpfs tmpfs /run; ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified";
        let machine = Enclosure::new(Network::None, seen, setup);
        let podman = Self { machine, directory };
        let archive = image::archive(&podman.directory);
        podman.run(&["import", archive.to_str().unwrap(), image::NAME]).await.well();
        podman
    }

    /// Runs it.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.machine.command("podman");
        command.env("CONTAINERS_CONF", self.directory.join("containers.conf"));
        command.arg("--root").arg(self.directory.join("data")).arg("--runroot").arg(self.directory.join("run"));
        command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"]).args(arguments);
        Output::of(command).await
    }

    /// The mounts that it sees.
    pub fn mounts(&self) -> Vec<Mount> {
        self.machine.mounts()
    }
}

//! What this machine must have for volumes, looked at one thing after another. Nothing is changed, no module is loaded, and no device is
//! read.

mod clock;
mod devices;
mod kernel;
mod leftover;
mod place;
mod privileges;
mod programs;
mod propagation;
mod units;

use std::path::PathBuf;

use hawser_volume::checkup::Step;

pub use leftover::Remains;
pub use propagation::{all as propagation, is_apart, is_shared_for};
pub use units::DIRECTORIES as UNIT_DIRECTORIES;

/// What the backends that this machine serves need of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Volumes are devices, with filesystems that are made and mounted here.
    pub filesystems: bool,
    /// Some of these devices are loop devices.
    pub loops: bool,
    /// Some are disks of EBS.
    pub nvme: bool,
    /// Some are disks of an SDC.
    pub scini: bool,
    /// Volumes are mounts of an NFS server.
    pub nfs: bool,
    /// Some of these are of version 3 with locks, for which `mount.nfs` is executed.
    pub nfs_helper: bool,
    /// Directories below which others must see what is mounted here: the kubelet's, an agent's.
    pub seen: Vec<PathBuf>,
    /// Directories that are written to, and what each is for.
    pub places: Vec<(PathBuf, &'static str)>,
}

impl Needs {
    /// The steps of a look at everything that is needed of the node side.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::one("kernel", kernel::version),
            Step::one("mounting", kernel::mounting),
            Step::new("privileges", privileges::all),
            Step::one("clock", clock::synchronised),
            Step::new("systemd", || units::all(&UNIT_DIRECTORIES.map(PathBuf::from))),
        ];
        steps.extend(kernel::steps(self));
        steps.extend(programs::steps(self));
        steps.extend(devices::steps(self));
        let seen = self.seen.clone();
        steps.push(Step::new("mount propagation", move || propagation::all(&seen)));
        for (path, purpose) in self.places.clone() {
            steps.push(Step::one(format!("space in {}", path.display()), move || place::room(&path, purpose)));
        }
        steps
    }
}

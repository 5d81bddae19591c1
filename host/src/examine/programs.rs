//! The programs that are executed, and their versions.

use std::time::Duration;

use hawser_volume::Deadline;
use hawser_volume::checkup::{Check, Step};

use super::Needs;
use crate::exec::Program;

/// How long a program may take to say its version.
const VERSION_WITHIN: Duration = Duration::from_secs(5);

/// A program, how it is asked for its version, what fails without it, and the packages that have it.
struct Known {
    name: &'static str,
    version: &'static str,
    without: &'static str,
    package: &'static str,
    is_needed: bool,
}

const MAKERS: [Known; 4] = [
    Known {
        name: "mkfs.ext4",
        version: "-V",
        without: "a new volume of ext4, which is what a volume gets when nothing else is asked for, cannot be formatted",
        package: "e2fsprogs",
        is_needed: true,
    },
    Known {
        name: "e2fsck",
        version: "-V",
        without: "an ext4 that has noted errors is not repaired, and its volume is refused",
        package: "e2fsprogs",
        is_needed: false,
    },
    Known {
        name: "mkfs.xfs",
        version: "-V",
        without: "a new volume of xfs cannot be formatted",
        package: "xfsprogs",
        is_needed: false,
    },
    Known {
        name: "mkfs.btrfs",
        version: "--version",
        without: "a new volume of btrfs cannot be formatted",
        package: "btrfs-progs",
        is_needed: false,
    },
];

const NFS: Known = Known {
    name: "mount.nfs",
    version: "-V",
    without: "NFSv3 with locks cannot be mounted",
    package: "nfs-common or nfs-utils",
    is_needed: true,
};

pub(super) fn steps(needs: &Needs) -> Vec<Step> {
    let makers = needs.filesystems.then_some(MAKERS).into_iter().flatten();
    let helper = needs.nfs_helper.then_some(NFS);
    makers.chain(helper).map(|program| Step::one(program.name, move || installed(&program))).collect()
}

fn installed(known: &Known) -> Check {
    let program = Program::new(known.name);
    let place = match program.find() {
        Ok(place) => place,
        Err(_) => {
            let why = format!("it is not in PATH or the usual directories: {}", known.without);
            let mend = format!("install {}, in the container's image where Hawser runs in one", known.package);
            return if known.is_needed { Check::wrong(known.name, why, mend) } else { Check::doubtful(known.name, why, mend) };
        }
    };
    match program.argument(known.version).run(Deadline::after(VERSION_WITHIN)) {
        Ok(outcome) if outcome.code == Some(0) || !outcome.output.trim().is_empty() => {
            let version = outcome.output.lines().next().unwrap_or_default().trim();
            Check::well(known.name, format!("{}: {version}", place.display()))
        }
        Ok(outcome) => Check::wrong(
            known.name,
            format!("{} does not run ({}): {}", place.display(), outcome.status, known.without),
            format!("install {} anew", known.package),
        ),
        Err(error) => Check::wrong(
            known.name,
            format!("{} does not run: {}: {}", place.display(), error.chain(), known.without),
            format!("install {} anew", known.package),
        ),
    }
}

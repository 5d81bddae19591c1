//! The SDC of ScaleIO on this machine: a driver that makes disks of volumes, and its program `drv_cfg`.
//!
//! Who the SDC is, and that it should look at its volumes anew, is said to the driver itself (goscaleio, `drv_cfg.go`; os-brick,
//! `privileged/scaleio.py`). Which volume a disk is, the kernel does not know: the driver tells it to `drv_cfg`, from which udev has the
//! names of its links as well.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_volume::error::shown;
use hawser_volume::{Deadline, Error, Kind, Result};
use uuid::Uuid;

use crate::errno::{self, Attempt};
use crate::exec::{Program, quoted};
use crate::ioctl::{self, SdcAnswer};

/// Where the driver is asked.
pub const CONTROL: &str = "/dev/scini";

/// Where `drv_cfg` is installed: from release 2.0 on, and before.
const DRV_CFG: [&str; 2] = ["/opt/emc/scaleio/sdc/bin/drv_cfg", "/bin/emc/scaleio/drv_cfg"];

/// What the driver answers when it has done what was asked.
const DONE: u8 = b'A';

/// How long `drv_cfg` may take for an answer. It asks nobody but the driver.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The SDC, as far as disks are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sdc {
    drv_cfg: PathBuf,
}

impl Sdc {
    /// The SDC with this `drv_cfg`, or with the one that is installed. `Precondition` when there is none.
    pub fn new(drv_cfg: Option<&Path>) -> Result<Self> {
        let candidates: Vec<PathBuf> = match drv_cfg {
            Some(path) => vec![path.to_owned()],
            None => DRV_CFG.iter().map(PathBuf::from).collect(),
        };
        let listed = candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ");
        let found = candidates.into_iter().find(|path| path.is_file());
        found.map(|drv_cfg| Self { drv_cfg }).ok_or_else(|| {
            Error::precondition(format!(
                "there is no {listed}, by which the SDC tells which volume a disk is; install the SDC, let a container see it, or \
                 correct node.drv-cfg"
            ))
        })
    }

    /// Where its program is.
    pub fn path(&self) -> &Path {
        &self.drv_cfg
    }

    /// How many systems the SDC knows the managers (MDMs) of. `Unavailable` when it does not tell.
    pub fn managers(&self) -> Result<usize> {
        let asked = Program::new(self.drv_cfg.to_string_lossy())
            .argument("--query_mdm")
            .run(Deadline::after(ANSWERS_WITHIN))
            .map_err(|error| error.with_kind(Kind::Unavailable))?;
        if asked.code != Some(0) {
            return Err(Error::unavailable(format!(
                "{} does not tell which MDMs it knows ({}){}",
                self.drv_cfg.display(),
                asked.status,
                quoted(&asked.output)
            )));
        }
        // A line a system: `MDM-ID 14dbbf5617523654 SDC ID … IPs [0]-10.0.0.1` (goscaleio: drv_cfg.go, DrvCfgQuerySystems). What a program
        // wrote is kept as one line of words.
        Ok(asked.output.split(' ').filter(|word| *word == "MDM-ID").count())
    }

    /// Which volume the disk at `path` is, as the driver tells it: the ids of its system and its own, `SYSTEM-VOLUME`. `Unavailable` when
    /// it does not tell.
    pub(crate) fn volume_of(&self, path: &Path) -> Result<String> {
        let asked = Program::new(self.drv_cfg.to_string_lossy())
            .arguments(["--query_block_device_id", "--block_device"])
            .argument(path)
            .run(Deadline::after(ANSWERS_WITHIN))
            .map_err(|error| error.with_kind(Kind::Unavailable))?;
        if asked.code != Some(0) {
            return Err(Error::unavailable(format!(
                "{} does not tell which volume {} is ({}){}",
                self.drv_cfg.display(),
                path.display(),
                asked.status,
                quoted(&asked.output)
            )));
        }
        volume_in(&asked.output).ok_or_else(|| {
            Error::unavailable(format!(
                "{} says that {} is {}, which is no volume",
                self.drv_cfg.display(),
                path.display(),
                shown(&asked.output)
            ))
        })
    }
}

/// The volume in the words of `drv_cfg`: the name of its link in `/dev/disk/by-id`, or what is behind `emc-vol-` there.
fn volume_in(words: &str) -> Option<String> {
    let text = words.trim();
    let text = text.strip_prefix("emc-vol-").unwrap_or(text);
    let is_id = |part: &str| part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let (system, volume) = text.split_once('-')?;
    (is_id(system) && is_id(volume)).then(|| text.to_ascii_lowercase())
}

/// The GUID of this machine's SDC, in capitals. `Precondition` when no driver of an SDC is loaded, or this process may not ask it.
pub fn guid() -> Result<String> {
    let what = || format!("ask {CONTROL} for the GUID of the SDC");
    let absent = |error: Error| error.with_kind(Kind::Precondition);
    let control = File::open(CONTROL).attempt(what).map_err(absent)?;
    let mut answer = SdcAnswer::default();
    ioctl::sdc_guid(&control, &mut answer).attempt(what).map_err(absent)?;
    if answer.code[0] != DONE || answer.guid == [0; 16] {
        return Err(Error::precondition(format!("{}: it answers with code {}", what(), answer.code[0])));
    }
    Ok(Uuid::from_bytes(answer.guid).to_string().to_ascii_uppercase())
}

/// Has the SDC look at its volumes anew: which there are, and how large.
pub(crate) fn rescan() -> Result<()> {
    let what = || format!("have {CONTROL} look at its volumes anew");
    let control = File::open(CONTROL).attempt(what)?;
    ioctl::sdc_rescan(&control, &mut SdcAnswer::default()).map_err(|errno| errno::error(what(), errno))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const ID: &str = "14dbbf5617523654-d3b2a1c000000001";

    fn saying(script: &str) -> (tempfile::TempDir, Sdc) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("drv_cfg");
        // Written by another process: a program that this one has open for writing, or a child that is just being started, cannot run.
        let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod +x \"$0\"";
        assert!(Command::new("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap().success());
        let sdc = Sdc::new(Some(&path)).unwrap();
        (place, sdc)
    }

    #[test]
    fn what_it_says_is_a_volume_or_nothing() {
        assert_eq!(volume_in(ID).as_deref(), Some(ID));
        assert_eq!(volume_in(&format!("emc-vol-{ID}\n")).as_deref(), Some(ID));
        assert_eq!(volume_in(&ID.to_uppercase()).as_deref(), Some(ID));
        for other in ["", "-", "emc-vol-", "14dbbf5617523654", "14dbbf5617523654-d3b2a1c000000001-part1", "no such device", "a-b"]
        {
            assert_eq!(volume_in(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_program_is_asked_for_the_path_and_its_silence_is_no_answer() {
        let (_place, sdc) = saying(&format!("[ \"$*\" = '--query_block_device_id --block_device /dev/scinia' ] && echo {ID}"));
        assert_eq!(sdc.volume_of(Path::new("/dev/scinia")).unwrap(), ID);
        let error = sdc.volume_of(Path::new("/dev/scinib")).unwrap_err();
        assert!(error.kind() == Kind::Unavailable && error.to_string().contains("/dev/scinib is (exit code 1)"), "{error}");
        let (_place, sdc) = saying("echo 'Error: no such device'");
        let error = sdc.volume_of(Path::new("/dev/scinia")).unwrap_err();
        assert!(error.kind() == Kind::Unavailable && error.to_string().contains("which is no volume"), "{error}");
    }

    #[test]
    fn the_systems_that_it_knows_are_counted() {
        let line = "MDM-ID 14dbbf5617523654 SDC ID d3b2a1c000000001 INSTALLATION ID 5a IPs [0]-10.0.0.1 [1]-10.0.0.2";
        let (_place, sdc) = saying(&format!("[ \"$*\" = --query_mdm ] && echo Retrieved 1 mdm && echo '{line}'"));
        assert_eq!(sdc.managers().unwrap(), 1);
        let (_place, sdc) = saying("echo Retrieved 0 mdms");
        assert_eq!(sdc.managers().unwrap(), 0);
        let (_place, sdc) = saying("exit 3");
        assert_eq!(sdc.managers().unwrap_err().kind(), Kind::Unavailable);
    }

    #[test]
    fn a_machine_without_an_sdc_says_what_is_missing() {
        let error = Sdc::new(Some(Path::new("/nowhere/drv_cfg"))).unwrap_err();
        assert!(error.kind() == Kind::Precondition && error.to_string().contains("/nowhere/drv_cfg"), "{error}");
        // Nowhere that tests run is the driver of an SDC.
        assert_eq!(guid().unwrap_err().kind(), Kind::Precondition);
        assert!(rescan().is_err());
    }
}

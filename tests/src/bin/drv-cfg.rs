//! The `drv_cfg` of the stand-in for an SDC (`hawser_tests::rig::Sdc`): two of the questions that Dell's answers, in its form.
//!
//! A program and no script, as each command of a shell costs a node of the rig tens of milliseconds, and this is asked for every disk
//! again and again.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use hawser_tests::rig::sdc_disks;
use rustix::fs::{major, minor};

/// Where the driver says who it is.
const GUID: &str = "/sys/module/scini/parameters/guid";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = match words[..] {
        ["--query_guid", ..] => fs::read_to_string(GUID),
        ["--query_block_device_id", _, node, ..] => volume_of(node),
        [option, ..] => Err(io::Error::other(format!("unknown option {option}"))),
        [] => Err(io::Error::other("unknown option")),
    };
    let said = match &answer {
        Ok(words) => io::stdout().write_all(words.as_bytes()),
        Err(error) => io::stderr().write_all(format!("{error}\n").as_bytes()),
    };
    if answer.is_ok() && said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The driver is asked by the node that it is given, whatever that is called.
fn volume_of(node: &str) -> io::Result<String> {
    let number = fs::metadata(node)?.rdev();
    let told = fs::read_to_string(format!("/sys/dev/block/{}:{}/uevent", major(number), minor(number)));
    let told = told.map_err(|_| io::Error::other("no such device"))?;
    let name = told.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let found = sdc_disks()?.into_iter().find(|(disk, _)| Some(disk.as_str()) == name);
    let (_, volume) = found.ok_or_else(|| io::Error::other(format!("{node} is not a disk of the SDC")))?;
    Ok(format!("{volume}\n"))
}

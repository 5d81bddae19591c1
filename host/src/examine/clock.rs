//! Whether somebody keeps the clock right: signatures of requests and leases are refused by the time in them.

use hawser_volume::checkup::Check;

use crate::ioctl;

const STEP: &str = "clock";

/// What the kernel knows of it (adjtimex(2)): whether a daemon has said of late that it is right.
pub(super) fn synchronised() -> Check {
    match ioctl::is_clock_synchronised() {
        Ok(true) => Check::well(STEP, "it is kept right (NTP)"),
        Ok(false) => Check::doubtful(
            STEP,
            "nobody keeps it right (the kernel's state is unsynchronised); requests that are signed with a wrong time are refused",
            "run an NTP client: `timedatectl set-ntp true`, or chrony",
        ),
        Err(error) => Check::doubtful(
            STEP,
            format!("the kernel does not say whether it is kept right: {error}"),
            "see whether an NTP client runs here: `timedatectl`, `chronyc tracking`",
        ),
    }
}

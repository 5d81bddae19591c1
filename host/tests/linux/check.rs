//! Repairing what a superblock says is broken.

use std::time::Duration;

use hawser_host::{Host, Linux};
use hawser_volume::{Deadline, Filesystem, Kind};

use crate::place::{Place, info, run, soon, text};

#[test]
fn nothing_is_run_when_nothing_is_wrong() {
    for filesystem in Filesystem::ALL {
        let place = Place::new();
        let device = place.formatted("image", filesystem);
        // A deadline in the past: a program that was started would be reported as killed.
        Linux.check(&device, filesystem, Deadline::after(Duration::ZERO)).unwrap();
    }
}

#[test]
fn recorded_errors_are_repaired() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    for field in ["state 2", "error_count 7"] {
        run("debugfs", &["-w", "-R", &format!("set_super_value {field}"), text(&device.path)]);
        assert!(info(&device).has_errors, "{field}");
        Linux.check(&device, Filesystem::Ext4, soon()).unwrap();
        assert!(!info(&device).has_errors, "{field}");
    }
    place.mounted(&device, Filesystem::Ext4, "mount", &[]);
}

#[test]
fn what_needs_a_decision_is_left_to_people() {
    let place = Place::new();
    let device = place.formatted("image", Filesystem::Ext4);
    run("debugfs", &["-w", "-R", "clri <2>", text(&device.path)]);
    run("debugfs", &["-w", "-R", "set_super_value state 2", text(&device.path)]);
    device.flush().unwrap();
    let error = Linux.check(&device, Filesystem::Ext4, soon()).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.to_string().contains("RUN fsck MANUALLY"), "{error:?}");
}

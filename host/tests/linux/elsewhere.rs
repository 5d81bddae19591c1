//! Who else sees a mount.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hawser_host::elsewhere::{Sight, elsewhere};
use hawser_volume::Filesystem;

use crate::place::Place;

/// A process with mounts of its own, as `script` made them.
struct Other(Child);

impl Other {
    fn new(script: &str, propagation: &str) -> Self {
        let script = format!("{script}; echo ready; exec sleep 1000");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", propagation, "sh", "-ec", &script]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("unshare of util-linux is installed");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said).expect("it says something");
        assert_eq!(said, "ready\n");
        Self(child)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

#[test]
fn a_container_is_found_whatever_becomes_of_what_it_was_given() {
    let place = Place::alone();
    let device = place.device("image", crate::place::SIZE);
    crate::place::format(&device, Filesystem::Ext4);
    let [staging, target] = ["staging", "target"].map(|name| place.mounted(&device, Filesystem::Ext4, name, &[]));
    let inside = place.directory("inside");
    let ask = || elsewhere(&[vec![target.clone(), staging.clone()]]).unwrap().remove(0);
    assert_eq!(ask(), None);
    let bind = |to: &Path| format!("mount --bind {} {}", target.display(), to.display());
    {
        // As a container engine does it: a bind in another namespace.
        let container = Other::new(&bind(inside.path()), "slave");
        assert_eq!(ask(), Some(Sight { process: container.0.id(), path: inside.path().to_owned() }));
        // One volume of two is in use.
        let found = elsewhere(&[vec![place.path("nosuch")], vec![target.clone()]]).unwrap();
        assert!(found[0].is_none() && found[1].is_some());
        crate::place::unmount(&target);
        assert!(ask().is_some(), "it outlives the mount that it was made of");
    }
    assert_eq!(ask(), None);
    // Somebody who sees everything of this machine below another directory does not use the volume.
    let machine = place.directory("machine");
    let _all = Other::new(&format!("mount --rbind / {}", machine.path().display()), "slave");
    assert_eq!(ask(), None);
}

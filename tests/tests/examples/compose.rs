//! The Compose files, run by Compose on a real Docker engine, with an image made of this machine's programs.

use std::fs;
use std::path::{Path, PathBuf};

use hawser_tests::Workspace;
use hawser_tests::docker::Docker;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::image;
use hawser_tests::kernel::may_grow_ext4;
use hawser_tests::output::Output;
use hawser_tests::poll::until_async;
use serde_json::Value;

use crate::{accepted, chart, root_of};

/// The image of the driver.
const DRIVER: &str = "localhost/hawser-node";

/// What the application does in the test.
const APPLICATION: &str = "
services:
  postgres:
    command: [sh, -c, \"echo started >> /data/letter; exec sleep 1000\"]
    network_mode: none
    stop_signal: KILL
";

/// In place of `privileged` on a machine that withholds a capability itself, where runc cannot give them all.
const PRIVILEGED: &str = "
services:
  hawser:
    privileged: false
    cap_add: [SYS_ADMIN, SYS_PTRACE, MKNOD, DAC_READ_SEARCH]
    security_opt: [apparmor:unconfined, seccomp:unconfined]
    device_cgroup_rules: [\"b *:* rwm\", \"c *:* rwm\"]
";

/// An engine and its Compose.
struct Site {
    docker: Docker,
    workspace: PathBuf,
}

impl Site {
    /// Compose with a file of the example.
    async fn compose(&self, file: &str, line: &str) -> Output {
        let mut command = self.docker.client("docker-compose");
        command.args(["--project-name", file, "--file"]).arg(chart(&format!("examples/compose/{file}.yaml")));
        let more = match file {
            "postgres" => Some(APPLICATION),
            _ => (!may_grow_ext4()).then_some(PRIVILEGED),
        };
        if let Some(more) = more {
            let path = self.workspace.join(format!("{file}.yaml"));
            fs::write(&path, more).unwrap();
            command.arg("--file").arg(path);
        }
        command.args(line.split(' ')).env("HAWSER_IMAGE", DRIVER).env("APP_IMAGE", image::NAME);
        Output::of(command).await
    }

    async fn docker(&self, line: &str) -> Output {
        self.docker.run(&line.split(' ').collect::<Vec<_>>()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_has_its_volume_through_the_compose_files() {
    let footing = Footing::of(Ground::Xfs);
    let workspace = Workspace::within(footing.path());
    let home = workspace.directory("home");
    // The machine's /var/lib/hawser, shared, as a host's root is.
    let setup = format!(
        "mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/hawser && mount --bind '{}' /var/lib/hawser && mount --make-shared /var/lib/hawser",
        home.display()
    );
    let docker = Docker::start_on(&workspace, &[footing.path().to_owned()], "{}", &setup).await;
    let archive = archive(&workspace.directory("image"));
    let change = ["--change", "ENTRYPOINT [\"/usr/bin/hawser\"]", "--change", "ENV PATH=/usr/sbin:/usr/bin"];
    docker.run(&[&["import"], &change[..], &[archive.to_str().unwrap(), DRIVER]].concat()).await.well();
    let site = Site { docker, workspace: workspace.path().to_owned() };

    site.compose("driver", "up --detach").await.well();
    let socket = site.docker.plugins().join("hawser.sock");
    until_async("the socket of the driver", async || {
        let state = site.docker("inspect --format {{.RestartCount}} driver_hawser_1").await.well();
        assert_eq!(state, "0", "{:?}", site.compose("driver", "logs").await);
        socket.exists().then_some(())
    })
    .await;
    for round in 1..=2 {
        site.compose("postgres", "up --detach").await.well();
        let said = site.docker("exec postgres_postgres_1 cat /data/letter").await.well();
        assert_eq!(said.lines().count(), round, "{said}");
        let mounts = site.docker("exec postgres_postgres_1 cat /proc/mounts").await.well();
        assert!(mounts.lines().any(|line| line.starts_with("/dev/loop") && line.contains(" /data ext4 ")), "{mounts}");
        site.compose("postgres", "down").await.well();
    }
    let shown: Value = serde_json::from_str(&site.docker("volume inspect pgdata").await.well()).unwrap();
    assert_eq!((&shown[0]["Driver"], &shown[0]["Status"]["size"]), (&"hawser".into(), &"20GiB".into()));
    site.docker("volume rm pgdata").await.well();
    assert_eq!(fs::read_dir(home.join("local/volumes")).unwrap().count(), 0);
    site.compose("driver", "down").await.well();
    assert!(!socket.exists(), "the driver has left its socket");
    site.docker.finish();
}

/// An archive of what the image of a node has in it, made below `directory`.
fn archive(directory: &Path) -> PathBuf {
    let (root, archive) = (root_of("node", directory), directory.join("node.tar"));
    hawser_tests::kernel::run(
        "tar",
        &["--create", "--file", archive.to_str().unwrap(), "--directory", root.to_str().unwrap(), "."],
    );
    archive
}

#[test]
fn the_program_reads_what_compose_gives_it() {
    accepted::configuration(&fs::read_to_string(chart("examples/compose/hawser.yaml")).unwrap()).unwrap();
    let text = fs::read_to_string(chart("examples/compose/driver.yaml")).unwrap();
    let command = text.lines().find_map(|line| line.trim().strip_prefix("command: [")).unwrap().strip_suffix(']').unwrap();
    let words: Vec<String> = command.split(", ").map(|word| word.trim_matches('"').to_owned()).collect();
    assert_eq!(words[0], "bridge");
    accepted::arguments(&words).unwrap();
}

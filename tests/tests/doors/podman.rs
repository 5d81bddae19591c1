//! Podman, which waits for 5 s, and believes that a volume is mounted when it was not told that it was unmounted.

use hawser_tests::faults::Fault;
use hawser_tests::output::Output;
use hawser_tests::podman::Podman;
use hawser_tests::{Workspace, image};

use hawser_tests::bridges::{AGENTS, Bridges};

use crate::SMALL;

/// A Podman whose volume driver `hawser` is the bridge of the first agent, with a volume `letters`.
struct Engine {
    podman: Podman,
    _workspace: Workspace,
}

impl Engine {
    async fn start(bridges: &Bridges) -> Self {
        let workspace = Workspace::new();
        let podman = Podman::start(&workspace, &[("hawser", &bridges.plugin(AGENTS[0]))], &bridges.shared).await;
        podman.run(&[&["volume", "create", "--driver", "hawser"], &SMALL[..], &["letters"]].concat()).await.well();
        Self { podman, _workspace: workspace }
    }

    /// Runs a container with the volume at `/data` to its end.
    async fn run(&self, shell: &str) -> Output {
        self.podman.run(&["run", "--rm", "--network", "none", "-v", "letters:/data", image::NAME, "sh", "-c", shell]).await
    }
}

/// Podman gives up, and never says that it does not need the volume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_podman_did_not_wait_for_is_found_by_the_next_and_kept_by_nobody() {
    let bridges = Bridges::start_with_faults(&["grace: 2s", "reconcile-every: 1s"]).await;
    let engine = Engine::start(&bridges).await;
    let mut faults = bridges.faults(AGENTS[0]);
    for comes_back in [true, false] {
        faults.arm_at("provisioner.attach", Fault::Hold);
        let said = engine.run("echo hello > /data/letter").await.badly();
        assert!(said.contains("deadline exceeded"), "{said}");
        assert_eq!(faults.disarm().as_deref(), Some("provisioner.attach"));
        if comes_back {
            engine.run("echo hello > /data/letter").await.well();
        }
    }
    // By itself, with nobody asking.
    bridges.until_unmounted();
    let path = bridges.agent(AGENTS[1]).mount("letters", &[]).await.unwrap();
    assert_eq!(std::fs::read_to_string(path.join("letter")).unwrap(), "hello\n");
    bridges.agent(AGENTS[1]).unmount("letters").await.unwrap();
    drop(engine);
    bridges.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_whose_mount_podman_did_not_wait_for_can_be_removed() {
    let bridges = Bridges::start_with_faults(&[]).await;
    let engine = Engine::start(&bridges).await;
    let mut faults = bridges.faults(AGENTS[0]);
    faults.arm_at("provisioner.attach", Fault::Hold);
    engine.run("true").await.badly();
    faults.disarm();
    engine.podman.run(&["volume", "rm", "letters"]).await.well();
    assert_eq!(bridges.mounted(), 0);
    drop(engine);
    bridges.finish();
}

/// A Podman that is told late that a volume is unmounted starts the next containers with whatever is at its path then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmount_that_takes_long_does_not_put_containers_on_the_local_disk() {
    let bridges = Bridges::start_with_faults(&[]).await;
    let engine = Engine::start(&bridges).await;
    engine.run("echo hello > /data/letter").await.well();
    let mut faults = bridges.faults(AGENTS[0]);
    faults.arm_at("attacher.detach", Fault::Hold);
    engine.run("cat /data/letter").await.well();
    // The volume is not at its path any more, and is not back yet.
    let said = engine.run("echo hello > /data/misplaced").await.badly();
    assert!(said.contains("deadline exceeded"), "{said}");
    assert_eq!(faults.disarm().as_deref(), Some("attacher.detach"));
    assert_eq!(engine.run("ls /data").await.well(), "letter\nlost+found");
    drop(engine);
    bridges.finish();
}

/// The words of a refusal are what a user needs, so it comes before Podman gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_hears_who_has_the_volume() {
    let bridges = Bridges::start().await;
    let engine = Engine::start(&bridges).await;
    bridges.agent(AGENTS[1]).mount("letters", &[]).await.unwrap();
    let said = engine.run("true").await.badly();
    assert!(said.contains("held by node agent-2"), "{said}");
    bridges.agent(AGENTS[1]).unmount("letters").await.unwrap();
    engine.run("true").await.well();
    drop(engine);
    bridges.finish();
}

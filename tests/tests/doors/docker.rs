//! Docker, and what its users must never get: another directory than their volume, or a volume that no one can have any more.

use std::os::unix::fs::symlink;
use std::time::Duration;

use hawser_tests::docker::Docker;
use hawser_tests::faults::Fault;
use hawser_tests::output::Output;
use hawser_tests::podman::Podman;
use hawser_tests::poll::until_async;
use hawser_tests::{Workspace, image};

use hawser_tests::bridges::{AGENTS, Bridges};

use crate::SMALL;

/// An engine whose volume driver `hawser` is the bridge of an agent.
struct Engine {
    docker: Docker,
    workspace: Workspace,
}

impl Engine {
    async fn start(bridges: &Bridges, agent: &str, config: &str) -> Self {
        let workspace = Workspace::new();
        let docker = Docker::start_with(&workspace, &bridges.shared, config).await;
        symlink(bridges.plugin(agent), docker.plugins().join("hawser.sock")).unwrap();
        Self { docker, workspace }
    }

    /// Runs the client with the words of `line`.
    async fn docker(&self, line: &str) -> Output {
        self.docker.run(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// Makes the volume `letters`.
    async fn create(&self) {
        self.docker.run(&[&["volume", "create", "--driver", "hawser"], &SMALL[..], &["letters"]].concat()).await.well();
    }

    /// Runs a container with the volume at `/data` to its end.
    async fn run(&self, shell: &str) -> Output {
        self.docker.run(&["run", "--rm", "--network", "none", "-v", "letters:/data", image::NAME, "sh", "-c", shell]).await
    }

    /// Starts a container with the volume at `/data` that goes on.
    async fn begin(&self, name: &str) {
        let line =
            format!("run --detach --network none --stop-signal KILL --name {name} -v letters:/data {} sleep 1000", image::NAME);
        self.docker(&line).await.well();
    }

    /// Whether Docker has made a volume of its own under the name.
    fn has_local_volume(&self) -> bool {
        self.workspace.path().join("docker/data/volumes/letters").exists()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_and_podman_use_the_same_volume() {
    let bridges = Bridges::start().await;
    let engine = Engine::start(&bridges, AGENTS[0], "{}").await;
    let workspace = Workspace::new();
    let podman = Podman::start(&workspace, &[("hawser", &bridges.plugin(AGENTS[0]))], &bridges.shared).await;
    engine.create().await;
    engine.run("echo hello > /data/letter").await.well();
    let shown: serde_json::Value = serde_json::from_str(&engine.docker("volume inspect letters").await.well()).unwrap();
    assert_eq!((shown[0]["Scope"].as_str(), shown[0]["Status"]["size"].as_str()), (Some("global"), Some("64MiB")));
    podman.run(&[&["volume", "create", "--driver", "hawser"], &SMALL[..], &["letters"]].concat()).await.well();
    let read = ["run", "--rm", "--network", "none", "-v", "letters:/data", image::NAME, "cat", "/data/letter"];
    assert_eq!(podman.run(&read).await.well(), "hello");
    podman.run(&["volume", "rm", "letters"]).await.well();
    assert!(!engine.docker("volume ls").await.well().contains("letters"), "the volume is still there");
    engine.docker.finish();
    drop(podman);
    bridges.finish();
}

/// The volume was made on the other agent, and Docker here has heard of it. Then the storage system is away. Every answer to Get would
/// be taken for "there is no such volume", and the container would write to the local disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_cannot_be_asked_for_is_not_made_on_the_local_disk() {
    let bridges = Bridges::start_with_faults(&["reconcile-every: 1h"]).await;
    let engine = Engine::start(&bridges, AGENTS[1], "{}").await;
    bridges.agent(AGENTS[0]).mount("letters", &["size=64MiB", "newFsType=ext4"]).await.unwrap();
    bridges.agent(AGENTS[0]).unmount("letters").await.unwrap();
    assert!(engine.docker("volume create --driver hawser other").await.badly().contains("size"));
    engine.docker("volume inspect letters").await.well();
    let mut faults = bridges.faults(AGENTS[1]);
    faults.arm_at("provisioner.list", Fault::Hold);
    let said = engine.run("echo hello > /data/misplaced").await.badly();
    assert!(said.contains("error while checking if volume \"letters\" exists in driver \"hawser\""), "{said}");
    assert!(!engine.has_local_volume(), "on the local disk");
    assert_eq!(faults.disarm().as_deref(), Some("provisioner.list"));
    engine.run("test ! -e /data/misplaced && echo hello > /data/letter").await.well();
    assert!(!engine.has_local_volume());
    engine.docker.finish();
    bridges.finish();
}

/// Whatever a killed engine has forgotten, its volume is free when its containers are gone: it leaves this agent by itself, and can be
/// removed at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_died_with_their_engine_do_not_keep_a_volume() {
    let bridges = Bridges::start_with(&["grace: 2s", "reconcile-every: 1s"]).await;
    let mut engine = Engine::start(&bridges, AGENTS[0], "{}").await;
    engine.create().await;
    engine.begin("forgotten").await;
    engine.docker.kill_process();
    engine.docker.start_again().await;
    engine.docker("rm --force forgotten").await.well();
    bridges.until_unmounted();
    let path = bridges.agent(AGENTS[1]).mount("letters", &[]).await.unwrap();
    assert!(path.exists());
    bridges.agent(AGENTS[1]).unmount("letters").await.unwrap();
    engine.docker.finish();
    bridges.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_of_forgotten_containers_can_be_removed() {
    let bridges = Bridges::start().await;
    let mut engine = Engine::start(&bridges, AGENTS[0], "{}").await;
    engine.create().await;
    engine.begin("forgotten").await;
    // Somebody else, who lives, of whom this engine knows nothing.
    let other = Engine::start(&bridges, AGENTS[0], "{}").await;
    other.create().await;
    other.begin("lives").await;
    engine.docker.kill_process();
    engine.docker.start_again().await;
    engine.docker("rm --force forgotten").await.well();
    until_async("the refusal that names who lives", async || {
        let said = engine.docker("volume rm letters").await.badly();
        assert!(said.contains("volume letters is in use on this node"), "{said}");
        (said.contains(" has it at /data")).then_some(())
    })
    .await;
    other.docker("exec lives ls /data/lost+found").await.well();
    other.docker("rm --force lives").await.well();
    engine.docker("volume rm letters").await.well();
    assert_eq!(bridges.mounted(), 0);
    other.docker.finish();
    engine.docker.finish();
    bridges.finish();
}

/// With live-restore containers live while their engine does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_outlives_its_engine_keeps_its_volume() {
    let bridges = Bridges::start_with(&["grace: 1s", "reconcile-every: 1s", "wait-for-holder: 1s"]).await;
    let mut engine = Engine::start(&bridges, AGENTS[0], r#"{"live-restore": true}"#).await;
    engine.create().await;
    engine.begin("lives").await;
    engine.docker.kill_process();
    // Enough for several comparisons.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let refused = bridges.agent(AGENTS[1]).mount("letters", &[]).await.unwrap_err();
    assert!(refused.contains("held by node agent-1"), "{refused}");
    assert_eq!(bridges.mounted(), 2, "staged and published");
    engine.docker.start_again().await;
    engine.docker.run(&["exec", "lives", "sh", "-c", "echo hello > /data/letter"]).await.well();
    engine.docker("rm --force lives").await.well();
    bridges.until_unmounted();
    assert_eq!(engine.run("cat /data/letter").await.well(), "hello");
    engine.docker.finish();
    bridges.finish();
}

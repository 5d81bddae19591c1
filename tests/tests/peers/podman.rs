//! Podman 4.3 and a volume plugin, API v1, on a unix socket that its configuration names.
//!
//! # What it asks
//! - `Plugin.Activate` with every command that has to do with a volume, and never `VolumeDriver.Capabilities`.
//! - `POST`, bodies in JSON, `Content-Type: application/vnd.docker.plugins.v1.1+json`, no `Accept`.
//! - `Create` once, when the user makes the volume. `podman run` never makes one of a plugin; a name that it does not know becomes
//!   a volume on the local disk.
//! - `Mount` before the first container that uses the volume starts, `Unmount` after the last one has ended: Podman counts. The `ID`
//!   is the same for all containers and all volumes.
//!
//! # What it makes of the answer
//! - A refusal of `Create` or `Mount` is shown to the user, with the plugin's words. No `Unmount` follows a refused `Mount`.
//! - **A refusal of `Unmount` is shown to nobody, and from then on Podman takes the volume for mounted: the next containers start
//!   without `Mount`, on what is at the mount point then.** Only removing the volume asks for `Unmount` again.
//! - A refusal of `Get` makes `volume rm` forget the volume, and the plugin is not asked to remove it.
//! - No connection: the command fails at once.
//! - **It waits for 5 s only** (`volume_plugin_timeout`), also for `Mount`. Then the container does not start, and no `Unmount`
//!   follows. Whoever is slower has to be quicker the second time. An `Unmount` that is answered later counts as refused.

use std::fs;
use std::time::Duration;

use hawser_tests::output::Output;
use hawser_tests::podman::Podman;
use hawser_tests::{Workspace, image};
use serde_json::Value;

use crate::traces::Traces;
use crate::volume_plugin::VolumePlugin;

/// A Podman, a plugin `driver` for it, and what there was before.
struct Setting {
    podman: Podman,
    plugin: VolumePlugin,
    workspace: Workspace,
    traces: Traces,
}

impl Setting {
    async fn new() -> Self {
        let (traces, workspace) = (Traces::now(), Workspace::new());
        let socket = workspace.path().join("driver.sock");
        let podman = Podman::start(&workspace, &[("driver", &socket)], &[]).await;
        let plugin = VolumePlugin::start(&socket, &workspace.directory("volumes"));
        Self { podman, plugin, workspace, traces }
    }

    /// Runs it with the words of `line`.
    async fn podman(&self, line: &str) -> Output {
        self.podman.run(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// Runs a container to its end.
    async fn run(&self, options: &str, shell: &str) -> Output {
        let words = ["run --rm --network none", options, image::NAME, "sh -c"].join(" ");
        self.podman.run(&words.split_whitespace().chain([shell]).collect::<Vec<_>>()).await
    }

    /// Starts a container that goes on.
    async fn start(&self, name: &str, options: &str) {
        let line = format!("run --detach --network none --stop-signal KILL --name {name} {options} {} sleep 1000", image::NAME);
        self.podman(&line).await.well();
    }

    /// What was asked of the plugin since the last time, but for the activations.
    fn asked(&self) -> Vec<String> {
        self.plugin.briefly().into_iter().filter(|asked| asked != "Plugin.Activate").collect()
    }

    fn finish(self) {
        drop((self.podman, self.plugin));
        self.traces.assert_none(self.workspace.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_uses_a_volume_of_a_plugin() {
    let setting = Setting::new().await;
    setting.podman("volume create --driver driver --opt size=1GiB v1").await.well();
    let asked = setting.plugin.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["Plugin.Activate", "VolumeDriver.Get", "VolumeDriver.Create"]);
    assert_eq!(asked[2].body, serde_json::json!({"Name": "v1", "Opts": {"size": "1GiB"}}));
    for asked in &asked {
        let header = |wanted: &str| asked.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        assert_eq!(header("accept"), None);
        assert_eq!(header("content-type"), Some("application/vnd.docker.plugins.v1.1+json"));
    }
    assert!(setting.podman("volume create --driver driver v1").await.badly().contains("already exists"));
    assert_eq!(setting.asked(), [] as [&str; 0]);
    assert!(setting.podman("volume ls").await.well().contains("driver      v1"));
    let shown: Value = serde_json::from_str(&setting.podman("volume inspect v1").await.well()).unwrap();
    assert_eq!((shown[0]["Status"]["color"].as_str(), shown[0]["Timeout"].as_i64()), (Some("red"), Some(5)));
    assert_eq!(setting.asked(), ["Get v1", "Get v1"]);
    setting.run("-v v1:/data", "echo hello > /data/letter").await.well();
    assert_eq!(fs::read_to_string(setting.plugin.volume("v1").join("letter")).unwrap(), "hello\n");
    assert_eq!(setting.asked(), ["Mount v1", "Unmount v1"]);
    setting.start("one", "-v v1:/data").await;
    setting.start("two", "-v v1:/data").await;
    assert_eq!(setting.asked(), ["Mount v1"]);
    assert!(setting.podman("volume rm v1").await.badly().contains("being used"));
    setting.podman("rm --force one").await.well();
    assert_eq!(setting.asked(), [] as [&str; 0]);
    setting.podman("rm --force two").await.well();
    assert_eq!(setting.asked(), ["Unmount v1"]);
    setting.podman("volume rm v1").await.well();
    assert_eq!(setting.asked(), ["Get v1", "Remove v1"]);
    setting.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_podman_makes_of_refusals() {
    let mut setting = Setting::new().await;
    setting.podman("volume create --driver driver v1").await.well();
    setting.asked();
    setting.plugin.refuse("VolumeDriver.Mount", "the array is gone");
    assert!(setting.run("-v v1:/data", "true").await.badly().contains("the array is gone"));
    assert_eq!(setting.asked(), ["Mount v1"]);
    setting.plugin.refuse("VolumeDriver.Unmount", "the target is busy");
    assert_eq!(setting.run("-v v1:/data", "true").await.well(), "");
    assert_eq!(setting.asked(), ["Mount v1", "Unmount v1"]);
    setting.run("-v v1:/data", "true").await.well();
    assert_eq!(setting.asked(), [] as [&str; 0], "the volume is taken for mounted");
    setting.plugin.refuse("VolumeDriver.Create", "the pool is full");
    assert!(setting.podman("volume create --driver driver v2").await.badly().contains("the pool is full"));
    setting.asked();
    setting.plugin.refuse("VolumeDriver.Get", "the storage system does not answer");
    assert!(setting.podman("volume rm v1").await.badly().contains("removed from Podman"));
    assert_eq!(setting.asked(), ["Unmount v1", "Get v1"]);
    setting.plugin.refuse("", "");
    setting.podman("volume create --driver driver v3").await.well();
    setting.plugin.stop();
    assert!(setting.run("-v v3:/data", "true").await.badly().contains("cannot be accessed"));
    setting.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_does_not_wait_long() {
    let setting = Setting::new().await;
    setting.podman("volume create --driver driver v1").await.well();
    setting.asked();
    setting.plugin.delay("VolumeDriver.Mount", Duration::from_millis(5500));
    assert!(setting.run("-v v1:/data", "true").await.badly().contains("deadline exceeded"));
    assert_eq!(setting.asked(), ["Mount v1"]);
    setting.podman("volume rm v1").await.well();
    assert_eq!(setting.asked(), ["Get v1", "Remove v1"]);
    setting.podman("volume create --driver driver v2").await.well();
    setting.plugin.delay("VolumeDriver.Unmount", Duration::from_millis(5500));
    assert_eq!(setting.run("-v v2:/data", "true").await.well(), "");
    setting.plugin.delay("VolumeDriver.Unmount", Duration::ZERO);
    setting.asked();
    setting.run("-v v2:/data", "true").await.well();
    assert_eq!(setting.asked(), [] as [&str; 0], "the volume is taken for mounted");
    // A mount point that is gone is an error to its container.
    fs::remove_dir(setting.plugin.volume("v2")).unwrap();
    setting.run("-v v2:/data", "true").await.badly();
    setting.finish();
}

//! Docker 20.10 and a volume plugin, API v1, on a unix socket in the directory of plugins.
//!
//! # What it asks
//! - With the first volume: `Plugin.Activate` without a body, then `VolumeDriver.Capabilities`. Again when dockerd was started anew.
//! - `POST`, bodies in JSON, `Accept: application/vnd.docker.plugins.v1.2+json`, no `Content-Type`.
//! - `Get` before nearly everything, and once more for good measure; `Create` only when `Get` was refused. `Opts` is what the user
//!   gave, or null.
//! - `Mount` and `Unmount` once for each start and end of a container, with an `ID` of 64 digits that is new for each start. That
//!   the container wants the volume read-only is not said.
//! - `Remove` only when no container has the volume; that a volume is mounted does not matter.
//!
//! # What it makes of the answer
//! - A refusal of `Create`, `Mount` or `Remove` is shown to the user, with the plugin's words. No `Unmount` follows a refused `Mount`.
//! - A refusal of `Unmount` is shown to nobody, and the request is not repeated.
//! - **A refusal of `Get` means that the volume does not exist, whatever its words and its status say: `docker run` then makes an empty
//!   volume of this name on the local disk, and the container writes there.** Docker is kept from that only by no answer at all.
//! - No connection, or one that is closed without an answer: it asks again after 1, 2, 4 and 8 s, then the command fails, and no
//!   local volume is made. **What is asked again after a closed connection has no body**, so no name.
//! - Even so, a name that this dockerd has never heard of, and that comes without `--volume-driver`, becomes a volume on the local disk
//!   when no driver says that it has it, whether they refuse or are silent. A driver that this dockerd has not used before is not asked.
//! - A `Mount` and a `Create` are waited for for two minutes, everything else for one (moby: volume/drivers/proxy.go; not waited for
//!   here).
//!
//! # When something dies
//! - The plugin: nothing; the next request finds it or tries again.
//! - dockerd: containers go on until it is back, then it ends them. For those that it does not start again **no `Unmount` ever
//!   comes**; those that it starts again are mounted a second time with the ID that they had, and unmounted once.
//! - dockerd with `live-restore`: containers go on; there is no second `Mount`, and `Unmount` with the ID that they had when they end.
//!   For those that end while it is away no `Unmount` ever comes.
//! - `Plugin.Activate` comes when dockerd first needs a plugin: at its start if it remembers a volume of it, and else with the
//!   first request. It says nothing about which containers live.

use std::fs;
use std::process::Command;
use std::time::Duration;

use hawser_tests::docker::Docker;
use hawser_tests::output::Output;
use hawser_tests::poll::until;
use hawser_tests::{Workspace, image};
use serde_json::Value;

use crate::traces::Traces;
use crate::volume_plugin::VolumePlugin;

/// An engine, a plugin `driver` for it, and what there was before.
struct Setting {
    docker: Docker,
    plugin: VolumePlugin,
    workspace: Workspace,
    traces: Traces,
}

impl Setting {
    async fn new() -> Self {
        let (traces, workspace) = (Traces::now(), Workspace::new());
        let docker = Docker::start(&workspace, &[]).await;
        let plugin = VolumePlugin::start(&docker.plugins().join("driver.sock"), &workspace.directory("volumes"));
        Self { docker, plugin, workspace, traces }
    }

    /// Runs the client with the words of `line`.
    async fn docker(&self, line: &str) -> Output {
        self.docker.run(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// Runs a container to its end.
    async fn run(&self, options: &str, shell: &str) -> Output {
        let words = ["run --rm --network none", options, image::NAME, "sh -c"].join(" ");
        self.docker.run(&words.split_whitespace().chain([shell]).collect::<Vec<_>>()).await
    }

    /// Starts a container that goes on.
    async fn start(&self, name: &str, options: &str) {
        let line = format!("run --detach --network none --stop-signal KILL --name {name} {options} {} sleep 1000", image::NAME);
        self.docker(&line).await.well();
    }

    /// What was asked of the plugin since the last time, but for `Get`, of which there are many.
    fn asked(&self) -> Vec<String> {
        self.plugin.briefly().into_iter().filter(|asked| !asked.starts_with("Get")).collect()
    }

    fn finish(self) {
        self.docker.finish();
        drop(self.plugin);
        self.traces.assert_none(self.workspace.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_uses_a_volume_of_a_plugin() {
    let setting = Setting::new().await;
    setting.docker("volume create --driver driver --opt size=1GiB v1").await.well();
    let asked = setting.plugin.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["Plugin.Activate", "VolumeDriver.Capabilities", "VolumeDriver.Get", "VolumeDriver.Create"]);
    assert_eq!(asked[0].body, Value::Null);
    assert_eq!(asked[3].body, serde_json::json!({"Name": "v1", "Opts": {"size": "1GiB"}}));
    for asked in &asked {
        let header = |wanted: &str| asked.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        assert_eq!(header("accept"), Some("application/vnd.docker.plugins.v1.2+json"));
        assert_eq!(header("content-type"), None);
    }
    setting.docker("volume create --driver driver --opt size=1GiB v1").await.well();
    assert_eq!(setting.asked(), [] as [&str; 0], "a volume that exists was made again");
    assert!(setting.docker("volume ls").await.well().contains("driver    v1"));
    let shown: Value = serde_json::from_str(&setting.docker("volume inspect v1").await.well()).unwrap();
    assert_eq!(shown[0]["Mountpoint"], setting.plugin.volume("v1").to_str().unwrap());
    assert_eq!((shown[0]["Scope"].as_str(), shown[0]["Status"]["color"].as_str()), (Some("global"), Some("red")));
    assert_eq!(setting.asked(), ["List"]);
    setting.run("-v v1:/data", "echo hello > /data/letter").await.well();
    assert_eq!(fs::read_to_string(setting.plugin.volume("v1").join("letter")).unwrap(), "hello\n");
    assert_eq!(setting.asked(), ["Mount v1", "Unmount v1"]);
    setting.start("one", "-v v1:/data").await;
    setting.start("two", "-v v1:/data:ro").await;
    assert!(setting.docker("volume rm v1").await.badly().contains("in use"));
    setting.docker("rm --force one").await.well();
    setting.docker("rm --force two").await.well();
    let ids: Vec<(String, String)> = setting.plugin.asked().iter().filter_map(mount).collect();
    let [(_, one), (_, two), ..] = &ids[..] else { panic!("{ids:?}") };
    assert!(one.len() == 64 && one != two);
    let pair = |verb: &str, id: &str| (verb.to_owned(), id.to_owned());
    assert_eq!(ids, [pair("Mount", one), pair("Mount", two), pair("Unmount", one), pair("Unmount", two)]);
    setting.docker("volume rm v1").await.well();
    assert_eq!(setting.asked(), ["Remove v1"]);
    // What a container names and nobody has made is made, without options.
    setting.run("--volume-driver driver -v v2:/data", "true").await.well();
    let create = setting.plugin.asked().into_iter().find(|asked| asked.path == "VolumeDriver.Create").unwrap();
    assert_eq!(create.body, serde_json::json!({"Name": "v2", "Opts": null}));
    setting.finish();
}

/// The verb and the ID of a mount or an unmount.
fn mount(asked: &crate::volume_plugin::Asked) -> Option<(String, String)> {
    let verb = asked.path.strip_prefix("VolumeDriver.").filter(|verb| verb.ends_with("ount"))?;
    Some((verb.to_owned(), asked.body["ID"].as_str().unwrap().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_docker_makes_of_refusals() {
    let setting = Setting::new().await;
    setting.docker("volume create --driver driver v1").await.well();
    setting.asked();
    setting.plugin.refuse("VolumeDriver.Mount", "the array is gone");
    assert!(setting.run("-v v1:/data", "true").await.badly().contains("VolumeDriver.Mount: the array is gone"));
    assert_eq!(setting.asked(), ["Mount v1"]);
    setting.plugin.refuse("VolumeDriver.Unmount", "the target is busy");
    assert_eq!(setting.run("-v v1:/data", "true").await.well(), "");
    assert_eq!(setting.asked(), ["Mount v1", "Unmount v1"]);
    setting.plugin.refuse("VolumeDriver.Create", "the pool is full");
    assert!(setting.docker("volume create --driver driver v2").await.badly().contains("VolumeDriver.Create: the pool is full"));
    setting.plugin.refuse("VolumeDriver.Remove", "it is attached");
    assert!(setting.docker("volume rm v1").await.badly().contains("VolumeDriver.Remove: it is attached"));
    setting.asked();
    setting.plugin.refuse("VolumeDriver.Get", "the storage system does not answer");
    setting.run("-v v1:/data", "echo hello > /data/misplaced").await.well();
    assert!(setting.workspace.path().join("docker/data/volumes/v1/_data/misplaced").exists(), "not on the local disk");
    assert_eq!(setting.asked(), [] as [&str; 0]);
    setting.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_silence_keeps_docker_from_the_local_disk() {
    let setting = Setting::new().await;
    let local = |volume: &str| setting.workspace.path().join("docker/data/volumes").join(volume).exists();
    for volume in ["v1", "v2"] {
        setting.docker(&format!("volume create --driver driver {volume}")).await.well();
    }
    setting.plugin.refuse_with_status(404);
    setting.plugin.refuse("VolumeDriver.Get", "there is no such volume");
    setting.run("-v v1:/data", "true").await.well();
    assert!(local("v1"));
    setting.plugin.refuse("", "");
    setting.plugin.fall_silent("VolumeDriver.Get");
    setting.asked();
    let (known, unknown, driver) = tokio::join!(
        setting.run("-v v2:/data", "true"),
        setting.run("-v never-heard-of:/data", "true"),
        setting.run("--volume-driver driver -v v3:/data", "true"),
    );
    let said = known.badly();
    assert!(said.contains("error while checking if volume \"v2\" exists in driver \"driver\""), "{said}");
    unknown.well();
    driver.badly();
    assert!(!local("v2") && local("never-heard-of") && !local("v3"));
    assert_eq!(setting.asked(), ["Create v3"]);
    setting.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_may_outlive_their_engine() {
    let (traces, workspace) = (Traces::now(), Workspace::new());
    let docker = Docker::start_with(&workspace, &[], r#"{"live-restore": true}"#).await;
    let plugin = VolumePlugin::start(&docker.plugins().join("driver.sock"), &workspace.directory("volumes"));
    let mut setting = Setting { docker, plugin, workspace, traces };
    setting.docker("volume create --driver driver v1").await.well();
    setting.start("lives", "-v v1:/data").await;
    setting.docker("volume create --driver driver v2").await.well();
    let shell = "until [ -e /data/may-end ]; do sleep 0.02; done";
    let line = ["run", "--detach", "--network", "none", "-v", "v2:/data", image::NAME, "sh", "-c", shell];
    setting.docker.run(&line).await.well();
    let ids: Vec<(String, String)> = setting.plugin.asked().iter().filter_map(mount).collect();
    setting.docker.kill_process();
    fs::write(setting.plugin.volume("v2").join("may-end"), "").unwrap();
    let lives = || Command::new("pgrep").args(["--full", "until .* -e /data/may-end"]).output().unwrap().status.success();
    until("the end of the container", || (!lives()).then_some(()));
    setting.docker.start_again().await;
    let asked = setting.plugin.asked();
    assert_eq!(asked[0].path, "Plugin.Activate");
    assert!(asked.iter().all(|asked| mount(asked).is_none()));
    setting.docker("exec lives ls /data").await.well();
    setting.docker("rm --force lives").await.well();
    let unmounts: Vec<(String, String)> = setting.plugin.asked().iter().filter_map(mount).collect();
    assert_eq!(unmounts, [("Unmount".to_owned(), ids[0].1.clone())]);
    setting.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_waits_for_a_plugin_that_is_started_anew() {
    let mut setting = Setting::new().await;
    setting.docker("volume create --driver driver v1").await.well();
    setting.plugin.stop();
    let (output, ()) = tokio::join!(setting.docker.run(&["volume", "inspect", "v1"]), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        setting.plugin.start_again();
    });
    output.well();
    setting.asked();
    setting.plugin.hang_up("VolumeDriver.Get");
    setting.docker("volume inspect v1").await.badly();
    assert_eq!(setting.plugin.briefly(), ["Get v1", "Get"]);
    setting.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_docker_that_was_killed_forgets_to_unmount() {
    let mut setting = Setting::new().await;
    setting.docker("volume create --driver driver v1").await.well();
    setting.start("ends", "-v v1:/data").await;
    setting.start("stays", "--restart always -v v1:/data").await;
    let ids: Vec<(String, String)> = setting.plugin.asked().iter().filter_map(mount).collect();
    let [_, (_, stays)] = &ids[..] else { panic!("{ids:?}") };
    setting.docker.kill_process();
    setting.docker.start_again().await;
    setting.docker("rm --force ends stays").await.well();
    let asked = setting.plugin.asked();
    assert_eq!(asked[0].path, "Plugin.Activate");
    let again: Vec<(String, String)> = asked.iter().filter_map(mount).collect();
    assert_eq!(again, [("Mount".to_owned(), stays.clone()), ("Unmount".to_owned(), stays.clone())]);
    setting.docker("volume rm v1").await.well();
    assert_eq!(setting.asked(), ["Remove v1"]);
    setting.finish();
}

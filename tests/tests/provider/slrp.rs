//! Hawser under Mesos' own storage provider, which runs it as a plugin in a container of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::mesos::{Framework, Mesos, Options, disk_of, is_disk};
use hawser_tests::plugin::{NODE_A, Plugin};
use hawser_tests::poll::until;
use hawser_tests::settings::{Kind, Settings};
use hawser_tests::usage::Usage;
use hawser_tests::workspace::Workspace;
use serde_json::{Value, json};

/// Has the agent's files written as operators do; the directory of its providers.
fn providers(workspace: &Workspace, config: &Path) -> String {
    let directory = workspace.path().join("mesos-agent");
    let arguments = ["mesos", "config", "write", "--for", "provider", "--directory"];
    let output = Command::new(hawser()).args(arguments).arg(&directory).arg("--config").arg(config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let providers = directory.join("resource-providers");
    let file = providers.join("hawser.json");
    // The program under test is not installed, and what it says is to be read.
    let mut text: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let command = &mut text["storage"]["plugin"]["containers"][0]["command"]["value"];
    let run = command.as_str().unwrap().replace("/usr/bin/hawser", &hawser().display().to_string());
    *command = json!(format!("export HAWSER_LOG=debug; {run} 2>> '{}'", log(workspace).display()));
    fs::write(&file, text.to_string()).unwrap();
    let profiles: Value = serde_json::from_slice(&fs::read(directory.join("disk-profiles.json")).unwrap()).unwrap();
    let local = &profiles["profile_matrix"]["local"];
    assert_eq!(local["create_parameters"], json!({"backend": "local"}), "{profiles:#}");
    providers.display().to_string()
}

/// Where the plugin says what it does.
fn log(workspace: &Workspace) -> PathBuf {
    workspace.path().join("plugin.log")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mesos_own_storage_provider_runs_the_driver_and_offers_what_there_is() {
    let plugin = Plugin::start(&std::env::temp_dir(), Settings::new(Kind::Image), Usage::mount()).await;
    let volume = plugin.a().create("letters", 64 << 20, &plugin.usage()).await.volume_id;
    plugin.stop(NODE_A).await;

    let workspace = Workspace::new();
    let flags = vec![("MESOS_RESOURCE_PROVIDER_CONFIG_DIR", providers(&workspace, &plugin.config()))];
    let mut mesos = Mesos::start(&workspace, Options { flags, ..Options::default() }).await;
    let ready = |mesos: &Mesos, times: usize| {
        until("the provider's being ready", || {
            (mesos.agent(0).said().matches("is in READY state").count() >= times).then_some(())
        });
    };
    ready(&mesos, 1);
    let mut framework = Framework::subscribe(&mesos).await;
    let (offer, disk) = framework.offer_of(&volume).await;
    assert_eq!((&disk_of(&disk).unwrap()["type"], &disk["scalar"]["value"]), (&json!("RAW"), &json!(64.0)));
    framework.decline(&offer).await;

    // The agent is killed; the plugin goes on in its container, and takes the next agent's calls.
    mesos.agent_mut(0).kill_process();
    mesos.agent_mut(0).start_again().await;
    mesos.until_registered(mesos.agent(0)).await;
    ready(&mesos, 2);
    framework.operate("delete", "DESTROY_DISK", is_disk(&volume), |disk| json!({"source": disk})).await;

    let said = fs::read_to_string(log(&workspace)).unwrap();
    assert_eq!(said.matches("serving").count(), 1, "{said}");
    let called: Vec<&str> = said.split("method=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let rpcs = [
        "Probe",
        "GetPluginCapabilities",
        "GetPluginInfo",
        "ControllerGetCapabilities",
        "NodeGetCapabilities",
        "NodeGetInfo",
        "ListVolumes",
    ];
    for rpc in rpcs {
        assert!(called.iter().filter(|made| **made == rpc).count() >= 2, "{rpc} is not made by each agent: {called:?}");
    }
    assert_eq!(called.iter().filter(|made| **made == "DeleteVolume").count(), 1, "{called:?}");
    drop(mesos);
    plugin.start_node(NODE_A).await;
    assert!(plugin.a().volumes().await.is_empty());
    plugin.finish().await;
}

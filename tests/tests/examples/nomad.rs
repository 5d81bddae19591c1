//! The jobs for Nomad: read by Nomad's own parser, run as their tasks say, and driven by Nomad's own client of plugins.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::{hawser, tool};
use hawser_tests::ec2::imds::{Face, Imds};
use hawser_tests::ec2::{Ec2, Ec2Settings, ZONES};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::output::Output;
use hawser_tests::process::Process;
use serde_json::Value;

use crate::{accepted, chart};

/// The plugin jobs.
const PLUGINS: [&str; 3] = ["controller", "node", "monolith"];

/// What Nomad's code says of a file or a plugin.
async fn nomad(arguments: &[&str]) -> Output {
    let mut command = Command::new(tool("nomad-client"));
    command.args(arguments);
    Output::of(command).await
}

async fn read(kind: &str, file: &str) -> Value {
    serde_json::from_str(&nomad(&[kind, &text(&chart(&format!("examples/nomad/{file}")))]).await.well()).unwrap()
}

/// The only group of a job.
async fn group(file: &str) -> Value {
    let mut job = read("job", file).await;
    let groups = job["TaskGroups"].as_array_mut().unwrap();
    assert_eq!(groups.len(), 1, "{file}");
    groups.remove(0)
}

/// The task of a plugin, with everything in its container moved below a directory.
struct Task {
    job: Value,
    directory: PathBuf,
}

impl Task {
    async fn of(plugin: &str, directory: &Path) -> Self {
        let group = group(&format!("{plugin}.nomad.hcl")).await;
        Self { job: group["Tasks"][0].clone(), directory: directory.to_owned() }
    }

    /// A text with paths of the container, and with what Nomad fills in.
    fn moved(&self, text: &str) -> String {
        let local = self.directory.join("local");
        let moved = text
            .replace("${NOMAD_TASK_DIR}", &local.display().to_string())
            .replace("${node.unique.name}", "client-1")
            .replace("/var/lib/hawser", &self.directory.join("hawser").display().to_string());
        assert!(!moved.contains("${") && !moved.contains("{{"), "this test fills in less than Nomad: {moved}");
        moved
    }

    fn arguments(&self) -> Vec<String> {
        self.job["Config"]["args"].as_array().unwrap().iter().map(|word| self.moved(word.as_str().unwrap())).collect()
    }

    /// The text of the only template.
    fn template(&self) -> String {
        let template = &self.job["Templates"][0];
        assert_eq!(template["DestPath"], "local/hawser.yaml");
        self.moved(template["EmbeddedTmpl"].as_str().unwrap())
    }

    fn socket(&self) -> PathBuf {
        let mount = self.job["CSIPluginConfig"]["MountDir"].as_str().unwrap();
        self.directory.join(mount.strip_prefix('/').unwrap()).join("csi.sock")
    }

    /// Runs it as the Docker driver would, with `environment` besides what Nomad gives.
    async fn start(&self, environment: &[(&str, &str)]) -> Process {
        let socket = self.socket();
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        fs::create_dir_all(self.directory.join("local")).unwrap();
        fs::write(self.directory.join("local/hawser.yaml"), self.template()).unwrap();
        let mut command = Command::new(hawser());
        // Nothing of this machine's environment.
        command.env_clear().envs(environment.iter().copied()).args(self.arguments());
        command.env("CSI_ENDPOINT", format!("unix://{}", socket.display())).env("PATH", std::env::var("PATH").unwrap());
        let mut process = Process::spawn(command, &socket, &self.directory.join("log"));
        process.wait_until_it_answers().await;
        process
    }

    /// What Nomad finds out at the plugin's start, if it asks for a plugin of this kind.
    async fn fingerprint(&self, kind: &str) -> Output {
        nomad(&["fingerprint", kind, &text(&self.socket())]).await
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_jobs_are_what_nomad_and_the_program_read() {
    let nowhere = Workspace::new();
    for plugin in PLUGINS {
        let task = Task::of(plugin, nowhere.path()).await;
        accepted::arguments(&task.arguments()).unwrap_or_else(|said| panic!("{plugin}: {said}"));
        accepted::configuration(&task.template()).unwrap_or_else(|said| panic!("{plugin}: {said}"));
        let config = &task.job["Config"];
        assert_eq!(
            (&task.job["CSIPluginConfig"]["ID"], &task.job["CSIPluginConfig"]["Type"]),
            (&"hawser".into(), &plugin.into())
        );
        // Whoever mounts is privileged, and nobody else.
        assert_eq!(config["privileged"] == true, plugin != "controller", "{plugin}: {config}");
        let known = ["image", "args", "cap_drop", "network_mode", "privileged", "volumes"];
        let unknown: Vec<&String> = config.as_object().unwrap().keys().filter(|key| !known.contains(&key.as_str())).collect();
        assert!(unknown.is_empty(), "{plugin}: has the Docker driver {unknown:?}?");
    }
    let volume = read("volume", "volume.hcl").await;
    assert_eq!(volume["PluginID"], "hawser");
    let asked = &group("postgres.nomad.hcl").await["Volumes"]["data"];
    let capability = &volume["Capabilities"][0];
    assert_eq!(
        (&asked["Source"], &asked["AccessMode"], &asked["AttachmentMode"], &asked["MountOptions"]["FSType"]),
        (&volume["ID"], &capability["AccessMode"], &capability["AttachmentMode"], &volume["MountOptions"][0]["FSType"])
    );
    assert_eq!(asked["MountOptions"]["MountFlags"], volume["MountOptions"][0]["MountFlags"]);
}

/// A mistake in a job is not left out without a word.
#[tokio::test]
async fn a_job_with_a_mistake_is_refused() {
    let workspace = Workspace::new();
    let file = workspace.path().join("job.hcl");
    let right = fs::read_to_string(chart("examples/nomad/node.nomad.hcl")).unwrap();
    let wrong = right.replace("health_timeout", "healthy_timeout");
    assert_ne!(right, wrong);
    fs::write(&file, wrong).unwrap();
    assert!(nomad(&["job", &text(&file)]).await.badly().contains("healthy_timeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_lives_with_the_monolith() {
    let footing = Footing::of(Ground::Xfs);
    let workspace = Workspace::within(footing.path());
    let task = Task::of("monolith", workspace.path()).await;
    let mut process = task.start(&[]).await;
    let root = workspace.directory("local/csi");
    let run = ["run", &text(&chart("examples/nomad/volume.hcl")), &text(&task.socket()), &text(&root)];
    let output = nomad(&run).await;
    assert!(output.status.success(), "{}\n{}", output.stderr, process.tail());
    assert!(process.terminate().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_and_node_serve_their_halves() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let instance = ec2.world().instance(ZONES[0]);
    let metadata = Imds::start(TcpListener::bind("127.0.0.1:0").unwrap(), Face::new(&instance, ZONES[0]));
    let (first, second) = (Workspace::new(), Workspace::new());
    let controller = Task::of("controller", first.path()).await;
    // What the role of an instance gives, and the address of EC2.
    let account =
        [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_ENDPOINT_URL_EC2", ec2.address())];
    let mut serves_controller = controller.start(&account).await;
    let node = Task::of("node", second.path()).await;
    let mut serves_node = node.start(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.address())]).await;

    let found: Value = serde_json::from_str(&controller.fingerprint("controller").await.well()).unwrap();
    assert_eq!(
        (&found["Name"], &found["HasController"], &found["Attaches"]),
        (&"csi.hawser.dev".into(), &true.into(), &true.into())
    );
    assert!(controller.fingerprint("node").await.badly().contains("Unimplemented"));
    let found: Value = serde_json::from_str(&node.fingerprint("node").await.well()).unwrap();
    assert_eq!((&found["NodeID"], &found["NeedsStaging"]), (&instance.as_str().into(), &true.into()));
    assert!(node.fingerprint("controller").await.badly().contains("Unimplemented"));

    let attach = ["attach", &text(&chart("examples/nomad/volume.hcl")), &text(&controller.socket()), &instance];
    let output = nomad(&attach).await;
    assert!(output.status.success(), "{}\n{}", output.stderr, serves_controller.tail());
    assert!(serves_controller.terminate().success() && serves_node.terminate().success());
}

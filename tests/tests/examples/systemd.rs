//! The systemd units: read by systemd's own tools, and the program run with what they take away.
//!
//! No systemd runs where the tests run, so what a unit takes away is taken by other means: capabilities by setpriv, and instead of a
//! filter of system calls a tracer lists those that are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hawser_tests::Workspace;
use hawser_tests::binary::{hawser, tool};
use hawser_tests::ec2::{Ec2, Ec2Settings};
use hawser_tests::poll::until;
use hawser_tests::process::Process;
use rustix::process::Signal;

use crate::{accepted, chart};

/// Units that mount, and the one that does not; with the exposure that `systemd-analyze security` may find, in tenths.
const UNITS: [(&str, u32); 3] = [("hawser.service", 55), ("hawser-bridge.service", 55), ("hawser-controller.service", 13)];

/// Options that give a unit a mount namespace, where its mounts would stay (systemd: src/core/execute.c, exec_needs_mount_namespace),
/// or that close its disks.
const UNFIT: [&str; 20] = [
    "BindPaths",
    "DeviceAllow",
    "DevicePolicy",
    "DynamicUser",
    "InaccessiblePaths",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateTmp",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "RestrictSUIDSGID",
];

/// The assignments of a unit, of all sections.
struct Unit {
    text: String,
}

impl Unit {
    fn read(name: &str) -> Self {
        Self { text: fs::read_to_string(chart(&format!("examples/{name}"))).unwrap() }
    }

    fn assignments(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter(|line| !line.starts_with(['#', '['])).filter_map(|line| line.split_once('='))
    }

    /// The words of all assignments to `key`.
    fn words(&self, key: &str) -> Vec<&str> {
        self.assignments().filter(|(name, _)| *name == key).flat_map(|(_, value)| value.split_whitespace()).collect()
    }

    /// The command lines, without the program.
    fn commands(&self) -> Vec<Vec<String>> {
        let lines = self.assignments().filter(|(name, _)| name.starts_with("Exec"));
        let words = |line: &str| line.strip_prefix("/usr/bin/hawser ").unwrap().split(' ').map(str::to_owned).collect();
        lines.map(|(_, line)| words(line)).collect()
    }

    /// What setpriv takes away as the unit does.
    fn setpriv(&self) -> Command {
        let kept: String = self.words("CapabilityBoundingSet").iter().fold(String::new(), |kept, name| {
            let name = name.strip_prefix("CAP_").unwrap().to_lowercase();
            // This machine may have taken it away before.
            if may(&name) { format!("{kept},+{name}") } else { kept }
        });
        assert_eq!(self.words("NoNewPrivileges"), ["yes"]);
        let mut command = Command::new("setpriv");
        command.args(["--no-new-privs", "--inh-caps=-all", &format!("--bounding-set=-all{kept}")]);
        command
    }

    /// The names of the system calls that the filter lets through.
    fn calls(&self) -> BTreeSet<String> {
        let sets = sets();
        let mut calls = BTreeSet::new();
        let mut words = self.words("SystemCallFilter");
        // A line with a tilde takes away.
        let negated = words.iter().position(|word| word.starts_with('~')).map_or(Vec::new(), |at| words.split_off(at));
        words.iter().for_each(|word| expand(&sets, word, &mut calls));
        let mut without = BTreeSet::new();
        negated.iter().for_each(|word| expand(&sets, word.trim_start_matches('~'), &mut without));
        // These systemd lets through always, as its allow lists begin with them.
        expand(&sets, "@default", &mut calls);
        calls.retain(|call| !without.contains(call));
        calls
    }
}

/// Whether this process could keep a capability.
fn may(capability: &str) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", &format!("--bounding-set=-all,+{capability}"), "grep", "CapEff", "/proc/self/status"]);
    let said = words(command.output().unwrap());
    u64::from_str_radix(said.split_whitespace().nth(1).unwrap(), 16).unwrap() != 0
}

/// systemd's sets of system calls, as it lists them.
fn sets() -> BTreeMap<String, Vec<String>> {
    let listed = words(Command::new("systemd-analyze").arg("syscall-filter").output().unwrap());
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in listed.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.starts_with('@') {
            line.trim().clone_into(&mut name);
        } else if !line.trim().is_empty() {
            sets.entry(name.clone()).or_default().push(line.trim().to_owned());
        }
    }
    sets
}

fn expand(sets: &BTreeMap<String, Vec<String>>, word: &str, calls: &mut BTreeSet<String>) {
    match sets.get(word) {
        Some(words) => words.iter().for_each(|word| expand(sets, word, calls)),
        None => assert!(!word.starts_with('@') && (calls.insert(word.to_owned()) || calls.contains(word)), "no set {word}"),
    }
}

/// Panics unless all system calls of `trace`, a table of strace, are among `allowed`.
fn assert_only(allowed: &BTreeSet<String>, trace: &Path) {
    let table = fs::read_to_string(trace).unwrap();
    let made: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(made.contains(&"openat") && allowed.contains("openat"), "{table}");
    let is_frame = |word: &str| word.starts_with('-') || ["syscall", "total"].contains(&word);
    let refused: Vec<&&str> = made.iter().filter(|call| !is_frame(call) && !allowed.contains(**call)).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}

/// Waits until the tracer, which outlives its program, has written its table.
fn until_traced(trace: &Path) {
    until("the table of the tracer", || fs::read_to_string(trace).ok().filter(|table| table.contains("total")));
}

fn words(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// systemd reads a unit whose program is where it is here.
fn verify(name: &str, text: &str) -> Output {
    let workspace = Workspace::new();
    let file = workspace.path().join(name);
    fs::write(&file, text.replace("/usr/bin/hawser", hawser().to_str().unwrap())).unwrap();
    Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(file).output().unwrap()
}

#[test]
fn systemd_and_the_program_read_the_units() {
    for (name, exposure) in UNITS {
        let unit = Unit::read(name);
        let output = verify(name, &unit.text);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(unit.commands().len() >= 2, "{name}");
        for command in unit.commands() {
            accepted::arguments(&command).unwrap_or_else(|said| panic!("{name}: {said}"));
        }
        let mut judge = Command::new("systemd-analyze");
        judge.args(["security", "--offline=true", &format!("--threshold={exposure}")]).arg(chart(&format!("examples/{name}")));
        let said = judge.output().unwrap();
        assert!(said.status.success(), "{name}: more exposed than {exposure}: {}", String::from_utf8_lossy(&said.stdout));
        if name != "hawser-controller.service" {
            let unfit: Vec<&str> = unit.assignments().map(|(key, _)| key).filter(|key| UNFIT.contains(key)).collect();
            assert!(unfit.is_empty(), "{name}: {unfit:?}");
        }
    }
}

#[test]
fn a_misspelt_option_is_seen() {
    let wrong = Unit::read("hawser.service").text.replace("LockPersonality", "LockPersonalty");
    assert!(String::from_utf8_lossy(&verify("hawser.service", &wrong).stderr).contains("LockPersonalty"));
}

#[test]
fn both_units_that_mount_are_closed_alike() {
    let closed = |name: &str| {
        let unit = Unit::read(name);
        let keys = ["Capability", "NoNew", "SystemCall", "Restrict", "Lock", "Memory", "Protect", "MountFlags"];
        let mut closed: Vec<String> =
            unit.text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))).map(str::to_owned).collect();
        closed.retain(|line| line != "Restart=always");
        closed
    };
    assert_eq!(closed("hawser.service"), closed("hawser-bridge.service"));
}

/// The demo makes, formats, mounts, moves, grows, cuts and clones.
#[test]
fn what_a_unit_takes_away_the_driver_does_not_need() {
    let unit = Unit::read("hawser.service");
    let workspace = Workspace::new();
    let trace = workspace.path().join("trace");
    let mut demo = unit.setpriv();
    demo.args(["strace", "-f", "-qq", "-c", "-S", "name", "-o"]).arg(&trace).arg(hawser()).arg("demo");
    let said = words(demo.env("TMPDIR", workspace.path()).output().unwrap());
    assert!(said.contains("Nothing is left"), "{said}");
    let allowed = unit.calls();
    assert!(!allowed.contains("reboot") && !allowed.contains("init_module") && allowed.contains("move_mount"), "{allowed:?}");
    assert_only(&allowed, &trace);
}

/// The bridge, with a volume that a container would use; it looks at the mounts of all processes as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_unit_takes_away_the_bridge_does_not_need() {
    let unit = Unit::read("hawser-bridge.service");
    let workspace = Workspace::new();
    let place = |name: &str| workspace.path().join(name);
    let (plugins, at) = (workspace.directory("plugins"), workspace.path().display());
    let config = format!(
        "backends:\n  local:\n    type: local\n    root: {at}/pool\n    overcommit: 1000\nbridge:\n  state: {at}/state\n  mounts: {at}/mounts\n  \
         docker-socket: {at}/plugins/hawser.sock\n  isolator-socket: {at}/isolator.sock\n"
    );
    fs::write(place("hawser.yaml"), config).unwrap();
    let (trace, socket) = (place("trace"), place("isolator.sock"));
    let mut command = unit.setpriv();
    command.args(["strace", "-D", "-f", "-qq", "-c", "-S", "name", "-o"]).arg(&trace).arg(hawser());
    let arguments = unit.commands().remove(1);
    command.args(arguments.iter().map(|word| word.replace("/etc/hawser", &at.to_string())));
    let mut process = Process::spawn(command, &socket, &place("log"));
    process.wait_until_it_answers().await;
    let dvdcli = |arguments: &[&str]| {
        let mut command = Command::new(hawser());
        command.args(["dvdcli", arguments[0], "--volumedriver=hawser", "--volumename=letters"]).args(&arguments[1..]);
        words(command.env("HAWSER_PLUGIN_DIR", &plugins).output().unwrap())
    };
    let path = dvdcli(&["mount", "--volumeopts=size=64MiB"]);
    fs::write(Path::new(path.trim()).join("letter"), "hello").unwrap();
    dvdcli(&["unmount"]);
    process.signal(Signal::TERM);
    assert!(process.wait().success(), "{}", process.tail());
    until_traced(&trace);
    assert_only(&unit.calls(), &trace);
}

/// The controller needs no right at all: it is run as nobody, without a capability.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_runs_as_nobody() {
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let unit = Unit::read("hawser-controller.service");
    assert!(unit.words("CapabilityBoundingSet").is_empty());
    let workspace = Workspace::new();
    let place = |name: &str| workspace.path().join(name);
    // The unit's files, but of one storage system that answers; the directory of the socket is nobody's, as RuntimeDirectory= makes it.
    let config = fs::read_to_string(chart("examples/controller.yaml")).unwrap();
    accepted::configuration(&config).unwrap();
    let (before, rest) = config.split_once("  flex:\n").unwrap();
    let after = rest.split_once("driver:\n").unwrap().1;
    fs::write(place("controller.yaml"), format!("{before}driver:\n{after}")).unwrap();
    let run = workspace.directory("run");
    std::os::unix::fs::chown(&run, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(workspace.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // The program must be where nobody can read it.
    fs::copy(hawser(), place("hawser")).unwrap();
    let arguments = unit.commands().remove(1);
    let socket = run.join("csi.sock");
    let mut command = unit.setpriv();
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    // The tracer runs beside the program, not above it, so that the program is the process that is stopped at the end.
    let trace = run.join("trace");
    command.args(["strace", "-D", "-f", "-qq", "-c", "-S", "name", "-o"]).arg(&trace).arg(place("hawser"));
    command.args(arguments.iter().map(|word| match word.as_str() {
        "/etc/hawser/controller.yaml" => place("controller.yaml").display().to_string(),
        "unix:///run/hawser-controller/csi.sock" => format!("unix://{}", socket.display()),
        other => other.to_owned(),
    }));
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("AWS_ENDPOINT_URL_EC2", ec2.address());
    command.envs([("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    let mut process = Process::spawn(command, &socket, &place("log"));
    process.wait_until_it_answers().await;
    let instance = ec2.world().instance("us-east-1a");
    let volume = chart("examples/nomad/volume.hcl");
    let mut attach = Command::new(tool("nomad-client"));
    attach.arg("attach").arg(&volume).arg(&socket).arg(&instance);
    let output = attach.output().unwrap();
    assert!(output.status.success(), "{output:?}\n{}", process.tail());
    process.signal(Signal::TERM);
    assert!(process.wait().success());
    until("the table of the tracer", || fs::read_to_string(&trace).ok().filter(|table| table.contains("total")));
    assert_only(&unit.calls(), &trace);
}

//! What keeps Mesos and the bridge of an agent apart: the master, the agent, its flags and the files that it reads. Only questions are
//! asked.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hawser_volume::checkup::{self, Check};
use hawser_volume::{Error, Kind, NodeId, Result};
use serde_json::Value;

use crate::agent::write::{self, Door, Wanted};
use crate::agent::{self, FlagSource, Sources};
use crate::config::BridgeConfig;
use crate::ledger::Ledger;
use crate::mesos::master::Patience;
use crate::mesos::{AgentInfo, Credential, Endpoint, Http, Master, MasterView, Standing};

/// The flags of an agent that concern volumes; of all others a running agent has made sense already.
const FLAGS: [&str; 11] = [
    "isolation",
    "launcher",
    "containerizers",
    "work_dir",
    "csi_plugin_config_dir",
    "resource_provider_config_dir",
    "docker_volume_checkpoint_dir",
    "executor_registration_timeout",
    "disk_profile_adaptor",
    "modules",
    "modules_dir",
];

/// Where Mesos' packages have the flags of an agent.
const PACKAGED: &str = "/etc/default/mesos-agent";

/// Whose agent is looked at.
#[derive(Debug)]
pub struct Examined<'e> {
    /// The bridge.
    pub bridge: &'e BridgeConfig,
    /// The name of the CSI plugin.
    pub plugin: &'e str,
    /// The id of this node, where it is known.
    pub node: Option<&'e NodeId>,
}

/// What was found, and where the agent has its files, if it says so.
#[derive(Debug, Default)]
pub struct Found {
    /// The findings.
    pub checks: Vec<Check>,
    /// The agent's `--work_dir`.
    pub work_dir: Option<PathBuf>,
}

/// Asks the agent of this machine and the master.
pub async fn mesos(examined: &Examined<'_>) -> Found {
    let bridge = examined.bridge;
    let mut found = Found::default();
    found.checks.extend(takeover(bridge));
    let http = match bridge.http() {
        Ok(http) => http,
        Err(error) => {
            found.checks.push(Check::wrong("bridge.mesos-ca", error.chain(), "correct `bridge.mesos-ca`"));
            return found;
        }
    };
    if let Some(file) = &bridge.mesos_credential {
        let (check, is_good) = credential(file).await;
        found.checks.push(check);
        if !is_good {
            return found;
        }
    }
    let (agent, master) = tokio::join!(of_agent(examined, &http), of_master(bridge, &http));
    let (checks, info, work_dir) = agent;
    found.checks.extend(checks);
    found.work_dir = work_dir;
    found.checks.extend(master.0);
    if let (Some(info), Some(view)) = (info, master.1) {
        found.checks.push(match view.standing(&info.id) {
            Standing::Registered { active: true } => {
                Check::well("the agent at the master", format!("{} is registered and active", info.id))
            }
            Standing::Registered { active: false } => Check::doubtful(
                "the agent at the master",
                format!("{} is registered and not active, so it gets no tasks", info.id),
                "see whether it is being drained, or was deactivated",
            ),
            _ => Check::wrong(
                "the agent at the master",
                format!(
                    "the master does not have {} registered: it is the master of another cluster, or the agent has lost it",
                    info.id
                ),
                "correct `bridge.mesos-master`, or see the agent's log",
            ),
        });
    }
    found
}

/// A policy that does not hold because nobody could say that an agent lives.
pub fn takeover(bridge: &BridgeConfig) -> Option<Check> {
    let warning = bridge.warnings().into_iter().find(|(key, _)| key == "takeover")?;
    Some(Check::doubtful(
        "bridge.takeover",
        warning.1,
        "set `bridge.mesos-master`; or `bridge.takeover: never`, if that is meant",
    ))
}

async fn credential(file: &Path) -> (Check, bool) {
    const STEP: &str = "bridge.mesos-credential";
    if let Err(error) = Credential::Basic(file.to_owned()).read().await {
        return (
            Check::wrong(STEP, error.chain(), "write it there as {\"principal\": \"…\", \"secret\": \"…\"}, mode 0600"),
            false,
        );
    }
    let mode = fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        let why = format!("{} can be read by everybody on this machine (mode {:04o})", file.display(), mode & 0o7777);
        return (Check::doubtful(STEP, why, format!("`chmod 0600 {}`", file.display())), true);
    }
    (Check::well(STEP, format!("is in {}", file.display())), true)
}

async fn of_master(bridge: &BridgeConfig, http: &Http) -> (Vec<Check>, Option<MasterView>) {
    const STEP: &str = "the master";
    let Some(masters) = bridge.mesos_master.clone() else { return (Vec::new(), None) };
    let first = masters.endpoints().first().cloned();
    let mut checks = Vec::new();
    let view = match Master::new(http.clone(), masters, Patience::default()).view().await {
        Ok(view) => view,
        Err(error) => {
            let why = error.chain();
            let mend = if why.contains("401") {
                "name a file with a principal and secret that the master accepts in `bridge.mesos-credential`"
            } else if why.contains("403") {
                "allow the bridge's principal to view agents and the registry (ACLs view_roles, get_endpoints of /registrar(1)/registry)"
            } else if why.contains("certificate") {
                "name the authority that signed its certificate in `bridge.mesos-ca`"
            } else {
                "correct `bridge.mesos-master`, which must list all masters, or open the way to them (port 5050)"
            };
            return (vec![Check::wrong(STEP, format!("{why}; no volume is taken from a dead node meanwhile"), mend)], None);
        }
    };
    checks.push(Check::well(STEP, format!("{} leads, with {} agents", view.leader, view.registered.len())));
    if let Some(server) = first {
        checks.extend(clock(http, &server, "the master").await);
    }
    (checks, Some(view))
}

async fn clock(http: &Http, server: &Endpoint, whom: &str) -> Option<Check> {
    let date = http.date(server).await.ok()?;
    checkup::clock(whom, date.as_deref(), SystemTime::now())
}

async fn of_agent(examined: &Examined<'_>, http: &Http) -> (Vec<Check>, Option<AgentInfo>, Option<PathBuf>) {
    const STEP: &str = "the agent";
    let bridge = examined.bridge;
    let agent = match bridge.agent(http) {
        Ok(agent) => agent,
        Err(error) => return (vec![Check::wrong(STEP, error.chain(), "correct `bridge.mesos-agent`")], None, None),
    };
    let mend = |error: &Error| match error.kind() {
        Kind::Unauthenticated | Kind::PermissionDenied => {
            "set `bridge.mesos-agent` to its address, so that it gets the credential of `bridge.mesos-credential`, and allow its principal"
        }
        _ => "start the agent (`systemctl status mesos-agent`), or set `bridge.mesos-agent` to where it listens (--ip, --port)",
    };
    let info = match agent.identity().await {
        Ok(info) => info,
        Err(error) => return (vec![Check::wrong(STEP, error.chain(), mend(&error))], None, None),
    };
    let mut checks = vec![Check::well(STEP, format!("{} ({}) answers at {}", info.id, info.hostname, agent.server()))];
    if let Some(node) = examined.node.filter(|node| !info.is_on(node)) {
        checks.push(Check::doubtful(
            "the agent's node",
            format!(
                "the agent says that it is on {}, and the CSI node is {node}: a takeover from this node does not find the agent",
                told(&info)
            ),
            format!("start the agent with --attributes=csi_node:{node}"),
        ));
    }
    let flags = match agent.flags().await {
        Ok(flags) => flags,
        Err(error) => {
            checks.push(Check::wrong("the agent's flags", error.chain(), mend(&error)));
            return (checks, Some(info), None);
        }
    };
    let words = flags.iter().filter(|(name, _)| FLAGS.contains(&name.as_str()));
    let words = words.map(|(name, value)| format!("--{name}={value}")).collect();
    checks.extend(settings(words));
    let value = |name: &str| flags.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let isolators: Vec<&str> = value("isolation").unwrap_or_default().split(',').collect();
    checks.extend(doors(examined, &isolators, value("csi_plugin_config_dir").map(Path::new)));
    (checks, Some(info), value("work_dir").map(PathBuf::from))
}

fn told(info: &AgentInfo) -> String {
    if info.nodes.is_empty() { info.hostname.clone() } else { info.nodes.join(", ") }
}

/// What is wrong with the flags that the agent has, and the files that they name.
fn settings(words: Vec<String>) -> Vec<Check> {
    const STEP: &str = "the agent's flags";
    let mend = format!("`hawser mesos config write` prints what to put into {PACKAGED}; then restart the agent");
    // The agent's PATH is not known here.
    let report = match agent::check(&Sources { flags: vec![FlagSource::Words(words)], ..Sources::default() }) {
        Ok(report) => report,
        Err(error) => {
            return vec![Check::wrong(STEP, error.chain(), "let this process read the directories that the flags name")];
        }
    };
    let mut checks = Vec::new();
    for file in report.files() {
        let step = if file.file == "command line" { STEP.to_owned() } else { file.file.to_owned() };
        checks.extend(file.mistakes.iter().map(|finding| Check::wrong(step.clone(), finding.to_string(), mend.clone())));
        checks.extend(file.warnings.iter().map(|finding| Check::doubtful(step.clone(), finding.to_string(), mend.clone())));
    }
    if checks.is_empty() {
        checks.push(Check::well(STEP, "fit together"));
    }
    checks
}

/// Whether agent and bridge have the same doors, and the files of each say the same.
fn doors(examined: &Examined<'_>, isolators: &[&str], plugins: Option<&Path>) -> Vec<Check> {
    const STEP: &str = "the doors";
    let bridge = examined.bridge;
    let (csi, docker) = (isolators.contains(&"volume/csi"), isolators.contains(&"docker/volume"));
    let write =
        |door: &str| format!("`hawser mesos config write --for {door}` prints the flags and files; then restart the agent");
    let mut checks = Vec::new();
    match (csi, &bridge.isolator_socket) {
        (true, None) => checks.push(Check::doubtful(
            STEP,
            "the agent has the isolator volume/csi, and `bridge.isolator-socket` is not set: the bridge does not serve it",
            "set `bridge.isolator-socket: /run/hawser/isolator.sock`",
        )),
        (false, Some(_)) => {
            // Where tasks come to volumes through another door, this one may be meant for later.
            let how = if docker || bridge.provider.is_some() { Check::doubtful } else { Check::wrong };
            checks.push(how(
                STEP,
                "`bridge.isolator-socket` is set, and the agent's --isolation lacks volume/csi: no task comes to a volume through it",
                write("isolator"),
            ));
        }
        (true, Some(_)) => checks.extend(files(examined, plugins)),
        (false, None) => {}
    }
    if !csi && !docker && bridge.provider.is_none() {
        checks.push(Check::doubtful(
            STEP,
            "the agent's --isolation has neither volume/csi nor docker/volume, and there is no `bridge.provider`: only containers of Docker \
             and Podman come to volumes",
            write("isolator --for docker"),
        ));
    }
    if checks.iter().all(|check| matches!(check.finding, checkup::Finding::Well { .. })) {
        let all = [(csi, "volume/csi"), (docker, "docker/volume"), (bridge.provider.is_some(), "disks in offers")];
        let all: Vec<&str> = all.into_iter().filter(|(is_open, _)| *is_open).map(|(_, name)| name).collect();
        checks.push(Check::well(STEP, all.join(", ")));
    }
    checks
}

/// Whether the file of our plugin says what `hawser mesos config write` would write. An agent reads every file of the directory, whatever
/// its name.
fn files(examined: &Examined<'_>, plugins: Option<&Path>) -> Option<Check> {
    let (directory, plugin) = (plugins?, examined.plugin);
    let base = directory.parent().filter(|base| base.is_absolute())?;
    let wanted = Wanted {
        doors: &[Door::Isolator],
        bridge: examined.bridge,
        plugin,
        backends: Vec::new(),
        config: None,
        isolation: None,
        directory: base,
    };
    let step = format!("the plugin {plugin} in {}", directory.display());
    let outputs = match write::files(&wanted) {
        Ok(outputs) => outputs,
        Err(error) => return Some(Check::wrong(step, error.chain(), "correct the section `bridge`")),
    };
    // Where Mesos has volumes mounted (`target_path_root`) is the agent's own affair, and checked with its flags.
    let read = |text: &str| {
        let file: Value = serde_json::from_str(text).ok()?;
        Some((file.get("type")?.as_str()?.to_owned(), file.get("endpoints").cloned()))
    };
    let wanted = outputs.iter().filter_map(|output| read(&output.text)).find(|(name, _)| name == plugin)?;
    let mend = "`hawser mesos config write --for isolator` prints the file; then restart the agent";
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()),
        Err(error) => return Some(Check::wrong(step, format!("it cannot be listed: {error}"), mend)),
    };
    let there = entries.filter_map(|path| Some((read(&fs::read_to_string(&path).ok()?)?, path)));
    let ours: Vec<_> = there.filter(|((name, _), _)| name == plugin).collect();
    Some(match ours.first() {
        None => Check::wrong(step, "no file describes it, so that the agent does not know it", mend),
        Some((found, path)) if *found == wanted => Check::well(step, format!("{} says where the bridge listens", path.display())),
        Some((_, path)) => Check::wrong(
            step,
            format!("{} names another endpoint than `bridge.isolator-socket` of this configuration", path.display()),
            mend,
        ),
    })
}

/// What a bridge that does not run has left behind: volumes that this node holds and nobody gives back.
pub fn ledger(bridge: &BridgeConfig) -> Vec<Check> {
    const STEP: &str = "the ledger";
    let path = bridge.state.join("ledger.redb");
    let inode = match fs::metadata(&path) {
        Ok(metadata) => metadata.ino(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            return vec![Check::doubtful(STEP, format!("{} cannot be looked at: {error}", path.display()), "run it as root")];
        }
    };
    match holder_of(inode) {
        Ok(Some(process)) => {
            let found = format!("is open in the bridge that runs (process {process}), which gives back what nobody uses");
            return vec![Check::well(STEP, found)];
        }
        Ok(None) => {}
        Err(error) => return vec![Check::doubtful(STEP, format!("whether a bridge runs is not seen: {error}"), "mount /proc")],
    }
    let holdings = copy_of(&path).and_then(|ledger| ledger.holdings());
    let holdings = match holdings {
        Ok(holdings) => holdings,
        Err(error) => {
            let mend = "start the bridge, which repairs what a crash left; if it cannot, move the file away: what is attached is seen anew";
            return vec![Check::wrong(STEP, error.chain(), mend)];
        }
    };
    if holdings.is_empty() {
        return vec![Check::well(STEP, "no volume is held here; no bridge runs")];
    }
    let idle = holdings.iter().filter(|(_, holding)| holding.uses.is_empty()).count();
    let named: Vec<&str> = holdings.iter().take(5).map(|(id, _)| id.as_str()).collect();
    vec![Check::doubtful(
        STEP,
        format!(
            "no bridge runs, and this node holds {} volumes ({idle} of them for nobody): {}; they stay attached, and no other node gets them",
            holdings.len(),
            named.join(", ")
        ),
        "start the bridge (`systemctl start hawser-bridge`): it gives back what nobody uses",
    )]
}

/// The process that has locked the file with this inode number, as the kernel lists locks (proc_locks(5)). Trying the lock oneself would
/// refuse a bridge that is just being started.
fn holder_of(inode: u64) -> std::io::Result<Option<String>> {
    let locks = fs::read_to_string("/proc/locks")?;
    let of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (kind, process, place) = (fields.get(1)?, fields.get(4)?, fields.get(5)?);
        let is_it = *kind == "FLOCK" && place.rsplit(':').next()?.parse() == Ok(inode);
        is_it.then(|| (*process).to_owned())
    };
    Ok(locks.lines().find_map(of))
}

/// The ledger as it is at this moment, in memory: opening the file itself would write to it.
fn copy_of(path: &Path) -> Result<Ledger> {
    let failed = |what: &str, error: std::io::Error| Error::unavailable(format!("{what} {}", path.display())).caused_by(error);
    let text = fs::read(path).map_err(|error| failed("read", error))?;
    let memory = rustix::fs::memfd_create("ledger", rustix::fs::MemfdFlags::CLOEXEC);
    let mut memory = File::from(memory.map_err(|errno| failed("copy", errno.into()))?);
    memory.write_all(&text).map_err(|error| failed("copy", error))?;
    Ledger::of_copy(memory, path)
}

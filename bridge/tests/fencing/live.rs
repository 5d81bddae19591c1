//! The same with a real Mesos: a master and agents of release 1.11.0, each a process of its own.
//!
//! Runs where that is installed: `HAWSER_MESOS` names the directory, or it is in `target/tools/mesos`, where `tests/install` puts
//! it. Elsewhere it says that it did not run; the recorded answers are all that is tried then.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_bridge::Takeover;
use hawser_bridge::fence::{Decision, Holder, Why};
use hawser_bridge::mesos::{Agent, Http, HttpOptions, Master, Standing};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

const VOLUME: &str = "local:v1";
const FIRST_BOOT: &str = "3c9e5a0e-1f2b-4f6a-9e55-6c1b7d2f0a11";
const SECOND_BOOT: &str = "11111111-1f2b-4f6a-9e55-6c1b7d2f0a11";

/// How long a real daemon may take for anything, on a machine that has other things to do.
const LONG: Duration = Duration::from_secs(60);

fn installed() -> Option<PathBuf> {
    let named = std::env::var_os("HAWSER_MESOS").map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/mesos"));
    let program = path.join("libexec/mesos");
    assert!(named.is_none() || program.exists(), "HAWSER_MESOS names no Mesos: {} is missing", program.display());
    program.exists().then_some(program)
}

/// A master or an agent. It is killed with the test.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn start(program: &Path, work: &Path, port: u16, arguments: &[&str], flags: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(work).unwrap();
        let log = work.with_extension("log");
        let child = Command::new(program)
            .args(arguments)
            .env("LIBPROCESS_IP", "127.0.0.1")
            .env("LIBPROCESS_PORT", port.to_string())
            .env("MESOS_HOSTNAME", "localhost")
            .env("MESOS_WORK_DIR", work)
            .env("MESOS_REGISTRATION_BACKOFF_FACTOR", "10ms")
            .envs(flags.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self { child, port };
        let started = Instant::now();
        daemon.port = loop {
            let said = std::fs::read_to_string(&log).unwrap();
            let address = said.lines().find_map(|line| line.split_once("started on ")?.1.split_once("127.0.0.1:"));
            if let Some(port) = address.and_then(|(_, port)| port.trim().parse().ok()) {
                break port;
            }
            assert!(started.elapsed() < LONG, "{arguments:?} does not start: {said}");
            std::thread::sleep(Duration::from_millis(20));
        };
        daemon
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops it; when this returns it answers nothing any more. Each of its threads stops when it sees the signal.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let begun = Instant::now();
        while !self.is_still() {
            assert!(begun.elapsed() < LONG, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_still(&self) -> bool {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().all(|task| {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tT"))
        })
    }

    /// Lets it go on.
    fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent(program: &Path, work: &Path, master: &Daemon, attributes: &str) -> Daemon {
    let leader = format!("master@127.0.0.1:{}", master.port);
    let flags = [
        ("MESOS_ATTRIBUTES", attributes),
        ("MESOS_REGISTRY", "in_memory"),
        ("MESOS_LAUNCHER_DIR", program.parent().unwrap().to_str().unwrap()),
        ("MESOS_LAUNCHER", "posix"),
        ("MESOS_ISOLATION", "filesystem/posix,posix/cpu,posix/mem"),
        ("MESOS_CONTAINERIZERS", "mesos"),
        ("MESOS_SYSTEMD_ENABLE_SUPPORT", "false"),
        ("MESOS_RESOURCES", "cpus:1;mem:512;disk:512;ports:[]"),
    ];
    Daemon::start(program, work, 0, &["agent", &leader], &flags)
}

async fn post(url: &str, call: Value) -> String {
    let request =
        reqwest::Client::new().post(url).header("Content-Type", "application/json").header("Accept", "application/json");
    let answer = request.body(call.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{call}: {}", answer.status());
    answer.text().await.unwrap()
}

async fn until(master: &Master, agent: &str, wanted: fn(Standing) -> bool) {
    let agent = agent.parse().unwrap();
    let started = Instant::now();
    loop {
        let standing = master.view().await.map(|view| view.standing(&agent));
        if standing.as_ref().is_ok_and(|standing| wanted(*standing)) {
            return;
        }
        assert!(started.elapsed() < LONG, "agent {agent} is {standing:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn id_of(daemon: &Daemon) -> String {
    let agent = Agent::new(Http::new(HttpOptions::default()).unwrap(), daemon.url().parse().unwrap(), LONG);
    let started = Instant::now();
    loop {
        // Until it is registered the agent has no id, and says so by leaving it out.
        match agent.identity().await {
            Ok(info) => return info.id.to_string(),
            Err(error) => assert!(started.elapsed() < LONG, "{}", error.chain()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn why(world: &World, policy: Takeover) -> Option<Why> {
    let holder = world.around.holder.lock().unwrap().clone().unwrap();
    match world.fence.judge(VOLUME, policy, &holder).await {
        Decision::Take(_) => None,
        Decision::Refuse(refusal) => Some(refusal.why),
    }
}

#[tokio::test]
async fn a_real_mesos_is_asked_the_same_way() {
    let Some(program) = installed() else {
        eprintln!("not run: there is no Mesos in HAWSER_MESOS or target/tools/mesos");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let work = |name: &str| place.path().join(name);
    // An agent is unreachable after two seconds without an answer, and not after 75.
    let quick = [("MESOS_AGENT_PING_TIMEOUT", "1secs"), ("MESOS_MAX_AGENT_PING_TIMEOUTS", "2")];
    let first_master = Daemon::start(&program, &work("master"), 0, &["master"], &quick);
    let attributes = |boot: &str| format!("csi_node:n1;boot_id:{boot}");
    let holding = agent(&program, &work("holding"), &first_master, &attributes(FIRST_BOOT));
    let other = agent(&program, &work("other"), &first_master, "csi_node:n2");
    let (id, other_id) = (id_of(&holding).await, id_of(&other).await);

    let http = Http::new(HttpOptions::default()).unwrap();
    let master = Master::new(http.clone(), first_master.url().parse().unwrap(), PATIENCE);
    let world = World::with(&first_master.url()).await;
    let hold = Holder {
        agent: Some(id.parse().unwrap()),
        task: Some("db.1".into()),
        boot: Some(FIRST_BOOT.into()),
        ..Holder::on("n1".parse().unwrap())
    };
    *world.around.holder.lock().unwrap() = Some(hold.clone());
    let watch = {
        let fence = Arc::clone(&world.fence);
        tokio::spawn(async move { fence.keep_watch(Duration::from_millis(100)).await })
    };
    let patient = Takeover::UnreachableAfter(Duration::from_secs(3));

    // Both are there, and one of them is told apart from its node alone.
    until(&master, &id, |standing| standing == Standing::Registered { active: true }).await;
    until(&master, &other_id, |standing| standing == Standing::Registered { active: true }).await;
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Alive));
    *world.around.holder.lock().unwrap() = Some(Holder::on("n1".parse().unwrap()));
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Alive));
    *world.around.holder.lock().unwrap() = Some(hold.clone());

    // The process of an agent has a standby master in it, which sends us to the leader and has an empty registry.
    let roundabout = Master::new(http.clone(), other.url().parse().unwrap(), PATIENCE);
    let view = roundabout.view().await.unwrap();
    assert_eq!(view.leader.to_string(), format!("http://localhost:{}", first_master.port));
    assert_eq!(view.registered.len(), 2);
    // What the master says of where an agent answers is so.
    let process = view.registered[&id.parse().unwrap()].process.clone().unwrap();
    assert_eq!(Agent::new(http.clone(), process, LONG).identity().await.unwrap().id.as_str(), id);

    // A container that no framework knows.
    let view_of = Agent::new(http.clone(), other.url().parse().unwrap(), LONG);
    assert_eq!(view_of.view().await.unwrap().containers, []);
    post(
        &format!("{}/slave(1)/api/v1", other.url()),
        json!({"type": "LAUNCH_CONTAINER", "launch_container": {"container_id": {"value": "alone"}, "command": {"value": "sleep 600"},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}, {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}]}}),
    )
    .await;
    let untold: Vec<String> = view_of.view().await.unwrap().untold.iter().map(ToString::to_string).collect();
    assert_eq!(untold, ["alone"]);
    let kill = json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": {"value": "alone"}}});
    post(&format!("{}/slave(1)/api/v1", other.url()), kill).await;

    // Stopped: unreachable after a while, and back when it goes on.
    holding.stop();
    until(&master, &id, |standing| matches!(standing, Standing::Unreachable { .. })).await;
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Unproven));
    let seen = Instant::now();
    while let Some(reason) = why(&world, patient).await {
        assert!(matches!(reason, Why::TooSoon { .. }) && seen.elapsed() < LONG, "{reason:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(seen.elapsed() >= Duration::from_secs(2), "{:?}", seen.elapsed());
    holding.go_on();
    until(&master, &id, |standing| matches!(standing, Standing::Registered { .. })).await;
    assert_eq!(why(&world, patient).await, Some(Why::Alive));

    // Killed: disconnected is not dead. Started again after a reboot, with the boot among its attributes, it is another agent.
    drop(holding);
    assert_eq!(why(&world, patient).await, Some(Why::Alive));
    until(&master, &id, |standing| matches!(standing, Standing::Unreachable { .. })).await;
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Unproven));
    // Mesos has nothing left of it but its id; that it was on this node was seen.
    let bare = Holder::on("n1".parse().unwrap());
    let Decision::Refuse(refusal) = world.fence.judge(VOLUME, Takeover::AgentGone, &bare).await else { panic!("taken") };
    assert!(refusal.text.contains(&format!("agent {id} is unreachable")), "{refusal}");
    // Where the agent keeps the boot that it was in.
    let checkpoint = work("holding").join("agents/0/work/meta/boot_id");
    assert!(checkpoint.exists());
    std::fs::write(checkpoint, "00000000-0000-0000-0000-000000000000").unwrap();
    let rebooted = agent(&program, &work("holding"), &first_master, &attributes(SECOND_BOOT));
    let new_id = id_of(&rebooted).await;
    assert_ne!(new_id, id);
    until(&master, &new_id, |standing| matches!(standing, Standing::Registered { .. })).await;
    assert_eq!(why(&world, Takeover::AgentGone).await, None);
    assert_eq!(why(&world, Takeover::BackendDead).await, Some(Why::Unproven));
    *world.around.holder.lock().unwrap() = Some(Holder { boot: Some(SECOND_BOOT.into()), ..hold.clone() });
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Contradiction));
    *world.around.holder.lock().unwrap() = Some(hold.clone());

    // Marked gone while it runs: Mesos ends it.
    let marked = Holder { agent: Some(new_id.parse().unwrap()), boot: Some(SECOND_BOOT.into()), ..hold };
    *world.around.holder.lock().unwrap() = Some(marked);
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Alive));
    let gone = json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": new_id}}});
    post(&format!("{}/master/api/v1", first_master.url()), gone).await;
    until(&master, &new_id, |standing| matches!(standing, Standing::Gone { .. })).await;
    assert!(Arc::clone(&world.fence).take(VOLUME, Takeover::AgentGone).await.unwrap().is_some());
    assert_eq!(world.detached(), [(VOLUME.to_owned(), "n1".to_owned())]);
    assert_eq!(world.outcomes(), ["intended", "done"]);

    // The master hangs, dies, and comes back with its registry: gone stays gone, and the other agent was recovered meanwhile.
    other.stop();
    first_master.stop();
    let started = Instant::now();
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Unproven));
    assert!(started.elapsed() < PATIENCE.all + Duration::from_secs(2), "{:?}", started.elapsed());
    let port = first_master.port;
    drop(first_master);
    assert_eq!(why(&world, Takeover::AgentGone).await, Some(Why::Unproven));
    let _second = Daemon::start(&program, &work("master"), port, &["master"], &quick);
    until(&master, &other_id, |standing| standing == Standing::Recovered).await;
    until(&master, &new_id, |standing| matches!(standing, Standing::Gone { .. })).await;
    assert_eq!(why(&world, Takeover::AgentGone).await, None);
    watch.abort();
}

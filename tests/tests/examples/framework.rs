//! The framework with Node IDs, on a real Mesos: whatever is killed, each node has its own data, and all of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hawser_tests::Workspace;
use hawser_tests::binary::hawser;
use hawser_tests::bridges::AGENTS;
use hawser_tests::cluster::{Cluster, Way};
use hawser_tests::daemon::Daemon;
use hawser_tests::output::Output;
use hawser_tests::poll::{until, until_async};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::chart;

/// More nodes than agents, so that two share one.
const NODES: usize = 3;

/// Writes numbers that go on where the last one before ended: one that is missing, twice there, or of another node is seen.
const COUNT: &str = "n=$(tail -n 1 data/log 2>/dev/null | cut -d ' ' -f 2); \
                     while :; do n=$((${n:-0} + 1)); echo \"$NODE_ID $n $TASK_ID\" >> data/log; sync data/log; sleep 0.1; done";

/// An agent is unreachable after two seconds without an answer.
fn quick() -> [(&'static str, String); 2] {
    [("MESOS_AGENT_PING_TIMEOUT", "1secs".to_owned()), ("MESOS_MAX_AGENT_PING_TIMEOUTS", "2".to_owned())]
}

/// A line of a node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    node: usize,
    number: usize,
    task: String,
}

impl Line {
    fn read(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let [node, number, task] = words.as_slice() else { panic!("not a line: {text:?}") };
        Self { node: node.parse().unwrap(), number: number.parse().unwrap(), task: (*task).to_owned() }
    }
}

/// The framework of the example, with a cluster below it.
struct Site {
    // Dropped in this order: who uses the cluster before it.
    scheduler: Option<Daemon>,
    cluster: Cluster,
    workspace: Workspace,
    through: &'static str,
}

impl Site {
    async fn start(way: Way, through: &'static str) -> Self {
        let more = ["grace: 1s", "reconcile-every: 1s", "wait-for-holder: 2s", "takeover: unreachable-after-3s"];
        let cluster = Cluster::start(way, &more, &quick()).await;
        let mut site = Self { scheduler: None, cluster, workspace: Workspace::new(), through };
        site.start_scheduler();
        site
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.arg(chart("examples/framework/nodes.py")).args([
            "--master",
            self.cluster.mesos().url(),
            "--nodes",
            &NODES.to_string(),
        ]);
        command.arg("--state").arg(self.workspace.path().join("nodes.json")).args(["--through", self.through, "--size", "64MiB"]);
        command.args(["--cpus", "0.1", "--mem", "32"]).args(more).args(["--", COUNT]);
        command
    }

    fn start_scheduler(&mut self) {
        self.scheduler = Some(Daemon::spawn(self.command(&[]), &self.workspace.path().join("log")));
    }

    /// What the state file says of each node: its task and the agent of that.
    fn tasks(&self) -> Vec<Option<(String, String)>> {
        let Ok(text) = fs::read(self.workspace.path().join("nodes.json")) else { return vec![None; NODES] };
        let state: Value = serde_json::from_slice(&text).unwrap();
        let word = |node: &Value, key: &str| node[key].as_str().map(str::to_owned);
        state["nodes"].as_array().unwrap().iter().map(|node| Some((word(node, "task")?, word(node, "agent")?))).collect()
    }

    /// The logs that can be seen now, by their nodes; panics when one is not the log of one node alone, without a gap.
    fn logs(&self) -> [Vec<Line>; NODES] {
        let mut logs: [Vec<Line>; NODES] = Default::default();
        for file in (0..AGENTS.len()).flat_map(|agent| self.cluster.mounted(agent)).map(|mount| mount.join("log")) {
            let Some(lines) = read(&file) else { continue };
            let Some(Line { node, .. }) = lines.last().cloned() else { continue };
            check(node, &lines);
            // The same volume is seen at more than one place; a look may be older than another.
            if lines.len() > logs[node].len() {
                logs[node] = lines;
            }
        }
        logs
    }

    /// Waits until every node's task, which is not among `ended`, has written into the log of that node beyond `before`; returns the
    /// lengths of the logs.
    fn until_all_write(&mut self, when: &str, ended: &[&str], before: [usize; NODES]) -> [usize; NODES] {
        until(when, || {
            let scheduler = self.scheduler.as_mut().unwrap();
            assert!(!scheduler.has_ended(), "the framework ended:\n{}", scheduler.tail());
            let (tasks, logs) = (self.tasks(), self.logs());
            let writes = |node: usize| {
                let last = logs[node].last()?;
                let task = &tasks[node].as_ref()?.0;
                (last.number > before[node] && *task == last.task && !ended.contains(&task.as_str())).then_some(())
            };
            (0..NODES).all(|node| writes(node).is_some()).then(|| logs.map(|log| log.len()))
        })
    }

    /// Ends the framework and its tasks, and reads what each volume has in the end.
    async fn finish(mut self, before: [usize; NODES]) {
        self.scheduler.take().unwrap().kill();
        Output::of(self.command(&["--teardown"])).await.well();
        let bridges = self.cluster.bridges();
        assert_eq!(bridges.volumes(), ["es-data-0", "es-data-1", "es-data-2"]);
        for (node, written) in before.into_iter().enumerate() {
            let name = format!("es-data-{node}");
            let path = until_async("the volume", async || bridges.agent(AGENTS[1]).mount(&name, &[]).await.ok()).await;
            let lines = read(&path.join("log")).unwrap();
            check(node, &lines);
            assert!(lines.len() >= written, "node {node} had written {written} lines, and {} are there", lines.len());
            bridges.agent(AGENTS[1]).unmount(&name).await.unwrap();
        }
        self.cluster.finish();
    }
}

/// The whole lines of a file, if it is there; it is being written.
fn read(file: &PathBuf) -> Option<Vec<Line>> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(Line::read).collect())
}

/// Panics unless the lines are those of `node` from the first on.
fn check(node: usize, lines: &[Line]) {
    for (at, line) in lines.iter().enumerate() {
        assert!(line.node == node && line.number == at + 1, "line {} of node {node} is {line:?}", at + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_keeps_its_data_whatever_fails() {
    let mut site = Site::start(Way::Csi, "csi").await;
    let begun = site.until_all_write("writing of all nodes", &[], [0; NODES]);

    // Tasks end by no will of the framework.
    let first = site.tasks();
    let ended = [task(&first[0]), task(&first[2])];
    ended.iter().for_each(|task| kill_task(&site, task));
    let again = site.until_all_write("writing of the tasks that came after", &ended, begun);
    let second = site.tasks();
    assert_eq!(first[1], second[1], "a task that nobody touched");

    // The framework is killed; its tasks go on, and one ends meanwhile. The next framework knows them all.
    site.scheduler.take().unwrap().kill();
    let ended = [task(&second[1])];
    kill_task(&site, ended[0]);
    site.start_scheduler();
    let after = site.until_all_write("writing after the framework came back", &ended, again);
    let third = site.tasks();
    assert_eq!((&second[0], &second[2]), (&third[0], &third[2]), "tasks that nobody touched");

    // An agent goes with its machine.
    let gone = site.cluster.mesos().agent(0).id().await;
    let ended: Vec<&str> = third.iter().filter(|of| of.as_ref().unwrap().1 == gone).map(task).collect();
    assert!(!ended.is_empty(), "no node is on the agent: {third:?}");
    site.cluster.lose_machine(0);
    let moved = site.until_all_write("writing of all nodes on the agent that is left", &ended, after);
    site.finish(moved).await;
}

/// The id of a node's task.
fn task(of: &Option<(String, String)>) -> &str {
    &of.as_ref().unwrap().0
}

/// Kills the shell that a task runs, as a crash would.
fn kill_task(site: &Site, task: &str) {
    let variable = format!("TASK_ID={task}");
    let runs = |process: &PathBuf| {
        let is_shell = fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "sh");
        is_shell
            && fs::read(process.join("environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == variable.as_bytes()))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let shells: Vec<PathBuf> = processes.filter(runs).collect();
    assert!(!shells.is_empty(), "nothing runs as {task}\n{}", site.cluster.mesos().tail());
    for shell in shells {
        let id = shell.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_keeps_its_data_through_dvdcli() {
    let mut site = Site::start(Way::Dvdcli, "docker-volume").await;
    let begun = site.until_all_write("writing of all nodes", &[], [0; NODES]);
    let first = site.tasks();
    let ended: Vec<&str> = first.iter().map(task).collect();
    ended.iter().for_each(|task| kill_task(&site, task));
    let again = site.until_all_write("writing of the tasks that came after", &ended, begun);
    site.finish(again).await;
}

/// `hawser mesos plan` finds nothing wrong with what the framework launches.
#[tokio::test]
async fn what_the_framework_declares_is_planned_without_a_word() {
    let directory = Workspace::new();
    for (through, option) in [("csi", "backend=ebs"), ("docker-volume", "takeover=agent-gone")] {
        let file = directory.path().join("task.json");
        let mut show = Command::new("python3");
        show.arg(chart("examples/framework/nodes.py")).args(["--master=http://localhost:5050", "--nodes=3", "--state=/nowhere"]);
        show.args(["--through", through, "--volume-option", option, "--show", "exec bin/node"]);
        fs::write(&file, Output::of(show).await.well()).unwrap();
        let mut plan = Command::new(hawser());
        plan.args(["mesos", "plan"]).arg(&file);
        let output = Output::of(plan).await;
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(output.stdout.contains("es-data-0") && output.stdout.contains("10GiB"), "{}", output.stdout);
    }
}

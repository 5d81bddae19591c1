//! Mesos 1.11 and its isolator `docker/volume`, which runs `dvdcli`.
//!
//! # What it asks
//! - `dvdcli mount --volumedriver=D --volumename=N --volumeopts=K=V …`, before a container runs, once for each container and volume:
//!   also when the volume is in use on the agent already. One flag for each option, in no order; the value is what comes after the
//!   first `=`. That a task wants the volume read-only is not said. The volumes of one container come at the same time, calls for
//!   one volume one after the other.
//! - `dvdcli unmount --volumedriver=D --volumename=N`, once, when the last container that uses the volume on this agent has ended.
//! - Standard input is empty. The environment is the agent's.
//!
//! # What it makes of the answer
//! - Status 0, and a directory as the only line of standard output: that is bound into the container, with what is mounted below
//!   it. Blank lines around it and whatever is on standard error do not matter.
//! - Status 0 and anything else, nothing too: the container starts and ends with status 1. Nobody is told why.
//! - Another status: the launch fails, and what was written to standard error is what the user reads. **Every volume of the container
//!   is unmounted, also those whose mount failed.**
//! - Whoever kills the container waits for the end of the mount; then comes the unmount. Only after 120 s Mesos kills `dvdcli` with
//!   everything below it and goes on as above; unmounting may take ten minutes (mesos: isolators/docker/volume/driver.cpp; not
//!   waited for here).
//! - A failed unmount is not repeated: the container stays "being destroyed" until the agent starts anew.
//!
//! # When something dies
//! - The agent's process: **a `dvdcli` that runs is killed at once.** Containers go on. The next agent unmounts what was being mounted,
//!   what belongs to containers that have ended, and what could not be unmounted; for containers that run it does nothing, it does
//!   not look at their volumes either.
//! - The machine: nobody is asked to unmount anything. The record of what was mounted is in /run.

use std::fs;
use std::process::Command;
use std::time::Duration;

use hawser_tests::Workspace;
use hawser_tests::enclosure::share;
use hawser_tests::kernel::run;
use hawser_tests::mesos::{Container, Framework, Mesos, Options};
use hawser_tests::poll::{until, until_async};

use crate::dvdcli::Dvdcli;
use crate::traces::Traces;

const DRIVER: &str = "driver";

/// A container with one volume, at `data`.
fn with_volume(id: &str, shell: &str, volume: &str) -> Container {
    Container::new(id, shell).docker_volume("data", DRIVER, volume, &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mesos_mounts_for_each_container_and_unmounts_after_the_last() {
    let traces = Traces::now();
    let workspace = Workspace::new();
    let dvdcli = Dvdcli::new(&workspace);
    let mesos = Mesos::start(&workspace, Options::with_dvdcli(&dvdcli.program())).await;
    let agent = mesos.agent(0);
    dvdcli.prepare("mount", "v1", "readlink /proc/self/fd/0 > $base/stdin; env > $base/environment");
    let options = [("size", "1GiB"), ("label", "a=b,c d")];
    let first = Container::new("first", "echo hello > data/letter; sleep 1000").docker_volume("data", DRIVER, "v1", &options);
    agent.launch(&first).await.unwrap();
    assert_eq!(
        dvdcli.calls(),
        [format!("mount --volumedriver={DRIVER} --volumename=v1 --volumeopts=label=a=b,c d --volumeopts=size=1GiB")]
    );
    assert_eq!(fs::read_to_string(dvdcli.base().join("stdin")).unwrap(), "/dev/null\n");
    assert!(fs::read_to_string(dvdcli.base().join("environment")).unwrap().contains("MESOS_WORK_DIR="), "not the agent's");
    let letter = dvdcli.volume("v1").join("letter");
    until("the file in the volume", || fs::read_to_string(&letter).ok().filter(|text| text == "hello\n"));
    let second = with_volume("second", "test \"$(cat data/letter)\" = hello", "v1");
    assert_eq!(agent.run(&second).await.unwrap(), Some(0), "the second container does not see the file of the first");
    assert_eq!(dvdcli.calls(), [format!("mount --volumedriver={DRIVER} --volumename=v1")]);
    agent.kill("first").await.unwrap();
    agent.wait("first").await.unwrap();
    assert_eq!(dvdcli.calls(), [format!("unmount --volumedriver={DRIVER} --volumename=v1")]);
    // Each of the two mounts ends only when the other one has begun.
    let meet = |me: &str, other: &str| format!("touch $base/{me}; until [ -e $base/{other} ]; do sleep 0.02; done");
    dvdcli.prepare("mount", "left", &meet("left", "right"));
    dvdcli.prepare("mount", "right", &meet("right", "left"));
    let both =
        Container::new("both", "touch a/x b/y").docker_volume("a", DRIVER, "left", &[]).docker_volume("b", DRIVER, "right", &[]);
    assert_eq!(agent.run(&both).await.unwrap(), Some(0));
    assert!(dvdcli.volume("left").join("x").exists() && dvdcli.volume("right").join("y").exists());
    mesos.finish().await;
    drop(mesos);
    traces.assert_none(workspace.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_sees_what_is_mounted_outside_after_the_start_of_its_agent() {
    let workspace = Workspace::new();
    let dvdcli = Dvdcli::new(&workspace);
    let volumes = workspace.directory("dvdcli/volumes");
    let point = workspace.directory("dvdcli/volumes/v1/below");
    share(&volumes);
    let options = Options { seen: vec![volumes], ..Options::with_dvdcli(&dvdcli.program()) };
    let mesos = Mesos::start(&workspace, options).await;
    let agent = mesos.agent(0);
    run("mount", &["-t", "tmpfs", "tmpfs", point.to_str().unwrap()]);
    fs::write(point.join("letter"), "").unwrap();
    let status = agent.run(&with_volume("c", "ls data/below/letter", "v1")).await.unwrap();
    assert_eq!(status, Some(0), "the mount is not seen inside");
    run("umount", &[point.to_str().unwrap()]);
    assert!(agent.machine().mounts().iter().all(|mount| mount.point != point), "the mount is still seen inside");
    mesos.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mesos_makes_of_the_answer_of_a_mount() {
    let workspace = Workspace::new();
    let dvdcli = Dvdcli::new(&workspace);
    let mesos = Mesos::start(&workspace, Options::with_dvdcli(&dvdcli.program())).await;
    let agent = mesos.agent(0);
    let place = dvdcli.volume("any").display().to_string();
    fs::create_dir_all(&place).unwrap();
    for (name, prepared, status) in [
        ("blanks", format!("echo; echo ' {place} '; echo; exit"), 0),
        ("complaint", format!("echo complaint >&2; echo {place}; exit"), 0),
        ("silence", "exit".to_owned(), 1),
        ("nowhere", "echo /never/made; exit".to_owned(), 1),
        ("talk", format!("echo talk; echo {place}; exit"), 1),
    ] {
        dvdcli.prepare("mount", name, &prepared);
        assert_eq!(agent.run(&with_volume(name, "touch data/x", name)).await.unwrap(), Some(status << 8), "{name}");
        assert_eq!(dvdcli.verbs(), [format!("mount {name}"), format!("unmount {name}")]);
    }
    dvdcli.prepare("mount", "refused", "echo the pool is full >&2; exit 1");
    let two = with_volume("two", "true", "good").docker_volume("more", DRIVER, "refused", &[]);
    assert_eq!(agent.launch(&two).await, Err("400: Unexpected termination of the subprocess: the pool is full\n".to_owned()));
    agent.wait("two").await.unwrap();
    let mut calls = dvdcli.verbs();
    calls[..2].sort();
    calls[2..].sort();
    assert_eq!(calls, ["mount good", "mount refused", "unmount good", "unmount refused"]);
    dvdcli.prepare("mount", "slow", "touch $base/begun; until [ -e $base/may-end ]; do sleep 0.02; done; touch $base/ended");
    let launch = tokio::spawn(agent.launch(&with_volume("slow", "true", "slow")));
    until("the begin of the mount", || dvdcli.base().join("begun").exists().then_some(()));
    agent.kill("slow").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(dvdcli.verbs(), ["mount slow"], "Mesos did not wait for the end of the mount");
    fs::write(dvdcli.base().join("may-end"), "").unwrap();
    let error = launch.await.unwrap().unwrap_err();
    assert!(error.contains("destroyed during preparing"), "{error}");
    agent.wait("slow").await.unwrap();
    assert!(dvdcli.base().join("ended").exists(), "the mount was interrupted");
    assert_eq!(dvdcli.verbs(), ["unmount slow"]);
    mesos.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_anew_unmounts_what_is_used_no_more() {
    let workspace = Workspace::new();
    let dvdcli = Dvdcli::new(&workspace);
    let mut mesos = Mesos::start(&workspace, Options::with_dvdcli(&dvdcli.program())).await;
    let agent = mesos.agent_mut(0);
    dvdcli.prepare("unmount", "busy", "echo the target is busy >&2; exit 1");
    agent.launch(&with_volume("busy", "true", "busy")).await.unwrap();
    let error = agent.wait("busy").await.unwrap_err();
    assert!(error.starts_with("500") && error.contains("the target is busy"), "{error}");
    assert_eq!(agent.containers().await, ["busy"], "the container should still be in destruction");
    agent.launch(&with_volume("lives", "echo $$ > data/process; sleep 1000", "lives")).await.unwrap();
    agent.launch(&with_volume("ends", "until [ -e data/may-end ]; do sleep 0.02; done; touch data/ended", "ends")).await.unwrap();
    dvdcli.prepare("mount", "slow", "touch $base/begun; sleep 1000");
    let launch = tokio::spawn(agent.launch(&with_volume("slow", "true", "slow")));
    until("the begin of the mount", || dvdcli.base().join("begun").exists().then_some(()));
    dvdcli.verbs();
    agent.kill_process();
    assert!(launch.await.unwrap().is_err());
    until("the end of dvdcli with its agent", || (running(&dvdcli) == 0).then_some(()));
    // Without the agent, a container goes on and ends.
    fs::write(dvdcli.volume("ends").join("may-end"), "").unwrap();
    until("the end of the container", || dvdcli.volume("ends").join("ended").exists().then_some(()));
    dvdcli.forget("unmount", "busy");
    agent.start_again().await;
    until_async("the cleaning", async || (agent.containers().await == ["lives"]).then_some(())).await;
    let mut calls = dvdcli.verbs();
    calls.sort();
    assert_eq!(calls, ["unmount busy", "unmount ends", "unmount slow"]);
    assert!(dvdcli.volume("lives").join("process").exists());
    agent.kill("lives").await.unwrap();
    agent.wait("lives").await.unwrap();
    assert_eq!(dvdcli.verbs(), ["unmount lives"]);
    mesos.finish().await;
}

/// How many processes of the program there are.
fn running(dvdcli: &Dvdcli) -> usize {
    let output =
        Command::new("pgrep").args(["--count", "--full", &format!("{}|bin/dvdcli", dvdcli.program().display())]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_loss_of_a_machine_nothing_is_unmounted() {
    let workspace = Workspace::new();
    let dvdcli = Dvdcli::new(&workspace);
    let mut mesos = Mesos::start(&workspace, Options::with_dvdcli(&dvdcli.program())).await;
    let agent = mesos.agent_mut(0);
    let id = agent.id().await;
    agent.launch(&with_volume("c", "sleep 1000", "v1")).await.unwrap();
    dvdcli.verbs();
    agent.lose_machine();
    agent.start_again().await;
    let agent = mesos.agent(0);
    mesos.until_registered(agent).await;
    assert_eq!(agent.id().await, id, "it came back as another agent");
    mesos.finish().await;
    assert_eq!(dvdcli.verbs(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_has_its_volume_on_any_agent_and_its_user_reads_why_not() {
    let traces = Traces::now();
    let workspace = Workspace::new();
    let dvdcli = Dvdcli::new(&workspace);
    let mut mesos = Mesos::start(&workspace, Options { agents: 2, ..Options::with_dvdcli(&dvdcli.program()) }).await;
    let mut framework = Framework::subscribe(&mesos).await;
    framework.run(mesos.agent(0), &with_volume("write", "echo hello > data/letter", "v1")).await;
    framework.until("write", "TASK_FINISHED").await;
    framework.run(mesos.agent(1), &with_volume("read", "grep hello data/letter", "v1")).await;
    framework.until("read", "TASK_FINISHED").await;
    dvdcli.prepare("mount", "refused", "echo the pool is full >&2; exit 1");
    framework.run(mesos.agent(0), &with_volume("refused", "true", "refused")).await;
    let status = framework.until("refused", "TASK_FAILED").await;
    assert_eq!(status["message"], "Failed to launch container: Unexpected termination of the subprocess: the pool is full\n");
    framework.run(mesos.agent(0), &with_volume("lives", "sleep 1000", "lives")).await;
    framework.until("lives", "TASK_RUNNING").await;
    until("the unmounts of the tasks that are over", || {
        let calls = fs::read_to_string(dvdcli.base().join("calls")).unwrap();
        (calls.matches("unmount").count() == 3).then_some(())
    });
    dvdcli.verbs();
    let agent = mesos.agent_mut(0);
    agent.kill_process();
    agent.start_again().await;
    mesos.until_registered(mesos.agent(0)).await;
    assert_eq!(dvdcli.verbs(), [] as [&str; 0], "the task runs, and its volume was touched");
    framework.kill("lives").await;
    framework.until("lives", "TASK_KILLED").await;
    until("the unmount", || (dvdcli.verbs() == ["unmount lives"]).then_some(()));
    // An agent that is called gone may not come back.
    let gone = mesos.agent(1).id().await;
    mesos.agent_mut(1).lose_machine();
    mesos.mark_agent_gone(&gone).await;
    assert!(!mesos.is_active(&gone).await);
    drop((framework, mesos));
    traces.assert_none(workspace.path());
}

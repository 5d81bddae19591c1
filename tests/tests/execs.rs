//! Which programs the plugin runs: to make a filesystem, `mkfs.*`; for everything else, none.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;
use std::process::Command;

use hawser_tests::binary::hawser;
use hawser_tests::client::{clone_request, exactly};
use hawser_tests::content::{assert_holds, pattern, write};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::may_grow_ext4;
use hawser_tests::plugin::{NODE_A, Plugin};
use hawser_tests::process::Process;
use hawser_tests::settings::Kind;
use hawser_tests::{MIB, Settings, Usage};

/// The names of the programs that were run so far, in their order, after the plugin itself.
fn programs(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).unwrap();
    // A search along the path tries where there is nothing.
    let done = text.lines().filter(|line| line.ends_with("= 0"));
    let paths = done.map(|line| line.split('"').nth(1).unwrap());
    paths.skip(1).map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_making_a_filesystem_runs_a_program() {
    let ground = Footing::of(Ground::Xfs);
    let plugin = Plugin::start(ground.path(), Settings::new(Kind::Image), Usage::mount()).await;
    let socket = plugin.socket(NODE_A);
    assert!(plugin.take().await.terminate().success());
    let place = |name: &str| plugin.workspace().join(name);
    let trace = place("trace");
    // The tracer runs beside the plugin, not above it, so that the plugin is the process that is stopped at the end.
    let mut tracer = Command::new("strace");
    tracer.args(["-D", "-f", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-o"]).arg(&trace).arg(hawser());
    let mut traced = Process::serve(tracer, &plugin.config(), NODE_A, &socket, &place("traced.log"), "info").await;
    let a = plugin.a();
    for (filesystem, mebibytes) in [("ext4", 16), ("xfs", 320), ("btrfs", 128)] {
        let before = programs(&trace);
        let usage = Usage::mount().filesystem(filesystem);
        let volume = a.create(filesystem, mebibytes * MIB, &usage).await;
        write(&a.up(&volume, &usage).await, &pattern(1, 1 << 20)).unwrap();
        let after = programs(&trace);
        assert_eq!(after[before.len()..], [format!("mkfs.{filesystem}")], "the first stage");
        a.down(&volume).await;
        let target = a.up(&volume, &usage).await;
        assert_holds(&target, 1, 1 << 20);
        let snapshot = a.snapshot(filesystem, &volume.volume_id).await.unwrap();
        let clone = a
            .try_create(clone_request(&format!("{filesystem}-clone"), mebibytes * MIB, &usage, &volume.volume_id))
            .await
            .unwrap();
        a.up(&clone, &usage).await;
        a.down(&clone).await;
        if filesystem != "ext4" || may_grow_ext4() {
            a.expand(&volume.volume_id, exactly(2 * mebibytes * MIB)).await.unwrap();
            a.expand_here(&volume.volume_id, &target, &usage, 2 * mebibytes * MIB).await.unwrap();
        }
        a.down(&volume).await;
        a.delete_snapshot(&snapshot.snapshot_id).await.unwrap();
        for volume in [volume, clone] {
            a.delete(&volume.volume_id).await.unwrap();
        }
        assert_eq!(programs(&trace)[after.len()..], [] as [&str; 0], "everything after the first stage of {filesystem}");
    }
    assert!(traced.terminate().success(), "{}", traced.tail());
    assert!(plugin.leftovers().is_empty(), "{:?}", plugin.leftovers());
}

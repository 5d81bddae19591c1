//! Many calls at one time: calls on one object wait for each other, identical ones share an answer, and calls on different
//! objects know nothing of each other. Nobody is ever told ABORTED, which ends an operation for Mesos and Nomad.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hawser_proto::csi;
use hawser_tests::client::{POD, create_request, exactly};
use hawser_tests::content::{assert_holds, pattern, write};
use hawser_tests::faults::Fault;
use hawser_tests::frozen::{Frozen, until_hanging};
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::{loops_below, mounts_below};
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::PATIENCE;
use hawser_tests::settings::Kind;
use hawser_tests::{Client, MIB, Plugin, Settings, Usage};
use rustix::fs::{FlockOperation, flock};
use tonic::{Code, Status};

const SMALL: i64 = 16 * MIB;

async fn plugin(ground: &Footing) -> Plugin {
    Plugin::start(ground.path(), Settings::new(Kind::Image), Usage::mount()).await
}

/// Runs `call` so many times at once, on connections of their own as different callers have them.
async fn at_once<T, F: Future<Output = T> + Send + 'static>(
    plugin: &Plugin,
    count: usize,
    call: impl Fn(usize, Client) -> F,
) -> Vec<T>
where
    T: Send + 'static,
{
    let running: Vec<_> = (0..count).map(|number| tokio::spawn(call(number, plugin.a()))).collect();
    join_all(running).await.into_iter().map(|ended| ended.unwrap()).collect()
}

async fn life(a: Client, number: u64) -> Result<(), Status> {
    let usage = Usage::mount();
    let volume = a.try_create(create_request(&format!("volume-{number}"), SMALL, &usage)).await?;
    let context = a.attach(&volume, &usage).await?;
    a.stage(&volume, &context, &usage).await?;
    let target = a.publish(&volume, &context, &usage, POD).await?;
    let path = target.clone();
    tokio::task::spawn_blocking(move || {
        write(&path, &pattern(number, 1 << 20)).unwrap();
        assert_holds(&path, number, 1 << 20);
    })
    .await
    .unwrap();
    a.unpublish(&volume.volume_id, POD).await?;
    a.unstage(&volume.volume_id).await?;
    // Once more, to see that it was this volume's own data.
    a.stage(&volume, &context, &usage).await?;
    a.publish(&volume, &context, &usage, POD).await?;
    tokio::task::spawn_blocking(move || assert_holds(&target, number, 1 << 20)).await.unwrap();
    a.unpublish(&volume.volume_id, POD).await?;
    a.unstage(&volume.volume_id).await?;
    a.detach(&volume.volume_id).await?;
    a.delete(&volume.volume_id).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_lives_at_once() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let ends = at_once(&plugin, 64, |number, a| life(a, number.try_into().unwrap())).await;
    let failed: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_identical_creations_make_one_volume() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let made =
        at_once(&plugin, 200, |_, a| async move { a.try_create(create_request("one", SMALL, &Usage::mount())).await }).await;
    let made: Vec<csi::Volume> = made.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|volume| *volume == made[0]));
    assert_eq!(plugin.a().volumes().await.len(), 1);
    let deleted = at_once(&plugin, 50, |_, a| {
        let id = made[0].volume_id.clone();
        async move { a.delete(&id).await }
    })
    .await;
    deleted.into_iter().for_each(|end| end.unwrap());
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_different_wishes_for_one_name_one_wins() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let ends = at_once(&plugin, 40, |number, a| async move {
        let size = SMALL + MIB * i64::try_from(number % 4).unwrap();
        a.try_create(create_request("one", size, &Usage::mount())).await
    })
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    let made: Vec<csi::Volume> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!((made.len(), refused.len()), (10, 30), "those who wished alike share one volume");
    assert!(made.iter().all(|volume| *volume == made[0]));
    assert!(refused.into_iter().all(|end| end.unwrap_err().code() == Code::AlreadyExists));
    plugin.a().delete(&made[0].volume_id).await.unwrap();
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_identical_stages_mount_once() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let (a, usage) = (plugin.a(), Usage::mount());
    let volume = a.create("one", SMALL, &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    let call = |step: Step| {
        let (volume, context) = (volume.clone(), context.clone());
        move |_, a: Client| step.call(a, volume.clone(), context.clone())
    };
    for (step, mounts) in [(Step::Stage, 1), (Step::Publish, 2), (Step::Unpublish, 1), (Step::Unstage, 0)] {
        for end in at_once(&plugin, 50, call(step)).await {
            end.unwrap_or_else(|status| panic!("{step:?}: {status}"));
        }
        assert_eq!(mounts_below(plugin.workspace()).len(), mounts, "after {step:?}");
        assert_eq!(loops_below(plugin.root()).len(), usize::from(mounts > 0), "after {step:?}");
    }
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

/// A call of a volume's life on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Stage,
    Publish,
    Unpublish,
    Unstage,
}

impl Step {
    fn call(
        self,
        a: Client,
        volume: csi::Volume,
        context: hawser_tests::Context,
    ) -> impl Future<Output = Result<(), Status>> + Send {
        let usage = Usage::mount();
        async move {
            match self {
                Step::Stage => a.stage(&volume, &context, &usage).await.map(drop),
                Step::Publish => a.publish(&volume, &context, &usage, POD).await.map(drop),
                Step::Unpublish => a.unpublish(&volume.volume_id, POD).await,
                Step::Unstage => a.unstage(&volume.volume_id).await,
            }
        }
    }
}

/// Calls and their opposites for one volume, in whatever order they arrive: each ends well or says what is in its way, and the
/// last word is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposites_that_race_end_in_one_state() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let (a, usage) = (plugin.a(), Usage::mount());
    let volume = a.create("one", SMALL, &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    let steps = [Step::Stage, Step::Publish, Step::Unpublish, Step::Unstage];
    let ends = at_once(&plugin, 120, |number, a| {
        let step = steps[number * 7 % 4];
        let end = step.call(a, volume.clone(), context.clone());
        async move { (step, end.await) }
    })
    .await;
    for (step, end) in ends {
        if let Err(status) = end {
            assert_eq!(status.code(), Code::FailedPrecondition, "{step:?}: {status}");
            assert!([Step::Publish, Step::Unstage].contains(&step), "{step:?} has nothing that could be in its way: {status}");
        }
    }
    a.unpublish(&volume.volume_id, POD).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    assert!(mounts_below(plugin.workspace()).is_empty() && loops_below(plugin.root()).is_empty());
    // And the volume is as good as before.
    a.stage(&volume, &context, &usage).await.unwrap();
    let target = a.publish(&volume, &context, &usage, POD).await.unwrap();
    write(&target, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

/// The lock that another process of the same root would hold while it works on the volume.
fn lock_of(plugin: &Plugin, volume: &csi::Volume) -> File {
    let digest = volume.volume_id.strip_prefix("local:").unwrap().split('-').next().unwrap();
    let path: PathBuf = plugin.root().join("volumes").join(digest).join("lock");
    let file = File::open(path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_volume_delays_nobody_else() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let a = plugin.a();
    let busy = a.create("busy", SMALL, &Usage::mount()).await;
    let lock = lock_of(&plugin, &busy);
    let (client, id) = (plugin.a(), busy.volume_id.clone());
    let waiting = tokio::spawn(async move { client.expand(&id, exactly(2 * SMALL)).await });
    for number in 0..8 {
        life(plugin.a(), number).await.unwrap();
    }
    assert_eq!(a.volumes().await.len(), 1);
    assert!(!waiting.is_finished(), "the call ran although another process works on the volume");
    drop(lock);
    assert_eq!(waiting.await.unwrap().unwrap().capacity_bytes, 2 * SMALL);
    a.delete(&busy.volume_id).await.unwrap();
    plugin.finish().await;
}

/// The caller gives up, the work does not: the repetition finds it done, or joins it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_its_caller() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = plugin(&ground).await;
    let a = plugin.a();
    let volume = a.create("one", SMALL, &Usage::mount()).await;
    let lock = lock_of(&plugin, &volume);
    let expand = || csi::ControllerExpandVolumeRequest {
        volume_id: volume.volume_id.clone(),
        capacity_range: Some(exactly(2 * SMALL)),
        ..Default::default()
    };
    let mut impatient = tonic::Request::new(expand());
    impatient.set_timeout(Duration::from_millis(300));
    let status = a.controller().controller_expand_volume(impatient).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status}");
    let begun = Instant::now();
    let (first, second) = (plugin.a(), plugin.a());
    let repetitions = [first, second].map(|client| {
        let request = expand();
        tokio::spawn(async move { client.controller().controller_expand_volume(request).await })
    });
    drop(lock);
    for repetition in repetitions {
        assert_eq!(repetition.await.unwrap().unwrap().into_inner().capacity_bytes, 2 * SMALL);
    }
    assert!(begun.elapsed() < PATIENCE);
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

/// A filesystem below the pool that hangs must not hang what does not need it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_pool_hangs_nothing_else() {
    let ground = Footing::of(Ground::Xfs);
    let plugin = plugin(&ground).await;
    let (a, usage) = (plugin.a(), Usage::mount());
    let volume = a.create("one", SMALL, &usage).await;
    let frozen = Frozen::new(ground.own().unwrap());
    // More than there are threads that could be blocked, if they were the wrong ones.
    let hanging: Vec<_> = (0..16)
        .map(|number| {
            let client = plugin.a();
            tokio::spawn(
                async move { client.try_create(create_request(&format!("hanging-{number}"), SMALL, &Usage::mount())).await },
            )
        })
        .collect();
    until_hanging(plugin.process_id().await, 1);
    let begun = Instant::now();
    for _ in 0..20 {
        let client = plugin.a();
        client.identity().probe(csi::ProbeRequest {}).await.unwrap();
        client.identity().get_plugin_info(csi::GetPluginInfoRequest {}).await.unwrap();
        client.node().node_get_info(csi::NodeGetInfoRequest {}).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "asking sixty times took {:?}", begun.elapsed());
    assert_eq!(a.volumes().await.len(), 1, "reading needs no writing");
    drop(frozen);
    for made in join_all(hanging).await {
        a.delete(&made.unwrap().unwrap().volume_id).await.unwrap();
    }
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

/// A node is in the middle of taking its volume, and another process is told to take it away: it is either not there yet or in
/// use, never withdrawn from under the mount that is being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_not_withdrawn_from_a_stage_that_has_begun() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = Plugin::start_with_faults(ground.path(), Settings::new(Kind::Image), Usage::mount()).await;
    let (a, b, usage) = (plugin.a(), plugin.b().await, Usage::mount());
    let volume = a.create("one", SMALL, &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    let mut faults = plugin.faults(NODE_A);
    faults.arm_at("host.attach_loop", Fault::Hold);
    let (staging, request) = (plugin.a(), a.stage_request(&volume, &context, &usage));
    let stage = tokio::spawn(async move { staging.node().node_stage_volume(request).await });
    faults.wait_until_struck();
    let id = volume.volume_id.clone();
    let withdraw = tokio::spawn(async move { b.detach_from(&id, NODE_A).await });
    // However long it takes: there is no moment in which it may succeed.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!withdraw.is_finished(), "{:?}", withdraw.await);
    faults.disarm();
    stage.await.unwrap().unwrap();
    assert_eq!(withdraw.await.unwrap().unwrap_err().code(), Code::FailedPrecondition);
    let target = a.publish(&volume, &context, &usage, POD).await.unwrap();
    write(&target, &pattern(1, 1 << 20)).unwrap();
    a.down(&volume).await;
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

/// A device that does not answer costs its own volume's callers their time, and nobody else anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_device_hangs_nothing_else() {
    let ground = Footing::of(Ground::Ext4);
    let plugin = Plugin::start_with_faults(ground.path(), Settings::new(Kind::Image), Usage::mount()).await;
    let (a, usage) = (plugin.a(), Usage::mount());
    let volume = a.create("hanging", SMALL, &usage).await;
    let context = a.attach(&volume, &usage).await.unwrap();
    let mut faults = plugin.faults(NODE_A);
    faults.arm_at("host.format", Fault::Hold);
    let mut impatient = tonic::Request::new(a.stage_request(&volume, &context, &usage));
    impatient.set_timeout(Duration::from_millis(500));
    let status = a.node().node_stage_volume(impatient).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status}");
    for number in 0..4 {
        life(plugin.a(), number).await.unwrap();
    }
    assert!(faults.disarm().is_some());
    // The work went on without its caller.
    a.stage(&volume, &context, &usage).await.unwrap();
    a.unstage(&volume.volume_id).await.unwrap();
    a.detach(&volume.volume_id).await.unwrap();
    a.delete(&volume.volume_id).await.unwrap();
    plugin.finish().await;
}

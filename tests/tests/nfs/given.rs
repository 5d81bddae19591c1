//! A directory that was there before, as a volume; and a holder that is cut off.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hawser_proto::csi;
use hawser_proto::hawser::get_host_state_response::State;
use hawser_tests::Usage;
use hawser_tests::client::text;
use tonic::Code;

use crate::condition::condition;
use crate::world::World;

/// How long a lease, its renewals and a few calls may take, far more than they need.
const LONG: Duration = Duration::from_secs(240);

/// Asks once a second until there is an answer.
async fn slowly<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < LONG, "{what} did not happen");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn given(id: &str, context: &[(&str, &str)]) -> csi::Volume {
    let context: BTreeMap<String, String> = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    csi::Volume { volume_id: format!("nfs:{id}"), volume_context: context, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_there_is_used_moved_and_kept() {
    let world = World::new(["n1", "n2"], "").await;
    let [one, two] = &world.nodes[..] else { panic!("two nodes") };
    let (a, b) = (one.plugin.client(), two.plugin.client());
    let usage = Usage::mount();
    let tree = text(&world.server.tree("data"));
    world.server.node().shell(&format!("mkdir -p {tree}/teams/web; echo hello > {tree}/teams/web/letter"));
    let server = world.server.node().address().to_string();
    // The attributes of a PersistentVolume of csi-driver-nfs, as they are.
    let volume = given("web", &[("server", &server), ("share", "/data/teams"), ("subdir", "web"), ("mountPermissions", "0755")]);
    for (context, code) in [
        (&[][..], Code::NotFound),
        (&[("subDir", "teams/nobody")], Code::NotFound),
        (&[("subDir", "../outside")], Code::InvalidArgument),
        (&[("subDir", ".hawser/volumes")], Code::InvalidArgument),
        (&[("server", "another"), ("subDir", "teams/web")], Code::InvalidArgument),
        (&[("share", "/another")], Code::InvalidArgument),
        (&[("share", "/data")], Code::NotFound),
    ] {
        let refused = a.attach(&given("x", context), &usage).await.unwrap_err();
        assert_eq!(refused.code(), code, "{context:?}: {refused}");
    }
    let target = text(&a.up(&volume, &usage).await);
    assert_eq!(one.node.shell(&format!("cat {target}/letter")).trim(), "hello");
    one.node.shell(&format!("echo from one > {target}/more; sync {target}/more"));
    let refused = b.attach(&given("web2", &[("subDir", "teams/web")]), &usage).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let refused = b.attach(&volume, &usage).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("n1 renewed its lease"), "{refused}");
    assert_eq!(b.holders(&volume.volume_id).await, ["n1"]);
    // Somebody believes that n1 is dead; it is not.
    let refused = b.detach_from(&volume.volume_id, "n1").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("n1, which lives"), "{refused}");
    let said = b.host_state(&volume.volume_id, "n1").await.unwrap();
    assert_eq!(said.state(), State::Alive, "{said:?}");
    assert!(said.reason.contains("n1 renewed its lease"), "{said:?}");
    assert_eq!(b.host_state(&volume.volume_id, "n2").await.unwrap().state(), State::Unknown);
    // It goes on to give signs of life by itself, also after its plugin was started again.
    tokio::time::sleep(Duration::from_secs(50)).await;
    let refused = b.detach_from(&volume.volume_id, "n1").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "the lease was not renewed: {refused}");
    // Now it is cut off from the server, and its lease runs out.
    world.rig.cut(&one.node, world.server.node());
    slowly("the end of the lease", async || b.detach_from(&volume.volume_id, "n1").await.ok()).await;
    assert_eq!(b.host_state(&volume.volume_id, "n1").await.unwrap().state(), State::Unknown);
    let target = text(&b.up(&volume, &usage).await);
    assert_eq!(two.node.shell(&format!("cat {target}/more")).trim(), "from one");
    two.node.shell(&format!("echo from two > {target}/more; sync {target}/more"));
    // It comes back, and is told.
    world.rig.heal(&one.node, world.server.node());
    let here = a.target("pod", &volume.volume_id);
    let told = slowly("the news that the volume is lost", async || {
        let condition = condition(&a, &volume.volume_id, &here).await.ok()?;
        condition.abnormal.then_some(condition.message)
    })
    .await;
    assert!(told.contains("taken from this node"), "{told}");
    a.down(&volume).await;
    assert_eq!(b.holders(&volume.volume_id).await, ["n2"]);
    b.down(&volume).await;
    b.delete(&volume.volume_id).await.unwrap();
    assert!(b.volumes().await.is_empty());
    let left = world.server.node().shell(&format!("cat {tree}/teams/web/letter {tree}/teams/web/more"));
    assert_eq!(left.trim(), "hello\nfrom two");
}

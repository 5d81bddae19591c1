//! `hawser why`, in the states that a plugin and a bridge really come into.

use hawser_tests::MIB;
use hawser_tests::bridge::Agents;
use hawser_tests::client::create_request;
use hawser_tests::ground::{Footing, Ground};
use hawser_tests::kernel::{loops_below, mounts_below};
use hawser_tests::plugin::NODE_A;
use hawser_tests::poll::until;
use serde_json::Value;

use crate::hand::Hand;
use crate::verbs::plugin;

fn says(told: &Value, wrong: bool, words: &[&str]) {
    let next: Vec<&str> = told["next"].as_array().unwrap().iter().map(|sentence| sentence.as_str().unwrap()).collect();
    assert_eq!(told["wrong"], wrong, "{told:#}");
    for word in words {
        assert!(next.join("\n").contains(word), "no {word:?} in {told:#}");
    }
}

fn why(hand: &Hand, volume: &str, code: i32) -> Value {
    let done = hand.types(&["why", volume, "-o", "json"]);
    assert_eq!((done.code, done.err.as_str()), (Some(code), ""), "{}", done.out);
    serde_json::from_str(&done.out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_who_has_a_volume_what_failed_and_what_to_do() {
    let footing = Footing::of(Ground::Xfs);
    let (plugin, hand) = plugin(&footing).await;
    let (a, usage) = (plugin.a(), plugin.usage());
    let volume = a.create("pgdata", 16 * MIB, &usage).await;
    let id = volume.volume_id.as_str();
    says(&why(&hand, "pgdata", 0), false, &["Nobody has it", "hawser volume mount"]);

    let path = plugin.workspace().join("data");
    hand.does(&["volume", "mount", "pgdata", path.to_str().unwrap()]);
    let told = why(&hand, "pgdata", 0);
    says(&told, false, &["hawser volume unmount"]);
    assert_eq!(told["mounts"].as_array().unwrap().len(), 2);
    assert!(told["mounts"].as_array().unwrap().iter().all(|mount| mount["by"] == "person"));
    assert_eq!(told["mount"]["paths"][0], path.to_str().unwrap());
    let node = hand.json(&["node"]);
    assert_eq!((&node["id"], &node["volumes"][0]["id"]), (&NODE_A.into(), &id.into()));
    hand.does(&["volume", "unmount", "pgdata"]);

    // A CO that was refused: what it was told is here, too.
    let b = plugin.b().await;
    let context = b.attach(&volume, &usage).await.unwrap();
    a.attach(&volume, &usage).await.unwrap_err();
    let told = why(&hand, "pgdata", 2);
    says(&told, true, &["ControllerPublishVolume failed last: somebody has to act first", "node-b has it"]);
    let failure = &told["work"]["failures"][0];
    assert_eq!((&failure["method"], &failure["code"]), (&"ControllerPublishVolume".into(), &"FAILED_PRECONDITION".into()));
    b.stage(&volume, &context, &usage).await.unwrap();
    b.unstage(id).await.unwrap();
    hand.does(&["volume", "detach", id, "--node", "node-b", "--unused"]);
    a.attach(&volume, &usage).await.unwrap();
    let told = why(&hand, "pgdata", 0);
    says(&told, false, &["It is attached here and mounted nowhere", "hawser volume detach"]);
    hand.does(&["volume", "detach", "pgdata"]);

    // What was never made is known by its failures.
    let mut request = create_request("too-large", 1 << 60, &usage);
    request.parameters.insert("provisioning".to_owned(), "thick".to_owned());
    a.try_create(request).await.unwrap_err();
    let told = why(&hand, "too-large", 2);
    assert_eq!(told["exists"], false);
    says(&told, true, &["CreateVolume failed last"]);
    hand.does(&["volume", "rm", "pgdata"]);
    plugin.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_says_on_whose_behalf_it_holds_a_volume() {
    let footing = Footing::of(Ground::Xfs);
    let mut agents = Agents::new(footing.path(), &["grace: 1s", "reconcile-every: 1s"]);
    agents.start("agent-1").await;
    let place = agents.workspace().path().join("agent-1");
    let hand = Hand::at(&place.join("state/csi.sock"), agents.workspace().path()).configured(&place.join("config.yaml"));
    let agent = agents.agent("agent-1");
    let path = agent.mount("pgdata", &["size=16MiB"]).await.unwrap();
    let told = why(&hand, "pgdata", 0);
    says(&told, false, &["end the tasks that use pgdata"]);
    assert_eq!((&told["bridge"]["holds"], &told["bridge"]["uses"][0]["door"]), (&true.into(), &"docker".into()));
    assert_eq!(told["bridge"]["declared"][0], "pgdata");
    assert!(told["mounts"].as_array().unwrap().iter().all(|mount| mount["by"] == "bridge"), "{told:#}");
    hand.is_refused(&["volume", "detach", "pgdata"], 3, &["the bridge of this node holds volume pgdata", "for pgdata"]);
    hand.is_refused(&["volume", "mount", "pgdata", "/tmp/never-made"], 3, &["by the Mesos bridge"]);
    assert!(path.is_dir());
    agent.unmount("pgdata").await.unwrap();
    let is_released = || mounts_below(agents.workspace().path()).is_empty() && loops_below(agents.root()).is_empty();
    until("the bridge to release the volume", || is_released().then_some(()));
    agents.kill("agent-1");
    // Its socket is left; who holds what is then known by nobody.
    let done = Hand::at(&place.join("state/csi.sock"), agents.workspace().path()).types(&["why", "pgdata"]);
    assert_eq!(done.code, Some(75), "{}{}", done.out, done.err);
    agents.start("agent-1").await;
    agents.finish();
}

//! What the client does with answers, faults and silence.

#[cfg(test)]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hawser_ebs::Class;
use hawser_ebs::count::Outcome;
use hawser_ebs::volume::{NewVolume, VolumeState};
use hawser_volume::Deadline;
use server::{Act, Server, client, refusal};

const VOLUME: &str = "<CreateVolumeResponse><volumeId>vol-0123456789abcdef0</volumeId><size>1</size><status>creating</status>\
                      </CreateVolumeResponse>";
const ATTACHING: &str = "<AttachVolumeResponse><volumeId>vol-0123456789abcdef0</volumeId><instanceId>i-12345678</instanceId>\
                         <device>/dev/xvdaa</device><status>attaching</status></AttachVolumeResponse>";

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn new() -> NewVolume {
    let tags = BTreeMap::from([("name".to_owned(), "a".to_owned())]);
    NewVolume { client_token: "t".to_owned(), zone: "eu-central-1a".to_owned(), size: 1, tags, ..NewVolume::default() }
}

#[tokio::test]
async fn a_creation_is_repeated_under_its_token_whatever_goes_wrong() {
    let good = Act::Say(200, VOLUME.to_owned());
    let script = [Act::Lose, refusal(500, "InternalError"), refusal(503, "RequestLimitExceeded"), Act::Break(VOLUME.to_owned())];
    let html = Act::Say(502, "<html>Bad gateway</html>".to_owned());
    let server = Server::start(script.into_iter().chain([html, Act::Say(200, VOLUME[..60].to_owned()), good])).await;
    let ec2 = server.client();
    let volume = ec2.create_volume(&new(), soon()).await.unwrap();
    assert_eq!((volume.id.as_str(), volume.state), ("vol-0123456789abcdef0", VolumeState::Creating));
    let asked = server.asked();
    assert_eq!(asked.len(), 7);
    assert!(asked.iter().all(|form| *form == asked[0]), "each attempt must be the same request");
    assert_eq!((asked[0]["ClientToken"].as_str(), asked[0]["TagSpecification.1.Tag.1.Value"].as_str()), ("t", "a"));
    let counts = ec2.counts();
    let count = |outcome| counts.get(&("CreateVolume", outcome)).copied().unwrap_or(0);
    assert_eq!([Outcome::Done, Outcome::Throttled, Outcome::Failed, Outcome::Refused].map(count), [1, 1, 5, 0]);
}

#[tokio::test]
async fn an_attachment_whose_answer_is_lost_is_left_to_the_caller() {
    for act in [Act::Lose, Act::Break(ATTACHING.to_owned()), refusal(500, "InternalError"), Act::Say(200, "<html>".to_owned())] {
        let server =
            Server::start([refusal(503, "RequestLimitExceeded"), act.clone(), Act::Say(200, ATTACHING.to_owned())]).await;
        let refusal =
            server.client().attach_volume("vol-0123456789abcdef0", "i-12345678", "/dev/xvdaa", soon()).await.unwrap_err();
        assert!(refusal.is_uncertain() && refusal.class() == Class::Transient, "{act:?}: {refusal}");
        assert_eq!(server.asked().len(), 2, "{act:?}: a throttled attempt may be repeated, this one may not");
    }
}

#[tokio::test]
async fn what_is_refused_for_a_reason_is_asked_once() {
    for (code, class) in [("VolumeInUse", Class::State), ("UnauthorizedOperation", Class::Denied), ("SomethingNew", Class::Other)]
    {
        let server = Server::start([refusal(400, code)]).await;
        let refusal = server.client().delete_volume("vol-0123456789abcdef0", soon()).await.unwrap_err();
        assert_eq!((refusal.class(), refusal.is_uncertain(), server.asked().len()), (class, false, 1), "{code}");
    }
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline() {
    for act in [Act::Hang, refusal(503, "RequestLimitExceeded")] {
        let server = Server::start([act]).await;
        let began = Instant::now();
        let refusal = server.client().create_volume(&new(), Deadline::after(Duration::from_millis(700))).await.unwrap_err();
        assert_eq!(refusal.class().kind(), hawser_volume::Kind::Unavailable);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    // A deadline that has passed sends nothing.
    let server = Server::start([Act::Say(200, VOLUME.to_owned())]).await;
    let refusal = server.client().create_volume(&new(), Deadline::after(Duration::ZERO)).await.unwrap_err();
    assert!(!refusal.is_uncertain() && server.asked().is_empty());
}

#[tokio::test]
async fn without_a_connection_nothing_was_done() {
    let refusal = client("http://127.0.0.1:1")
        .attach_volume("vol-0123456789abcdef0", "i-12345678", "/dev/xvdaa", Deadline::after(Duration::from_secs(1)))
        .await
        .unwrap_err();
    assert!(!refusal.is_uncertain() && refusal.class() == Class::Transient, "{refusal}");
    assert!(refusal.to_string().contains("http://127.0.0.1:1"), "{refusal}");
}

#[tokio::test]
async fn a_trial_does_nothing_and_tells_what_would_happen() {
    let server =
        Server::start([refusal(412, "DryRunOperation"), refusal(403, "UnauthorizedOperation"), Act::Say(200, VOLUME.to_owned())])
            .await;
    let ec2 = server.client();
    ec2.may_create_volume(&new(), soon()).await.unwrap();
    assert_eq!(ec2.may_create_volume(&new(), soon()).await.unwrap_err().class(), Class::Denied);
    assert!(ec2.may_create_volume(&new(), soon()).await.is_err(), "a trial that was done is no success");
    assert!(server.asked().iter().all(|form| form["DryRun"] == "true"));
}

#[tokio::test]
async fn pages_are_followed_and_a_listing_that_goes_round_ends() {
    let page = |id: &str, next: &str| {
        let item = format!("<item><volumeId>{id}</volumeId><size>1</size><status>available</status></item>");
        Act::Say(200, format!("<R><volumeSet>{item}</volumeSet><nextToken>{next}</nextToken></R>"))
    };
    let server = Server::start([page("vol-1", "a"), refusal(500, "InternalError"), page("vol-2", "b"), page("vol-3", "")]).await;
    let found = server.client().describe_volumes("tag-key", &["x".to_owned()], soon()).await.unwrap();
    let ids: BTreeSet<&str> = found.iter().map(|volume| volume.id.as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["vol-1", "vol-2", "vol-3"]));
    let tokens: Vec<Option<String>> = server.asked().iter().map(|form| form.get("NextToken").cloned()).collect();
    assert_eq!(tokens, [None, Some("a".to_owned()), Some("a".to_owned()), Some("b".to_owned())]);

    let server = Server::start([page("vol-1", "a")]).await;
    assert!(server.client().describe_volumes("tag-key", &["x".to_owned()], soon()).await.is_err());
    assert_eq!(server.asked().len(), 2);
}

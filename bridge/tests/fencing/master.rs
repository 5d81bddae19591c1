//! The master's client: who leads, what it says, and what happens when it says nothing or nonsense.

use std::time::{Duration, Instant, SystemTime};

use hawser_bridge::mesos::master::Patience;
use hawser_bridge::mesos::{Credential, DeclaredVolume, Http, HttpOptions, Master, Masters, Standing};
use hawser_volume::Kind;

use crate::fake::{Fake, Fate, Manner};

const SHORT: Patience = Patience { each: Duration::from_millis(400), all: Duration::from_millis(1000) };

fn master(options: HttpOptions, urls: &[&str]) -> Master {
    let masters: Masters = urls.join(",").parse().unwrap();
    Master::new(Http::new(options).unwrap(), masters, SHORT)
}

fn plain(urls: &[&str]) -> Master {
    master(HttpOptions::default(), urls)
}

/// An address where nobody listens.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn at(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

#[tokio::test]
async fn what_mesos_1_11_says_is_understood() {
    let fake = Fake::start().await;
    // One look is three questions; each is answered with what the real one said to the same question.
    let recorded = [
        ("GET_MASTER", include_str!("fixtures/get_master.json")),
        ("GET_AGENTS", include_str!("fixtures/get_agents.json")),
        ("registry", include_str!("fixtures/registry.json")),
    ];
    fake.set(|state| state.recorded = recorded.into_iter().map(|(call, text)| (call, text.to_owned())).collect());
    let view = plain(&[&fake.url()]).view().await.unwrap();
    assert_eq!(view.id, "93ed6bcc-d010-44b2-8a10-6a1176d6edd0");
    let elected = view.elected.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((elected - 1_795_310_708.185_284_1).abs() < 1e-6, "{elected}");
    let standing = |id: &str| view.standing(&id.parse().unwrap());
    assert_eq!(standing("93ed6bcc-d010-44b2-8a10-6a1176d6edd0-S1"), Standing::Registered { active: true });
    assert_eq!(standing("93ed6bcc-d010-44b2-8a10-6a1176d6edd0-S0"), Standing::Registered { active: false });
    assert_eq!(standing("04aa2524-390e-4b55-8b2e-dc2f845d8e5f-S0"), Standing::Recovered);
    let unreachable = at(0.0) + Duration::from_nanos(1_795_310_701_150_304_000);
    assert_eq!(standing("8dfd3e8a-0687-405b-bade-9e09b73c6b8d-S0"), Standing::Unreachable { since: unreachable });
    let gone = at(0.0) + Duration::from_nanos(1_795_310_713_524_134_912);
    assert_eq!(standing("93ed6bcc-d010-44b2-8a10-6a1176d6edd0-S2"), Standing::Gone { since: gone });
    assert_eq!(standing("93ed6bcc-d010-44b2-8a10-6a1176d6edd0-S9"), Standing::Unknown);

    let on = |node: &str| -> Vec<String> {
        let node = node.parse().unwrap();
        view.agents_on(&node).map(|info| info.hostname.clone()).collect()
    };
    assert_eq!((on("sdc-7"), on("n4"), on("host-6")), (vec!["host-5".into()], vec!["host-4".into()], vec!["host-6".into()]));
    assert_eq!((on("host-5"), on("n1")), (vec![], vec![]));
    let registered = &view.registered[&"93ed6bcc-d010-44b2-8a10-6a1176d6edd0-S1".parse().unwrap()];
    assert_eq!(registered.info.boot.as_deref(), Some("11111111-1f2b-4f6a-9e55-6c1b7d2f0a11"));
    assert_eq!(registered.info.numeric_nodes, [42.0]);
    assert_eq!(registered.process.as_ref().unwrap().to_string(), "http://127.0.0.1:25165/slave(1)");
}

#[tokio::test]
async fn the_tasks_of_an_agent_and_their_volumes_are_told() {
    let fake = Fake::start().await;
    fake.set(|state| state.recorded = [("GET_TASKS", include_str!("fixtures/get_tasks.json").to_owned())].into());
    let master = plain(&[&fake.url()]);
    let tasks = master.tasks_on(&"a105768f-75ce-48fc-8dd0-e30e6c13d44e-S0".parse().unwrap()).await.unwrap();
    let states: Vec<&str> = tasks.iter().map(|task| task.state.as_str()).collect();
    assert_eq!(states, ["TASK_RUNNING", "TASK_KILLED"]);
    assert_eq!((tasks[0].id.as_str(), tasks[0].executor.as_deref()), ("task-1", Some("ex1")));
    assert_eq!(tasks[0].container.as_ref().unwrap().as_str(), "89e8ffaa-ccd8-4992-b2c5-32244d2237ff");
    let volume = DeclaredVolume::Csi { plugin: "csi.hawser.dev".into(), id: "local:vol-1".into() };
    assert_eq!(tasks[0].volumes, [volume].into());
    assert_eq!(master.tasks_on(&"another".parse().unwrap()).await.unwrap(), []);
}

#[tokio::test]
async fn every_fate_of_an_agent() {
    let fake = Fake::start().await;
    let master = plain(&[&fake.url()]);
    for (fate, wanted) in [
        (Fate::Active, Standing::Registered { active: true }),
        (Fate::Inactive, Standing::Registered { active: false }),
        (Fate::Recovered, Standing::Recovered),
        (Fate::Admitted, Standing::Recovered),
        (Fate::Unreachable(7), Standing::Unreachable { since: at(7.0) }),
        (Fate::Gone(8), Standing::Gone { since: at(8.0) }),
    ] {
        fake.agent("A", "n1", fate);
        assert_eq!(master.view().await.unwrap().standing(&"A".parse().unwrap()), wanted);
    }
}

#[tokio::test]
async fn the_leader_is_found_from_any_master() {
    let (leader, standby) = (Fake::start().await, Fake::start().await);
    standby.manner(Manner::Standby(leader.address.to_string()));
    for urls in [vec![standby.url()], vec![closed(), standby.url()], vec![standby.url(), leader.url()]] {
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let master = plain(&urls);
        assert_eq!(master.view().await.unwrap().leader.to_string(), leader.url());
        let before = standby.asked().len();
        master.view().await.unwrap();
        assert_eq!(standby.asked().len(), before, "who led is asked first the next time");
    }
    // The lead moves, and the client with it.
    let master = plain(&[&leader.url(), &standby.url()]);
    master.view().await.unwrap();
    leader.manner(Manner::Standby(standby.address.to_string()));
    standby.manner(Manner::Leads);
    assert_eq!(master.view().await.unwrap().leader.to_string(), standby.url());
}

#[tokio::test]
async fn masters_that_send_us_to_each_other_end_nothing() {
    let (one, two) = (Fake::start().await, Fake::start().await);
    one.manner(Manner::Standby(two.address.to_string()));
    two.manner(Manner::Standby(one.address.to_string()));
    let error = plain(&[&one.url(), &two.url()]).view().await.unwrap_err();
    assert!(error.chain().contains("to each other"), "{}", error.chain());
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_master_that_is_away_is_told_in_time() {
    let hanging = Fake::start().await;
    hanging.manner(Manner::Hangs);
    let dripping = Fake::start().await;
    dripping.manner(Manner::Drips(Duration::from_millis(20)));
    // A machine that takes connections and never reads from them.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", deaf.local_addr().unwrap());
    for (urls, words) in [
        (vec![closed()], "refused"),
        (vec![hanging.url()], "does not answer within"),
        (vec![dripping.url()], "does not answer within"),
        (vec![deaf.clone()], "no leading master answers"),
        (vec![hanging.url(), dripping.url(), deaf, closed()], "no leading master answers"),
    ] {
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let started = Instant::now();
        let error = plain(&urls).view().await.unwrap_err();
        assert!(started.elapsed() < SHORT.all + Duration::from_secs(2), "{urls:?}: {:?}", started.elapsed());
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.chain().contains(words), "{urls:?}: {}", error.chain());
    }
    // One that hangs does not keep us from one that leads.
    let leader = Fake::start().await;
    assert!(plain(&[&hanging.url(), &leader.url()]).view().await.is_ok());
}

#[tokio::test]
async fn nonsense_is_an_error_that_says_where_it_stands() {
    let fake = Fake::start().await;
    for (manner, words) in [
        (Manner::Says("GET_MASTER", "{}".into()), "get_master"),
        (Manner::Says("GET_MASTER", r#"{"get_master":{"master_info":{"id":"master-1"}}}"#.into()), "elected_time"),
        (
            Manner::Says("GET_MASTER", r#"{"get_master":{"master_info":{"id":"master-1"},"elected_time":-1}}"#.into()),
            "get_master.elected_time",
        ),
        (
            Manner::Says("GET_AGENTS", r#"{"get_agents":{"agents":[{"active":true,"agent_info":{}}]}}"#.into()),
            "agents[0].agent_info",
        ),
        (
            Manner::Says(
                "GET_AGENTS",
                r#"{"get_agents":{"agents":[{"agent_info":{"hostname":"h","id":{"value":"A"}}}]}}"#.into(),
            ),
            "active",
        ),
        (
            Manner::Says("GET_AGENTS", r#"{"get_agents":{"recovered_agents":[{"id":{"value":""},"hostname":"h"}]}}"#.into()),
            "recovered_agents[0].id.value",
        ),
        (Manner::Says("GET_AGENTS", r#"{"get_agents":{"agents":["#.into()), "GET_AGENTS"),
        (
            Manner::Says("registry", r#"{"master":{"info":{"id":"master-1"}},"gone":{"slaves":[{"id":{"value":"A"}}]}}"#.into()),
            "gone.slaves[0]",
        ),
        (Manner::Says("registry", "<html>proxy</html>".into()), "registry"),
        // Not the registry of the master that leads: a standby's is empty, and an old leader's is old.
        (Manner::Says("registry", "{}".into()), "lost the lead"),
        (Manner::Says("registry", r#"{"master":{"info":{"id":"master-0"}}}"#.into()), "lost the lead"),
        (Manner::Refuses(401, "who are you"), "401"),
        (Manner::Refuses(403, ""), "403"),
        (Manner::Refuses(503, "Master has not finished recovery"), "Master has not finished recovery"),
        (Manner::Refuses(500, "a\r\nb"), "500"),
        (Manner::Refuses(204, ""), "204"),
    ] {
        fake.manner(manner.clone());
        let text = plain(&[&fake.url()]).view().await.unwrap_err().chain();
        assert!(text.contains(words) && text.contains(&fake.url()), "{manner:?}: {text}");
        assert!(!text.contains(['\r', '\n']) && text.len() < 500, "{manner:?}: {text}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let fake = Fake::start().await;
    let options = || HttpOptions { answer_max: Some(10_000), ..HttpOptions::default() };
    assert!(master(options(), &[&fake.url()]).view().await.is_ok());
    for number in 0..200 {
        fake.agent(&format!("A{number}"), "n", Fate::Active);
    }
    let error = master(options(), &[&fake.url()]).view().await.unwrap_err();
    assert!(error.chain().contains("more than 10000 bytes"), "{}", error.chain());
    // One that would not end is left before its time is over.
    fake.manner(Manner::Drips(Duration::from_micros(1)));
    let small = HttpOptions { answer_max: Some(20), ..HttpOptions::default() };
    let error = master(small, &[&fake.url()]).view().await.unwrap_err();
    assert!(error.chain().contains("more than 20 bytes"), "{}", error.chain());
}

#[tokio::test]
async fn a_credential_goes_to_configured_masters_and_nowhere_else() {
    let place = tempfile::tempdir().unwrap();
    let (basic, token) = (place.path().join("basic"), place.path().join("token"));
    std::fs::write(&basic, r#"{"principal":"hawser","secret":"hunter2"}"#).unwrap();
    std::fs::write(&token, "abc.def\n").unwrap();
    let options = |credential| HttpOptions { credential: Some(credential), ..HttpOptions::default() };
    for (credential, header) in
        [(Credential::Basic(basic.clone()), "Basic aGF3c2VyOmh1bnRlcjI="), (Credential::Bearer(token.clone()), "Bearer abc.def")]
    {
        let (leader, standby) = (Fake::start().await, Fake::start().await);
        standby.manner(Manner::Standby(leader.address.to_string()));
        master(options(credential.clone()), &[&standby.url(), &leader.url()]).view().await.unwrap();
        assert!(leader.asked().iter().all(|asked| asked.authorization.as_deref() == Some(header)), "{:?}", leader.asked());
        assert_eq!(leader.asked().len(), 3);

        let (leader, standby) = (Fake::start().await, Fake::start().await);
        standby.manner(Manner::Standby(leader.address.to_string()));
        let error = master(options(credential), &[&standby.url()]).view().await.unwrap_err();
        assert!(error.chain().contains("not among the configured masters"), "{}", error.chain());
        assert!(leader.asked().is_empty());
    }
    // It is read anew each time, and without it nothing is asked.
    let fake = Fake::start().await;
    let master = master(options(Credential::Bearer(token.clone())), &[&fake.url()]);
    master.view().await.unwrap();
    std::fs::write(&token, "new\n").unwrap();
    master.view().await.unwrap();
    assert_eq!(fake.asked().last().unwrap().authorization.as_deref(), Some("Bearer new"));
    std::fs::remove_file(&token).unwrap();
    let before = fake.asked().len();
    assert!(master.view().await.unwrap_err().chain().contains("credential file"));
    assert_eq!(fake.asked().len(), before);
}

#[tokio::test]
async fn a_master_behind_tls_is_asked_when_its_authority_is_trusted_and_only_then() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("ca.pem");
    let (fake, authority) = Fake::start_tls().await;
    std::fs::write(&file, authority).unwrap();
    let trusting = || HttpOptions { ca_file: Some(file.clone()), ..HttpOptions::default() };
    assert_eq!(master(trusting(), &[&fake.url()]).view().await.unwrap().leader.to_string(), fake.url());
    let error = plain(&[&fake.url()]).view().await.unwrap_err();
    assert!(error.chain().contains("certificate"), "{}", error.chain());
    // Its certificate is for 127.0.0.1 and no other name.
    let elsewhere = fake.url().replace("127.0.0.1", "localhost");
    assert!(master(trusting(), &[&elsewhere]).view().await.is_err());
    assert_eq!(fake.asked().len(), 3);
    // A redirect stays with the scheme that was configured.
    let (standby, other) = Fake::start_tls().await;
    std::fs::write(&file, [std::fs::read_to_string(&file).unwrap(), other].concat()).unwrap();
    standby.manner(Manner::Standby(fake.address.to_string()));
    assert_eq!(master(trusting(), &[&standby.url()]).view().await.unwrap().leader.to_string(), fake.url());
}

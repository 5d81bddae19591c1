use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use axum::Router;
use axum::routing::{get, put};
use proptest::prelude::*;

use super::*;

const DOCUMENT: &str = r#"{"accountId":"123456789012","architecture":"x86_64","availabilityZone":"eu-central-1b","instanceId":
    "i-0123456789abcdef0","instanceType":"m7i.large","region":"eu-central-1","version":"2017-09-30"}"#;

const MACS: &str = "/latest/meta-data/network/interfaces/macs/";
const MAPPING: &str = "/latest/meta-data/block-device-mapping/";
const IDENTITY: &str = "/latest/dynamic/instance-identity/document";

async fn serve(router: Router) -> Imds {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Imds::new(Some(&address)).unwrap()
}

/// A service in which one path is answered in another way.
fn usual() -> Router {
    Router::new()
        .route("/latest/api/token", put(|| async { "t0ken" }))
        .route(MACS, get(|| async { "02:00:00:00:00:01/\n02:00:00:00:00:02/\n" }))
        .route(MAPPING, get(|| async { "ami\nebs1\nephemeral0\nroot\n" }))
}

#[tokio::test]
async fn an_instance_says_who_it_is_to_whoever_has_a_token() {
    async fn identity(headers: http::HeaderMap) -> (StatusCode, &'static str) {
        match headers.get("x-aws-ec2-metadata-token").map(|value| value.as_bytes()) {
            Some(b"t0ken") => (StatusCode::OK, DOCUMENT),
            _ => (StatusCode::UNAUTHORIZED, ""),
        }
    }
    let found = serve(usual().route(IDENTITY, get(identity))).await.ask().await.unwrap();
    let expected = Metadata {
        instance: "i-0123456789abcdef0".to_owned(),
        instance_type: "m7i.large".to_owned(),
        zone: "eu-central-1b".to_owned(),
        region: "eu-central-1".to_owned(),
        outpost: None,
        interfaces: 2,
        volumes: 2,
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    for (status, kind, said) in [
        (400, Kind::Precondition, "it refuses"),
        (403, Kind::Precondition, "switched off"),
        (404, Kind::Precondition, "not the metadata service"),
        (503, Kind::Unavailable, "it has a fault"),
        (302, Kind::Precondition, "it refuses"),
    ] {
        let answer = move || async move { (StatusCode::from_u16(status).unwrap(), [("location", "http://127.0.0.1:1/")], "") };
        let error = serve(Router::new().route("/latest/api/token", put(answer))).await.ask().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(error.to_string().contains(said) && error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let given = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&given);
    let router = Router::new()
        .route("/latest/api/token", put(move || async move { format!("t{}", counter.fetch_add(1, Ordering::SeqCst)) }))
        .route(IDENTITY, get(|| async { (StatusCode::UNAUTHORIZED, "") }));
    let error = serve(router).await.ask().await.unwrap_err();
    assert_eq!((error.kind(), given.load(Ordering::SeqCst)), (Kind::Unauthenticated, 2), "{error}");
}

#[tokio::test]
async fn an_instance_without_an_item_is_told_so() {
    let error = serve(usual()).await.ask().await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("instance-identity/document"), "{error}");
}

#[tokio::test]
async fn what_is_no_answer_is_none() {
    for text in
        ["", "<html>login</html>", "{}", r#"{"instanceId":"x"}"#, &DOCUMENT.replace("i-0123456789abcdef0", "i-1"), "\u{0}"]
    {
        let body = text.to_owned();
        let router = usual().route(IDENTITY, get(move || async move { body }));
        let error = serve(router).await.ask().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{text}: {error}");
    }
    for bytes in [vec![0xff; 10], vec![b'x'; ANSWER_MAX + 1], Vec::new()] {
        let error =
            serve(Router::new().route("/latest/api/token", put(move || async move { bytes }))).await.ask().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{error}");
    }
}

#[tokio::test]
async fn silence_and_absence_are_waited_for_and_no_longer() {
    let silent = Router::new().route("/latest/api/token", put(|| async { std::future::pending::<&str>().await }));
    let began = Instant::now();
    let error = serve(silent).await.ask().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("no answer to PUT /latest/api/token"), "{error}");
    assert!(began.elapsed() < ANSWER * ATTEMPTS + Duration::from_secs(10));
    // Nobody listens there.
    let error = Imds::new(Some("http://127.0.0.1:1")).unwrap().ask().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[test]
fn an_address_is_one() {
    for text in ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://127.0.0.1:1338/"] {
        check_address(text).unwrap();
    }
    for text in ["", "169.254.169.254", "https://x", "http://x/y", "http://a:b@x", "http://x?y", "unix:/x"] {
        assert!(check_address(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(text in ".{0,300}") {
        let _ = parse_document(&text);
    }

    #[test]
    fn a_document_that_was_changed_is_read_or_refused(at in 0..DOCUMENT.len(), to in "[ -~]", cut in 0..DOCUMENT.len()) {
        let mut text = DOCUMENT.to_owned();
        text.replace_range(at..=at, &to);
        text.truncate(cut.max(at));
        if let Ok(document) = parse_document(&text) {
            prop_assert!(is_instance_id(&document.instance_id));
        }
    }

    #[test]
    fn any_listing_is_counted(text in ".{0,200}") {
        prop_assert!(count(&text, |line| line.contains(':')) as usize <= text.len());
    }
}

//! A storage system that is away is told of, and never makes the process look bad.

use hawser_proto::csi;
use hawser_tests::Workspace;
use hawser_tests::ec2::{Chances, Controller, Ec2, Ec2Settings};
use hawser_tests::told::Told;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_away_is_in_trouble_and_the_process_is_not() {
    let workspace = Workspace::new();
    let ec2 = Ec2::start(Ec2Settings::default()).await;
    let environment =
        [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("HAWSER_HTTP_ENDPOINT", "127.0.0.1:0")];
    let controller = Controller::start_with(&ec2, workspace.path(), "c", "", &environment).await;
    let told = Told::of(|| controller.said());
    let (client, list) = (controller.client("i-1"), csi::ListVolumesRequest::default());

    client.controller().list_volumes(list.clone()).await.unwrap();
    for path in ["/livez", "/readyz", "/backends", "/backends/ebs"] {
        assert_eq!(told.get(path).await.0, 200, "{path}");
    }
    assert_eq!(told.get("/backends/other").await.0, 404);

    // It answers nothing but that it fails.
    ec2.chances(Chances { fail: 1000, ..Chances::default() }, 7);
    let error = client.controller().list_volumes(list.clone()).await.unwrap_err();
    let (status, body) = told.get("/backends/ebs").await;
    let backends: Value = serde_json::from_str(&body).unwrap();
    let backend = &backends[0];
    assert_eq!(
        (status, &backend["in_trouble"], &backend["operation"]),
        (503, &Value::Bool(true), &Value::from("list")),
        "{body}"
    );
    assert!(error.message().contains(backend["error"].as_str().unwrap()), "{error:?}: {body}");
    assert!(backend["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{body}");
    assert_eq!(told.get("/backends").await, (200, body));
    assert_eq!(told.sum("hawser_backend_in_trouble", &[("backend", "ebs")]).await, Some(1.0));
    // What kills a plugin when it is bad.
    for path in ["/livez", "/readyz"] {
        assert_eq!(told.get(path).await.0, 200, "{path}");
    }
    let probed = client.identity().probe(csi::ProbeRequest {}).await.unwrap().into_inner();
    assert_eq!(probed.ready, Some(true));

    ec2.calm();
    client.controller().list_volumes(list).await.unwrap();
    assert_eq!(told.get("/backends/ebs").await.0, 200);
    assert_eq!(told.sum("hawser_backend_in_trouble", &[("backend", "ebs")]).await, Some(0.0));
}

//! What comes out of the chart, and that Kubernetes takes it.

use std::sync::OnceLock;

use hawser_tests::helm::{Report, Request, render};
use serde_json::json;

use crate::matrix;

/// The renderings of the whole matrix, made once.
pub fn all() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| render(&matrix::requests()))
}

#[test]
fn every_rendering_is_what_kubernetes_takes() {
    let report = all();
    assert!(report.lint.is_empty(), "{:?}", report.lint);
    let mut documents = 0;
    for rendering in &report.renderings {
        assert_eq!(rendering.refused, None, "{}", rendering.name);
        assert_eq!(rendering.faults, [""; 0], "{}", rendering.name);
        assert!(rendering.documents.len() > 8, "{}", rendering.name);
        documents += rendering.documents.len();
    }
    println!("{} renderings, {documents} documents, 0 bad", report.renderings.len());
}

#[test]
fn what_cannot_be_installed_is_refused_with_a_reason() {
    let ebs = json!({"ebs": {"type": "ebs"}});
    let table = [
        (json!({}), "at least one"),
        (json!({"backends": {"a": {"type": "ebs"}, "b": {"type": "local"}}}), "a release of their own"),
        (json!({"backends": {"a": {"type": "ebs", "regoin": "eu-west-1"}}}), "regoin"),
        (json!({"backends": {"a": {"type": "efs"}}}), "type"),
        (json!({"backends": {"a": {"type": "nfs", "server": "nas"}}}), "path"),
        (
            json!({"backends": {"a": {"type": "scaleio", "systems": [{"gateways": ["https://g"], "user": "u",
            "password-file": "/root/password"}]}}}),
            "password-file",
        ),
        (json!({"backends": ebs, "controler": {}}), "controler"),
        (json!({"backends": ebs, "driver": {"name": "9"}}), "name"),
        (json!({"backends": ebs, "sidecars": {"attacher": {"timeout": "2 minutes"}}}), "timeout"),
        (json!({"backends": ebs, "http": {"nodePort": 98100}}), "nodePort"),
    ];
    let requests: Vec<Request> =
        table.iter().map(|(values, words)| Request { name: (*words).into(), values: values.clone(), oldest: None }).collect();
    for ((values, words), rendering) in table.iter().zip(render(&requests).renderings) {
        let refused = rendering.refused.unwrap_or_else(|| panic!("{values} was taken"));
        assert!(refused.contains(words), "{values}: {refused}");
    }
}

/// The check itself: a document with a field that there is not is a fault.
#[test]
fn a_field_that_kubernetes_has_not_got_is_a_fault() {
    let values = json!({"backends": {"ebs": {"type": "ebs"}}, "node": {"updateStrategy": {"typ": "RollingUpdate"}}});
    let report = render(&[Request { name: "planted".into(), values, oldest: None }]);
    let faults = &report.renderings[0].faults;
    assert!(faults.iter().any(|fault| fault.contains("DaemonSet") && fault.contains("'typ'")), "{faults:?}");
}

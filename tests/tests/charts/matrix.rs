//! The values with which the chart is rendered.

use hawser_tests::helm::Request;
use serde_json::{Value, json};

/// Sets of backends.
fn backends() -> Vec<(&'static str, Value)> {
    let ebs = json!({"type": "ebs", "region": "eu-west-1", "tags": {"team": "db"}, "node": {"reserved-volumes": 2}});
    let nfs = json!({"type": "nfs", "server": "nas.example", "path": "/export", "mount-options": ["nconnect=4"], "on-delete": "archive"});
    let scaleio = json!({
        "type": "scaleio",
        "systems": [{"gateways": ["https://a.example", "https://b.example"], "user": "hawser",
            "password-file": "/etc/hawser/secrets/powerflex/password", "storage-pool": "fast"}],
        "node-ids": "sdc-guid",
        "max-volumes-per-node": 500,
    });
    let local = json!({"type": "local", "root": "/srv/hawser", "capacity": "500GiB"});
    vec![
        ("ebs", json!({"ebs": ebs})),
        ("nfs", json!({"share": nfs})),
        ("scaleio", json!({"powerflex": scaleio})),
        ("local", json!({"disk": local})),
        ("two locals", json!({"disk": local, "shared": {"type": "local", "root": "/srv/shared", "kind": "directory"}})),
        ("ebs, nfs and scaleio", json!({"ebs": ebs, "share": nfs, "powerflex": scaleio})),
    ]
}

/// What else can be asked for, each with the oldest release that has it when the chart's is too old.
fn wishes() -> Vec<(&'static str, Value, Option<&'static str>)> {
    vec![
        ("nothing else", json!({}), None),
        (
            "classes",
            json!({
                "storageClasses": [
                    {"name": "fast", "parameters": {"type": "gp3", "iops": 6000, "encrypted": true}, "reclaimPolicy": "Retain",
                        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
                    {"name": "plain", "volumeBindingMode": "Immediate", "allowVolumeExpansion": false, "mountOptions": ["noatime"],
                        "allowedTopologies": [{"matchLabelExpressions":
                            [{"key": "topology.ebs.csi.aws.com/zone", "values": ["eu-west-1a"]}]}]},
                ],
                "volumeSnapshotClasses": [{"name": "keep", "deletionPolicy": "Retain", "parameters": {"lockDuration": 7}}],
                "volumeGroupSnapshotClasses": [{"name": "together"}],
                "volumeAttributesClasses": [{"name": "gold", "parameters": {"iops": 12000}}],
                "sidecars": {"snapshotter": {"groupSnapshots": true}},
            }),
            None,
        ),
        (
            "watched",
            json!({
                "monitoring": {
                    "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}},
                    "prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}},
                    "dashboard": {"enabled": true},
                },
                "tracing": {"endpoint": "http://collector.observability:4317"},
            }),
            None,
        ),
        (
            "capacity and SELinux",
            json!({"controller": {"storageCapacity": true, "extraMetadata": false}, "csiDriver": {"seLinuxMount": true, "fsGroupPolicy": "None"}}),
            None,
        ),
        ("room on nodes", json!({"csiDriver": {"nodeAllocatableUpdatePeriodSeconds": 60}}), Some("1.33")),
        (
            "everything of its own",
            json!({
                "nameOverride": "ropes",
                "driver": {"name": "csi.example.com", "csi-spec-level": "1.13"},
                "secrets": ["powerflex", "authorities"],
                "awsSecret": {"name": "aws"},
                "imagePullSecrets": [{"name": "registry"}],
                "controller": {
                    "replicas": 3, "image": {"repository": "example/hawser", "tag": "1.2.3", "pullPolicy": "Always"},
                    "env": [{"name": "AWS_REGION", "value": "eu-west-1"}], "log": "hawser_ebs=debug,info", "extraArgs": ["--node-id=unused"],
                    "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"}, "nodeSelector": {"role": "infra"},
                    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
                    "topologySpreadConstraints": [], "tolerations": [],
                    "podDisruptionBudget": {"enabled": true, "maxUnavailable": "50%"},
                    "serviceAccount": {"create": false, "name": "ours"},
                },
                "node": {
                    "kubeletPath": "/var/snap/kubelet/", "hostNetwork": false, "logFormat": "text",
                    "env": [{"name": "AWS_EC2_METADATA_SERVICE_ENDPOINT", "value": "http://[fd00:ec2::254]"}],
                    "nodeSelector": {"storage": "yes"}, "tolerations": [], "serviceAccount": {"annotations": {"x": "y"}},
                },
                "sidecars": {
                    "registry": "mirror.example/csi", "verbosity": 5, "leaderElection": {"leaseDuration": "60s"},
                    "provisioner": {"extraArgs": ["--volume-name-prefix=hawser"]},
                    "snapshotter": {"enabled": false},
                },
                "http": {"nodePort": 19810, "controllerPort": 19811},
            }),
            None,
        ),
    ]
}

/// Every set of backends with every wish, under a short and a long name of the release.
pub fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for (stored, backends) in backends() {
        for (wanted, mut values, oldest) in wishes() {
            values["backends"] = backends.clone();
            if stored.contains("scaleio") && values["secrets"].is_null() {
                values["secrets"] = json!(["powerflex"]);
            }
            requests.push(Request { name: format!("{stored}: {wanted}"), values: values.clone(), oldest });
            values["fullnameOverride"] = json!("a-name-that-is-longer-than-kubernetes-likes-the-names-of-its-objects");
            requests.push(Request { name: format!("{stored}: {wanted}, long name"), values, oldest });
        }
    }
    requests
}

//! Who may do what: no more than each needs.

use std::collections::BTreeSet;

use hawser_tests::helm::{Rendering, arguments};
use serde_json::{Value, json};

use crate::rendering::all;
use crate::words::sidecars;

type Rule = (String, String, String);

/// What the sidecars of a rendering are allowed.
fn allowed(rendering: &Rendering) -> BTreeSet<Rule> {
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut allowed = BTreeSet::new();
    for role in rendering.of_kind("ClusterRole").into_iter().chain(rendering.of_kind("Role")) {
        for rule in role["rules"].as_array().unwrap() {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    for verb in words(&rule["verbs"]) {
                        allowed.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    allowed
}

/// The rules of the sidecars' own deployments, less what a flag or value makes needless.
fn needed(rendering: &Rendering) -> BTreeSet<Rule> {
    let sidecars = sidecars();
    let started: Vec<(&str, Vec<&str>)> =
        rendering.containers().map(|(_, container)| (container["name"].as_str().unwrap(), arguments(container))).collect();
    let flag = |name: &str, flag: &str| started.iter().any(|(started, arguments)| *started == name && arguments.contains(&flag));
    let mut needed: BTreeSet<Rule> =
        started.iter().filter_map(|(name, _)| sidecars.get(*name)).flat_map(|s| s.rules.clone()).collect();
    if started.iter().any(|(name, _)| *name == "csi-provisioner") {
        // It reads the classes of claims that have one; its example leaves that out.
        needed.extend(["get", "list", "watch"].map(|verb| rule("storage.k8s.io", "volumeattributesclasses", verb)));
    }
    needed.retain(|(group, resource, _)| match (group.as_str(), resource.as_str()) {
        // Volumes grow while they are used, so the resizer watches no pods; who owns the pod is asked for capacity alone.
        ("", "pods") | ("apps", "replicasets") | ("storage.k8s.io", "csistoragecapacities") => {
            flag("csi-provisioner", "--enable-capacity")
        }
        ("groupsnapshot.storage.k8s.io", _) => flag("csi-snapshotter", "--feature-gates=CSIVolumeGroupSnapshot=true"),
        _ => true,
    });
    needed.remove(&rule("", "pods", "list"));
    needed.remove(&rule("", "pods", "watch"));
    needed
}

fn rule(group: &str, resource: &str, verb: &str) -> Rule {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

#[test]
fn the_sidecars_are_allowed_what_they_need_and_no_more() {
    // One of each kind: the rules depend on nothing else.
    for name in ["ebs: nothing else", "ebs: classes", "ebs: capacity and SELinux", "ebs: everything of its own", "local: classes"]
    {
        let rendering = all().renderings.iter().find(|rendering| rendering.name == name).unwrap();
        let (allowed, needed) = (allowed(rendering), needed(rendering));
        assert_eq!(needed.difference(&allowed).collect::<Vec<_>>(), Vec::<&Rule>::new(), "{name}: missing");
        assert_eq!(allowed.difference(&needed).collect::<Vec<_>>(), Vec::<&Rule>::new(), "{name}: too much");
    }
}

#[test]
fn only_the_plugin_of_nodes_is_privileged_and_only_with_nfs_is_a_controller_root() {
    for rendering in &all().renderings {
        for (kind, container) in rendering.containers() {
            let (name, security) = (&container["name"], &container["securityContext"]);
            let of_nodes = kind == "DaemonSet";
            assert_eq!(security["readOnlyRootFilesystem"], true, "{}: {name}", rendering.name);
            assert_eq!(security["privileged"] == true, of_nodes && name == "hawser", "{}: {name}", rendering.name);
            if of_nodes && name == "hawser" {
                continue;
            }
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{}: {name}", rendering.name);
            let is_root = security["runAsUser"] == 0;
            assert_eq!(is_root, of_nodes || rendering.name.contains("nfs"), "{}: {name}", rendering.name);
            if !is_root {
                assert_eq!(security["runAsNonRoot"], true);
            }
            let adds = !security["capabilities"]["add"].is_null();
            assert_eq!(adds, name == "hawser" && rendering.name.contains("nfs"), "{}: {name}", rendering.name);
        }
    }
}

#[test]
fn secrets_are_given_to_the_controller_alone_and_are_in_no_value() {
    let mut seen = 0;
    for rendering in &all().renderings {
        assert!(rendering.of_kind("Secret").is_empty());
        for document in &rendering.documents {
            let text = document.to_string();
            let mounts = text.contains("secretName") || text.contains("secretKeyRef");
            assert!(!mounts || document["kind"] == "Deployment", "{}: {}", rendering.name, document["kind"]);
            seen += usize::from(mounts);
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn nodes_ask_nothing_of_kubernetes_unless_they_provision_for_themselves() {
    for rendering in &all().renderings {
        let node = &rendering.of_kind("DaemonSet")[0]["spec"]["template"]["spec"];
        assert_eq!(node["automountServiceAccountToken"] == false, !rendering.name.contains("local"), "{}", rendering.name);
    }
}

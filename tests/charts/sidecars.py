"""Tells of each sidecar, from its sources: the flags that it has, and what it asks of Kubernetes.

    sidecars.py MODULES.json > {image: {"version": …, "flags": […], "rules": [[group, resource, verb], …]}}
"""

import json
import re
import sys
from pathlib import Path

import yaml

SIDECARS = {
    "csi-provisioner": ("external-provisioner/v6", "deploy/kubernetes/rbac.yaml"),
    "csi-attacher": ("external-attacher/v4", "deploy/kubernetes/rbac.yaml"),
    "csi-resizer": ("external-resizer/v2", "deploy/kubernetes/rbac.yaml"),
    "csi-snapshotter": ("external-snapshotter/v8", "deploy/kubernetes/csi-snapshotter/rbac-csi-snapshotter.yaml"),
}
# `flag.String("name"`, `flag.Var(…, "name"`, `fs.StringVar(&x, "name"`: the first text among the arguments is the flag's name.
FLAG = re.compile(r'\b(?:flag|fs|f|flags|flagSet)\.(?:\w+)\((?:[^"\n]*?)"([a-z][a-z0-9-]*)"')


def flags(*directories):
    sources = (file for directory in directories for file in directory.rglob("*.go") if not file.name.endswith("_test.go"))
    return {name for source in sources for name in FLAG.findall(source.read_text())}


def rules(file):
    for document in yaml.safe_load_all(file.read_text()):
        for rule in (document or {}).get("rules", []):
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield [group, resource, verb]


def main():
    modules = json.loads(Path(sys.argv[1]).read_text())
    # klog's, which is registered by its own package.
    shared = flags(Path(modules["github.com/kubernetes-csi/csi-lib-utils"]["directory"], "standardflags")) | {"v"}
    found = {}
    for image, (module, needs) in SIDECARS.items():
        module = modules[f"github.com/kubernetes-csi/{module}"]
        directory = Path(module["directory"])
        found[image] = {
            "version": module["version"],
            "flags": sorted(flags(directory / "cmd" / image) | shared),
            "rules": list(rules(directory / needs)),
        }
    json.dump(found, sys.stdout, indent=1)


main()

"""Renders the chart with Helm and validates what comes out.

    render.py CHART MODULES.json < [{"name": …, "values": {…}, "oldest": "1.30"}, …] > report

A request with `documents` (YAML) instead of `values` has these validated. The report has, for each of the requests, either `refused` (Helm's words) or the `documents` and the `faults` that the schemas find in
them: of Kubernetes, strictly, in its oldest and its newest release; and of the definitions of the resources that others bring.
"""

import functools
import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate.utils
import yaml
from helm_python import HelmError
from helm_python.chart import Chart, lint

OLDEST, NEWEST = "1.30", "1.37"
# In no release before these.
SINCE = {"VolumeAttributesClass": "1.34"}


def closed(schema):
    """The same schema, which takes no field that it does not name: what the API server drops without a word is a fault here."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(part) for key, part in schema.items()}
    properties = shut.get("properties")
    if isinstance(properties, dict) and shut.get("type") == "object" and "x-kubernetes-preserve-unknown-fields" not in shut:
        shut.setdefault("additionalProperties", False)
    return shut


def definitions(modules):
    """The schemas of resources that are defined by others, by API version and kind."""
    snapshots = Path(modules["github.com/kubernetes-csi/external-snapshotter/client/v8"]["directory"], "config/crd")
    monitoring = Path(modules["github.com/prometheus-operator/prometheus-operator"]["directory"], "example/prometheus-operator-crd")
    found = {}
    for file in (
        snapshots / "snapshot.storage.k8s.io_volumesnapshotclasses.yaml",
        snapshots / "groupsnapshot.storage.k8s.io_volumegroupsnapshotclasses.yaml",
        monitoring / "monitoring.coreos.com_servicemonitors.yaml",
        monitoring / "monitoring.coreos.com_prometheusrules.yaml",
    ):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        for version in definition["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            name = f"{definition['group']}/{version['name']}", definition["names"]["kind"]
            found[name] = jsonschema.Draft7Validator(schema)
    return found


# The schemas are read again with every document otherwise.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def faults(document, oldest, others):
    name = document["apiVersion"], document["kind"]
    if name in others:
        return [error.message for error in others[name].iter_errors(document)]
    told = []
    for release in (SINCE.get(document["kind"], oldest), NEWEST):
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except Exception as error:  # its own classes, and those of jsonschema
            told.append(f"Kubernetes {release}: {str(error).splitlines()[0]}")
    return told


def validated(request, others):
    """The same for documents that are there already."""
    documents = [document for document in yaml.load_all(request["documents"], yaml.CSafeLoader) if document]
    told = [f"{document['kind']}: {fault}" for document in documents for fault in faults(document, OLDEST, others)]
    return {"name": request["name"], "documents": documents, "faults": told}


def rendered(chart, request, others):
    if "documents" in request:
        return validated(request, others)
    try:
        files = chart.render(values=request["values"], name=request.get("release", "moor"), namespace="storage")
    except HelmError as error:
        return {"name": request["name"], "refused": str(error)}
    report = {"name": request["name"], "documents": [], "faults": []}
    for path, text in files.items():
        if path.endswith(".txt"):
            continue
        for document in yaml.load_all(text, yaml.CSafeLoader):
            if document:
                report["documents"].append(document)
                report["faults"] += [f"{path}, {document['kind']}: {fault}" for fault in faults(document, request.get("oldest", OLDEST), others)]
    return report


def main():
    chart_directory, modules = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    others = definitions(modules)
    requests = json.load(sys.stdin)
    with Chart.load(chart_directory) as chart:
        renderings = [rendered(chart, request, others) for request in requests]
    # Without a backend there is nothing to install, so the chart is looked at with the first of the requests.
    found = lint(chart_directory, requests[0].get("values"), strict=True)
    json.dump({"lint": found["errors"] + [note for note in found["messages"] if note["severity"] > 1], "renderings": renderings}, sys.stdout)


main()

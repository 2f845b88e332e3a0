"""What belongs to operators, held against the definitions that they install: `make operators CRDS=FOLDER` runs it.

The folder holds `ray.io_rayservices.yaml` of github.com/ray-project/kuberay (ray-operator/config/crd/bases) and
`monitoring.coreos.com_servicemonitors.yaml` of github.com/prometheus-operator/prometheus-operator
(example/prometheus-operator-crd), of the releases that the cluster has. No package that is installed here brings them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.test_kubernetes import of_kind

FOLDER = os.environ.get("DABT_CRDS", "")
OBJECTS = [
    ("gpu", "ServiceMonitor", "monitoring.coreos.com_servicemonitors.yaml"),
    ("ray", "RayService", "ray.io_rayservices.yaml"),
]
of_operators = pytest.mark.parametrize(("overlay", "kind", "file"), OBJECTS, ids=[kind for _, kind, _ in OBJECTS])


def strict(schema: Any) -> Any:
    """Kubernetes' form of a schema as JSON Schema, in which a field that is not named is an error."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    open_to_all = made.get("x-kubernetes-preserve-unknown-fields") or made.get("x-kubernetes-embedded-resource")
    if made.get("type") == "object" and "properties" in made and not open_to_all:
        made.setdefault("additionalProperties", False)
    return made


def definition(file: str, version: str) -> Any:
    told = yaml.load((Path(FOLDER) / file).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    (served,) = [each for each in told["spec"]["versions"] if f"{told['spec']['group']}/{each['name']}" == version]
    schema = strict(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    return schema


@pytest.mark.skipif(not FOLDER, reason="DABT_CRDS names no folder with the operators' definitions")
@of_operators
def test_an_operators_object_is_as_its_definition_has_it(overlay: str, kind: str, file: str) -> None:
    (manifest,) = of_kind(overlay, kind)
    schema = definition(file, manifest["apiVersion"])
    faults = [f"{list(e.path)}: {e.message}" for e in jsonschema.Draft202012Validator(schema).iter_errors(manifest)]
    assert faults == []
    wrong = {**manifest, "spec": {**manifest["spec"], "nonsense": 1}}
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(wrong)), "else it could not fail"

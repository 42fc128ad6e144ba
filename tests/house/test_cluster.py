"""The cluster of docs/scale.md is one that KubeRay would take, as far as its schema is excerpted beside it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests import ROOT

FOLDER = ROOT / "examples" / "cluster"


def schema() -> Any:
    return json.loads((FOLDER / "raycluster.schema.json").read_text())


def test_the_cluster_fits_its_schema() -> None:
    cluster = yaml.safe_load((FOLDER / "raycluster.yaml").read_text())
    jsonschema.validate(cluster, schema())
    for spoil in (
        lambda one: one["spec"].update(workerGroups=[]),
        lambda one: one["spec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda one: one["spec"]["workerGroupSpecs"][0].pop("maxReplicas"),
    ):
        wrong = copy.deepcopy(cluster)
        spoil(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema())


def test_it_has_the_ray_that_is_tested() -> None:
    cluster = yaml.safe_load((FOLDER / "raycluster.yaml").read_text())
    pins = dict(line.split("==") for line in (Path(ROOT) / "constraints.txt").read_text().splitlines() if "==" in line)
    assert cluster["spec"]["rayVersion"] == pins["ray"]

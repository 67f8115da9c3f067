"""What DVC is told in dvc.yaml and data/*.dvc agrees with the rest of the project."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.data import sources
from shapprune.workflow.share import dvc as sharing
from shapprune.workflow.study.schema import schema

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGE = PIPELINE["stages"][sharing.STAGE]
# Keys that change no result, and those that say what a study laid over the default one does with less.
WITHOUT_EFFECT = {"study", "device", "memory_mb", "gpu_slots", "store", "tracking", "scale", "reduced"}


def test_every_key_is_a_parameter_or_changes_no_result():
    ((path, params),) = (each for entry in STAGE["params"] for each in entry.items())
    assert path == "config.yaml"
    assert set(schema()["properties"]) - WITHOUT_EFFECT == set(params)
    assert set(params) <= set(yaml.safe_load((ROOT / path).read_text()))


def test_what_the_stage_depends_on_is_in_git():
    for dependency in STAGE["deps"]:
        assert subprocess.run(["git", "-C", str(ROOT), "ls-files", dependency], capture_output=True).stdout, dependency


def test_outputs_of_the_stage_are_those_of_the_rule_and_no_results():
    rule = (ROOT / "rules" / "share.smk").read_text().partition("rule write_metrics:")[2].partition("log:")[0]
    written = set(re.findall(r'="(metrics/[^"]+)"', rule))
    declared = {path: options for entry in STAGE["metrics"] + STAGE["outs"] for path, options in entry.items()}
    assert set(declared) == written
    assert all(options == {"cache": False, "persist": True} for options in declared.values())
    assert f'"{sharing.METRICS_MANIFEST}"' in rule


def test_plots_are_of_outputs_and_have_their_template():
    for plot in PIPELINE["plots"]:
        ((_, options),) = plot.items()
        assert set(options["y"]) <= {path for entry in STAGE["outs"] for path in entry}
        json.loads((ROOT / ".dvc" / "plots" / f"{options['template']}.json").read_text())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_pointers_of_data_sets_are_of_the_published_files(name):
    outs = yaml.safe_load((ROOT / "data" / f"{name}.dvc").read_text())["outs"]
    if name == "cifar10":
        expected = {f"raw/cifar-10-batches-bin/{file}": md5 for file, md5 in sources._CIFAR_FILES.items()}
    else:
        folder = sources._IDX_FOLDERS[name]
        expected = {f"raw/{folder}/raw/{file}.gz": md5[name] for file, (_, md5) in sources._IDX_FILES.items()}
    assert {each["path"]: each["md5"] for each in outs} == expected


def test_pointers_are_not_ignored_by_git():
    pointers = [*map(str, ROOT.glob("data/*.dvc")), str(ROOT / sharing.POINTER)]
    done = subprocess.run(["git", "-C", str(ROOT), "check-ignore", *pointers], capture_output=True, text=True)
    assert done.stdout == ""

"""The texts of the report: every one is whole for studies of all kinds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from shapprune.workflow.study import config as study

ROOT = Path(__file__).resolve().parents[2]
# As Snakemake sets it up, but names that do not exist are errors.
JINJA = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
SMALL = {
    "criteria": {"taylor": {}},
    "networks": {
        "net": {"architecture": "lenet5", "data": "fashion-mnist-sample", "train": {"epochs": 2}},
        "loaded": {
            "architecture": "lenet5",
            "data": "fashion-mnist-sample",
            "weights": {"url": "https://example.org/lenet5.safetensors", "sha256": "0" * 64},
        },
    },
    "scoring": {"trials": 1},
    "low_data": {"ratios": [0.07], "trials": 1, "skip": ["conv1", "fc1"]},
}


@pytest.mark.parametrize("overlay", [{}, SMALL], ids=["default", "small"])
@pytest.mark.parametrize("path", sorted(ROOT.glob("report/*.rst")), ids=lambda path: path.stem)
def test_texts_are_whole(path, overlay):
    config = study.validate(study.merge(study.read(ROOT / "config.yaml"), overlay))
    params = SimpleNamespace(digest=study.digest(config))
    wildcards = SimpleNamespace(net=next(iter(config["networks"])))
    # Snakemake adds a link to each file of the report.
    files = [SimpleNamespace(target="run_config.yaml", job=SimpleNamespace(params=params))]
    text = path.read_text() + "\n\n.. _run_config.yaml: javascript:show()\n"
    snakemake = SimpleNamespace(config=config, wildcards=wildcards, params=params)
    html = publish_parts(JINJA.from_string(text).render(snakemake=snakemake, files=files), writer="html")["body"]
    assert "System Message" not in html
    assert "{{" not in html
    if path.stem in ("workflow", "config"):
        assert params.digest in html

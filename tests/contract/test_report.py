"""The texts of the report: every one is whole for studies of all kinds."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.figures.catalog import FIGURES
from shapprune.workflow.study import config as study
from shapprune.workflow.study.overlay import merge

# As Snakemake sets it up, but names that do not exist are errors.
JINJA = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
Category = namedtuple("Category", "name")
FIRST = ("budgets.svg", "auc.svg", "low_data_final_accuracy.svg")  # figures of the first page
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
    "budgets": {"methods": {"taylor": {}}, "sizes": [0.5], "trials": 1, "train": {"epochs": 2}, "teacher": 0.9},
    "deactivation": {"criteria": ["taylor"], "shares": [0.07], "scope": "rows"},
    "quantisation": {
        "methods": {"obd": {}, "ours": {"method": "shapley-diagonal", "in_turn": True}},
        "bits": [4],
        "trials": 1,
    },
    "selective_tuning": {"methods": ["taylor", "full"], "trials": 1, "rates": [0.1, 0.01], "data": {"net": "mnist"}},
    "probe": {"methods": ["taylor", "all"], "trials": 1},
    "low_data": {"ratios": [0.07], "trials": 1, "skip": ["conv1", "fc1"], "scored_on": "test"},
}


@pytest.mark.parametrize("overlay", [{}, SMALL], ids=["default", "small"])
@pytest.mark.parametrize("path", sorted(ROOT.glob("report/*.rst")), ids=lambda path: path.stem)
def test_texts_are_whole(path, overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/headline.rst").write_text("The headline.\n")
    figure = Path("results/auc.svg")
    figure.write_text("<svg\nwidth='1'>" + 3000 * "<g>\n" + "</svg>")  # lines of the page are limited
    config = study.validate(merge(study.read(ROOT / "config.yaml"), overlay))
    params = SimpleNamespace(digest=study.digest(config))
    wildcards = SimpleNamespace(net=next(iter(config["networks"])))
    # Snakemake adds a link to each file of the report.
    files = [SimpleNamespace(target="run_config.yaml", job=SimpleNamespace(params=params))]
    category = Category("net")
    categories = {category: {category: [SimpleNamespace(target=name, path=figure) for name in FIRST]}}
    text = path.read_text() + "\n\n.. _run_config.yaml: javascript:show()\n"
    snakemake = SimpleNamespace(config=config, wildcards=wildcards, params=params)
    html = publish_parts(
        JINJA.from_string(text).render(snakemake=snakemake, files=files, categories=categories), writer="html"
    )["body"]
    assert "System Message" not in html
    assert "{{" not in html
    if path.stem == "workflow":
        assert html.index("The headline.") < html.index("<img") < html.index("How it was done")
        assert html.count("data:image/svg+xml,%3Csvg%0A\nwidth") == len(FIRST)
    if path.stem in ("workflow", "config"):
        assert params.digest in html


def test_figures_of_the_first_page_are_in_the_table():
    assert {name.removesuffix(".svg") for name in FIRST} <= FIGURES.keys()

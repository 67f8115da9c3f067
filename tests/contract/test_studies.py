"""The studies: each is laid over the default one and is valid, and its functions are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shapprune.core.paths import REPOSITORY
from shapprune.core.resolve import resolve_function
from shapprune.workflow.study import config as study
from shapprune.workflow.study.overlay import merge

STUDIES = sorted((REPOSITORY / "studies").glob("*.yaml"))


SCALES = [(path, scale) for path in STUDIES for scale in ("full", *study.read(path).keys() & {"reduced"})]


@pytest.mark.parametrize(("path", "scale"), SCALES, ids=lambda value: getattr(value, "stem", value))
def test_is_valid(path, scale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # weights are looked for where a study is run
    for network in study.read(path).get("networks", {}).values():
        if isinstance(weights := network.get("weights"), str):
            Path(weights).parent.mkdir(exist_ok=True)
            Path(weights).touch()
    full = study.validate(merge(study.read(REPOSITORY / "config.yaml"), study.read(path) | {"scale": scale}))
    assert full["study"] == path.stem + ("-reduced" if scale == "reduced" else "")
    own = [each["architecture"] for each in full["networks"].values() if ":" in each["architecture"]]
    own += [each if isinstance(each, str) else each["source"] for each in full["datasets"].values()]
    for function in own:
        if ":" in function:
            assert callable(resolve_function(function, "function"))


def test_studies_that_are_named_are_there():
    texts = [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *REPOSITORY.glob("benchmarks/**/*.py"),
        *STUDIES,
    ]
    named = {name for path in texts for name in re.findall(r"studies/([\w-]+\.yaml)", path.read_text(encoding="utf-8"))}
    assert named - {"mine.yaml"} <= {path.name for path in STUDIES}
    assert len(named) > len(STUDIES) / 2


def test_says_how_it_is_run():
    for path in STUDIES:
        assert f"--configfile studies/{path.name}" in path.read_text(encoding="utf-8")

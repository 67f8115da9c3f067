"""What a study is made from: weights and data sets of one's own."""

from __future__ import annotations

import copy
import itertools

import pytest
import yaml

from shapprune.core.errors import ShapPruneError
from tests.unit.workflow.study.study_keys import CONFIG, all_keys, changed


def test_weights_and_own_data_are_known_by_what_they_hold(tmp_path, monkeypatch):
    from shapprune.workflow.stages import inputs as origins

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "mine.py").write_text("def load(): ...\n")
    config = copy.deepcopy(CONFIG)
    del config["networks"]["two"]["train"]
    config["networks"]["two"] |= {"weights": "two.pth"}
    config["datasets"] = {"shades": "mine:load"}
    config["networks"]["one"]["data"] = "shades"
    found = []
    for weights, md5 in (("a", None), ("b", None), ("b", "123"), ("b", "124")):
        (tmp_path / "two.pth").write_text(weights)
        if md5:
            pointer = {"outs": [{"md5": md5, "path": "shades"}]}
            (tmp_path / "data" / "shades.dvc").write_text(yaml.safe_dump(pointer))
        origins._digest_of.cache_clear()
        origins._pointer.cache_clear()
        found.append(all_keys(config))
    nets = [{task[0] for task in changed(*pair)} for pair in itertools.pairwise(found)]
    assert nets == [{"two"}, {"one"}, {"one"}]
    (tmp_path / "data" / "shades.dvc").write_text("outs: []")
    origins._pointer.cache_clear()
    with pytest.raises(ShapPruneError, match=r"shades\.dvc is not a DVC pointer"):
        all_keys(config)

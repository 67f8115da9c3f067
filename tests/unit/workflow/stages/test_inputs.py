"""What a study is made from: weights and data sets of one's own."""

from __future__ import annotations

import copy
import itertools

import pytest
import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.workflow.stages import inputs
from tests.unit.workflow.study.study_keys import CONFIG, all_keys, changed


def test_weights_and_own_data_are_known_by_what_they_hold(tmp_path, monkeypatch):
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
        inputs._digest_of.cache_clear()
        inputs._pointer.cache_clear()
        found.append(all_keys(config))
    nets = [{task[0] for task in changed(*pair)} for pair in itertools.pairwise(found)]
    assert nets == [{"two"}, {"one"}, {"one"}]
    (tmp_path / "data" / "shades.dvc").write_text("outs: []")
    inputs._pointer.cache_clear()
    with pytest.raises(ShapPruneError, match=r"shades\.dvc is not a DVC pointer"):
        all_keys(config)


def text_study(own: object) -> dict:
    """The study with a network of tokens in the place of the second."""
    config = copy.deepcopy(CONFIG)
    config["datasets"] = {"words": own}
    options = {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 8}
    config["networks"]["two"] |= {"architecture": "char_gpt", "data": "words", "options": options}
    del config["budgets"], config["fine_tune"], config["compress"], config["estimators"]
    return config


def test_a_text_is_known_by_its_sequences(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def load(): ...\n")
    found = []
    for text, source, length in (
        *(("ab" * 30000, "words.txt", 20), ("ab" * 30000, "words.txt", 10), ("abb" * 20000, "words.txt", 10)),
        *(("abb" * 20000, "mine:load", 10), ("abb" * 20000, "mine:load", 12)),
    ):
        (tmp_path / "words.txt").write_text(text)
        inputs._text_of.cache_clear()
        found.append(all_keys(text_study({"kind": "text", "source": source, "length": length})))
    assert found[0].keys() == all_keys(text_study({"kind": "text", "source": "tiny-shakespeare"})).keys()
    for pair in itertools.pairwise(found):
        assert {task[0] for task in changed(*pair)} == {"two"}
    (tmp_path / "words.txt").write_text("bc" * 30000)
    inputs._text_of.cache_clear()
    assert not changed(found[-1], all_keys(text_study({"kind": "text", "source": "mine:load", "length": 12})))


def test_the_counts_of_a_text_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("abc" * 100)
    own = {"kind": "text", "source": "words.txt", "tokenizer": "characters", "length": 9}
    info = inputs.text_info("words", own)
    assert (info.name, info.shape, info.classes, info.train, info.test) == ("words", (9,), 3, 27, 3)
    assert inputs.text_info("words", own | {"source": "mine:load"}) is None
    assert inputs.text_info("words", "mine:load") is None


def test_a_text_in_a_file_is_an_input_of_its_job():
    own = {"kind": "text", "length": 9}
    assert inputs.text_files(own | {"source": "words.txt"}) == ["words.txt"]
    for other in (None, "mine:load", own | {"source": "mine:load"}, own | {"source": "tiny-shakespeare"}):
        assert inputs.text_files(other) == []

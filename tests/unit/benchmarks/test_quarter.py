"""A quarter of a small language model gone: scores are those of the criteria, and the table is gone on with."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks import quarter
from benchmarks.quarter import COLUMNS, METHODS, Method, Scores, choose, measure_quarter, perplexity, shrink
from shapprune import LayerGame, score
from shapprune.core.tables import read_rows
from shapprune.networks.losses import logits_of
from tests.unit.transformers import CASES, build

LAYERS = "layers.0.self_attn", "layers.1.mlp.gate_proj"


@pytest.fixture(scope="module")
def scores():
    model = build(CASES["llama"])
    tokens = torch.randint(50, (6, 21), generator=torch.Generator().manual_seed(1))
    return Scores(model, tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize(
    ("criterion", "options"),
    [
        ("fluctuation", {}),
        ("wanda", {}),
        ("weight-taylor", {}),
        ("weight-norm", {"norm": "l2"}),
        ("reconstruction", {}),
    ],
)
def test_scores_are_those_of_the_criteria(scores, criterion, options):
    for layer in LAYERS:
        game = LayerGame(scores._model, f"model.{layer}", scores._tokens, scores._labels)
        expected = score(game, criterion, **options).aggregate("mean")
        assert torch.allclose(scores.of(criterion)[layer], torch.as_tensor(expected), rtol=1e-4)


def test_a_quarter_leaves_and_each_block_keeps_its_best():
    found = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([10.0, 10.1, 30.0]), "c": torch.tensor([4.0, 8, 12])}
    assert choose(found, "share") == {"a": [0, 1], "c": [0]}
    assert choose(found, "standardized") == {"a": [0], "b": [0], "c": [0]}
    assert choose(found, "uniform") == {"a": [0], "b": [0], "c": [0]}


@pytest.mark.parametrize("name", ["FLAP", "ours", "magnitude"])
def test_a_method_makes_a_smaller_network(scores, name):
    small = shrink(scores, METHODS[name], scores._tokens)
    attentions = [layer.self_attn.o_proj.in_features for layer in small.layers]
    assert sum(attentions) == 3 * 16  # one of four groups of two heads of eight numbers
    assert sum(layer.mlp.down_proj.in_features for layer in small.layers) == 2 * 48 * 3 // 4
    assert (small.layers[0].mlp.down_proj.bias is not None) == (name == "FLAP")


def test_perplexity_is_the_exponential_of_the_loss(scores):
    model, tokens, labels = scores._model, scores._tokens, scores._labels
    loss = torch.nn.functional.cross_entropy(logits_of(model(tokens)).flatten(0, 1), labels.flatten())
    assert perplexity(model, tokens, labels) == pytest.approx(float(loss.detach().exp()), rel=1e-4)


def test_the_table_is_gone_on_with(scores, tmp_path, monkeypatch):
    texts = {part: torch.randint(50, (6, 9)) for part in ("train", "test", "shakespeare")}
    monkeypatch.setattr(quarter, "read_sequences", lambda _, part, *rest: (texts[part][:, :-1], texts[part][:, 1:]))
    monkeypatch.setattr(quarter, "METHODS", {"a": Method("weight-norm", "none"), "b": Method("weight-norm", "bias")})
    given, out = Namespace(text=Path(), sequences=6, length=8, mixed=False), tmp_path / "table.csv"
    measure_quarter(scores._model, None, given, out)
    rows = read_rows(out)
    assert [row["method"] for row in rows] == ["intact", "a", "b"]
    assert tuple(rows[0]) == COLUMNS
    assert int(rows[1]["parameters"]) < int(rows[0]["parameters"]) < int(rows[2]["parameters"]) * 2
    monkeypatch.setattr(quarter, "shrink", lambda *_: pytest.fail("measured again"))
    measure_quarter(scores._model, None, given, out)
    assert read_rows(out) == rows


def test_half_of_the_calibration_may_be_other_text_than_measures(monkeypatch):
    def sequences(_, part, tokenizer, count, length):
        tokens = torch.arange(count * length).reshape(count, length) * (-1 if part == "shakespeare" else 1)
        return tokens, tokens + 1

    monkeypatch.setattr(quarter, "read_sequences", sequences)
    tokens, labels = quarter._calibration(None, Namespace(text=Path(), sequences=5, length=2, mixed=True))
    assert tokens.tolist() == [[0, 1], [2, 3], [4, 5], [-64, -65], [-66, -67]]
    assert torch.equal(labels, tokens + 1)

"""Probes of a language model: which neurons tell the subject of a question of MMLU.

`python -m benchmarks.smollm2 probe` runs it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapprune import LayerGame, ShapPruneError, score
from shapprune.core.tables import write_table
from shapprune.parameters.probe import probe, unit_activations
from shapprune.parameters.scored_parts import highest
from shapprune.shapley.draws import SHARED, generator

# Criteria that choose neurons, by the loss of the next token of the questions that probes are fitted to.
CRITERIA: dict[str, tuple[str, dict[str, Any]]] = {
    "model-shapley": ("model-shapley", {"scope": "rows"}),
    "model-shapley, as published": (
        "model-shapley",
        {"sign": "paper", "hessian": "shipped", "block": "matrix", "scope": "rows", "absolute": "sum"},
    ),
    "gradient-trace": ("gradient-trace", {}),
    "coalition-gradient": ("coalition-gradient", {"points": 2}),
    "weight-l2": ("weight-norm", {"norm": "l2"}),
}
_SHARE, _DRAWS, _LEAST = 0.1, 5, 2
_SCORED = 16  # questions that scores are computed from

Questions = tuple[Tensor, Tensor]  # tokens [N, length]; numbers of subjects [N]


def read_questions(
    folder: Path, tokenizer: Any, subjects: int, each: int, length: int
) -> tuple[Questions, Questions, list[str]]:
    """Questions of MMLU (Hendrycks et al. 2021) with their choices, cut to their first tokens, and their subjects.

    Args:
        folder: has a file ``SUBJECT_test.csv`` a subject, with columns question, choice0 to choice3.
        tokenizer: from text to ``input_ids``.
        subjects: how many, the first by name that have enough questions which are long enough.
        each: questions of a subject to fit probes to; half as many measure.
        length: tokens of a question; shorter ones are left out.

    Returns:
        The questions to fit to, those that measure, and the names of the subjects.

    Raises:
        ShapPruneError: fewer subjects have so many questions.
    """
    parts: tuple[list[list[int]], list[list[int]]] = ([], [])
    names: list[str] = []
    for path in sorted(folder.glob("*_test.csv")):
        found = [tokens[:length] for tokens in _tokens(path, tokenizer) if len(tokens) >= length]
        if len(found) < each + each // 2 or len(names) == subjects:
            continue
        names.append(path.stem.removesuffix("_test"))
        parts[0].extend(found[:each])
        parts[1].extend(found[each : each + each // 2])
    if len(names) < subjects:
        raise ShapPruneError(
            f"{len(names)} subjects in {folder} have {each + each // 2} questions of {length} tokens, not {subjects}"
        )
    counts = each, each // 2
    fitted, unseen = (
        (torch.tensor(part), torch.arange(subjects).repeat_interleave(count))
        for part, count in zip(parts, counts, strict=True)
    )
    return fitted, unseen, names


def _tokens(path: Path, tokenizer: Any) -> Iterator[list[int]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            choices = "\n".join(f"{letter}. {row[f'choice{place}']}" for place, letter in enumerate("ABCD"))
            yield tokenizer(f"{row['question']}\n{choices}").input_ids


def choose_units(
    model: nn.Module, layers: Sequence[str], tokens: Tensor, criteria: Mapping[str, tuple[str, dict[str, Any]]]
) -> dict[tuple[str, int], dict[str, Tensor]]:
    """(criterion or ``random``, draw) -> layer -> the tenth of its units with the highest scores."""
    chosen: dict[tuple[str, int], dict[str, Tensor]] = {}
    for layer in layers:
        game = LayerGame(model, layer, tokens[:, :-1], tokens[:, 1:])
        for name, (method, options) in criteria.items():
            values = score(game.fresh(), method, **options).aggregate("mean")
            chosen.setdefault((name, 0), {})[layer] = highest(values, _SHARE)
            print(f"{layer}: {name} scored", flush=True)
        for draw in range(_DRAWS):
            values = torch.from_numpy(generator(draw, layer, SHARED, 0).random(game.units))
            chosen.setdefault(("random", draw), {})[layer] = highest(values, _SHARE)
        chosen.setdefault(("all", 0), {})[layer] = torch.arange(game.units)
    return chosen


def probe_layers(
    model: nn.Module,
    layers: Sequence[str],
    fitted: Questions,
    unseen: Questions,
    criteria: Mapping[str, tuple[str, dict[str, Any]]],
    over: str,
) -> list[dict[str, Any]]:
    """A row a layer, criterion and draw, and those of all layers together (``all``)."""
    scored = fitted[0][:: max(1, len(fitted[0]) // _SCORED)]
    chosen = choose_units(model, layers, scored, criteria)
    train, test = (unit_activations(model, layers, part[0], over) for part in (fitted, unseen))  # type: ignore[arg-type]
    rows = []
    for (name, draw), units in chosen.items():
        for place, some in [*((layer, [layer]) for layer in layers), *([("all", layers)] * (len(layers) >= _LEAST))]:
            of = [torch.cat([part[layer][:, units[layer]].flatten(1) for layer in some], 1) for part in (train, test)]
            found = probe(of[0], fitted[1], of[1], unseen[1])
            row = {"layer": place, "criterion": name, "draw": draw, "units": sum(len(units[each]) for each in some)}
            row |= {"regularisation": 1 / found.inverse, "train_accuracy": found.train_accuracy}
            rows.append(row | {"accuracy": found.accuracy})
            print(f"{place}, {name} {draw}: {found.accuracy:.3f}", flush=True)
    return rows


def measure_probe(model: nn.Module, tokenizer: Any, given: argparse.Namespace, out: Path) -> None:
    """Which neurons of three feed-forward blocks tell the subject of a question."""
    fitted, unseen, names = read_questions(
        given.text / "mmlu" / "test", tokenizer, given.subjects, given.sequences, given.length
    )
    print(f"{len(names)} subjects: {', '.join(names)}", flush=True)
    layers = [f"model.layers.{block}.mlp.gate_proj" for block in given.blocks]
    rows = probe_layers(model, layers, fitted, unseen, CRITERIA, given.over)
    write_table(out, list(rows[0]), rows)

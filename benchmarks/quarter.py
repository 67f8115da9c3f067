"""A quarter of a language model's feed-forward neurons and heads removed, by criteria and repairs.

Every method loses a quarter of the neurons of each block, and of all groups of heads a quarter, wherever they are; but
for one group in each block. What makes groups of different blocks comparable is said by `SPREADS`.
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.language import read_sequences
from shapprune import LayerGame
from shapprune.core.tables import read_rows, write_table
from shapprune.criteria.catalog import check_options
from shapprune.criteria.elimination import Reading
from shapprune.criteria.inputs import fluctuations, wanda_norms
from shapprune.criteria.rankings import weights_times_gradients
from shapprune.criteria.reconstruction import Readers, eliminate_units
from shapprune.graph.counting import count_parameters
from shapprune.networks.losses import cross_entropies, logits_of
from shapprune.parameters.units import Pools
from shapprune.pruning.removal import remove_units
from shapprune.pruning.repair import repair_by
from shapprune.pruning.selection import RECONSTRUCTION, Structure

SHARE = 0.25
# Sequences of each text that measure.
_UNSEEN = 32
# Sequences of a pass, and parts that layers are read in, so that not all Gram matrices are there at a time.
_BATCH, _PARTS = 4, 4
COLUMNS = ("method", "repair", "parameters", "seconds", "gsm8k", "shakespeare")


@dataclass(frozen=True)
class Method:
    """A way to choose what leaves, and to mend what is left.

    Attributes:
        criterion: one of `Scores`.
        repair: of `shapprune.pruning.repair.REPAIRS`.
        neurons: how the neurons of blocks are compared, one of `SPREADS`.
        heads: how groups of heads of blocks are compared.
    """

    criterion: str
    repair: str
    neurons: str = "uniform"
    heads: str = "standardized"


def _own(repair: str) -> Method:
    return Method("reconstruction", repair, heads="share")


# In the order in which they are measured.
METHODS = {
    "ours": _own("least-squares"),
    "FLAP": Method("fluctuation", "bias", "standardized"),
    "FLAP, uniform": Method("fluctuation", "bias"),
    "magnitude": Method("weight-norm", "none"),
    "Wanda-sp": Method("wanda", "none"),
    "LLM-Pruner": Method("weight-taylor", "none"),
    "ours without repair": _own("none"),
    "magnitude, repaired": Method("weight-norm", "least-squares"),
    "Wanda-sp, repaired": Method("wanda", "least-squares"),
    "fluctuation, repaired": Method("fluctuation", "least-squares"),
}


class Scores:
    """Scores of the units of a network that reads tokens, high = keep; each criterion is computed once.

    Args:
        model: the network with its classifier, whose ``model`` is the network without it.
        tokens: calibration sequences, int [N, T].
        labels: what follows each token, [N, T].
    """

    def __init__(self, model: nn.Module, tokens: Tensor, labels: Tensor):
        self._model, self._tokens, self._labels = model, tokens, labels
        self._found: dict[str, dict[str, Tensor]] = {}

    @cached_property
    def structure(self) -> Structure:
        """Of the network without its classifier."""
        return Structure.of(self._model.get_submodule("model"), self._tokens[:2])

    def of(self, criterion: str) -> dict[str, Tensor]:
        """First layer of each group -> scores of its units, [n]."""
        if criterion not in self._found:
            start = time.perf_counter()
            self._found[criterion] = _CRITERIA[criterion](self)
            print(f"{criterion}: scored in {time.perf_counter() - start:.0f} s", flush=True)
        return self._found[criterion]

    def _read(
        self, values: Callable[[str, Sequence[Reading]], Tensor], centred: bool | None = None
    ) -> dict[str, Tensor]:
        """What a function says of each layer and of those that read its units."""
        structure, found = self.structure, dict[str, Tensor]()
        readers, layers = Readers(structure.dependencies), list(structure.readers)
        for some in (layers[start::_PARTS] for start in range(_PARTS)):
            read = readers.read({layer: structure.readers[layer] for layer in some}, self._tokens, centred)
            found |= {layer: values(layer, each) for layer, each in read.items()}
        return {layer: found[layer] for layer in layers}

    def fluctuation(self) -> dict[str, Tensor]:
        """FLAP's, An et al. 2024."""
        return self._read(lambda _, readings: fluctuations(readings), centred=True)

    def wanda(self) -> dict[str, Tensor]:
        """Wanda's, Sun et al. 2024, summed over structures."""
        return self._read(lambda _, readings: wanda_norms(readings), centred=False)

    def norm(self) -> dict[str, Tensor]:
        """The l2 norms of the weights that make units."""
        return {layer: each.sqrt() for layer, each in self.structure.squared_norms.items()}

    def reconstruction(self) -> dict[str, Tensor]:
        """The share of the readers' variance that is lost once the unit and those before it are gone."""
        options: dict[str, Any] = check_options(RECONSTRUCTION, {})

        norms = self.structure.squared_norms
        return self._read(lambda layer, readings: eliminate_units(readings, norms[layer], **options).values)

    def taylor(self) -> dict[str, Tensor]:
        """LLM-Pruner's, Ma et al. 2023, first order, by one gradient for all layers."""
        pools = Pools(self._model, self._tokens)
        found = {layer: pools.of(f"model.{layer}", biases=False) for layer in self.structure.groups}
        game = LayerGame(self._model, f"model.{next(iter(found))}", self._tokens, self._labels)
        values = weights_times_gradients(game, {name for each in found.values() for name in each.names})
        return {layer: pooling(values) for layer, pooling in found.items()}


_CRITERIA: dict[str, Callable[[Scores], dict[str, Tensor]]] = {
    "fluctuation": Scores.fluctuation,
    "wanda": Scores.wanda,
    "weight-norm": Scores.norm,
    "reconstruction": Scores.reconstruction,
    "weight-taylor": Scores.taylor,
}


def choose(scores: Mapping[str, Tensor], spread: str) -> dict[str, list[int]]:
    """Choose a quarter of the units, those with the lowest scores.

    Args:
        scores: layer -> of its units, [n].
        spread: of `SPREADS`.

    Returns:
        Layer -> the units that leave it; each layer keeps its best one.

    Examples:
        >>> import torch
        >>> from benchmarks.quarter import choose
        >>> scores = {"a": torch.tensor([1.0, 2, 3, 9]), "b": torch.tensor([5.0, 6, 7, 8])}
        >>> choose(scores, "uniform"), choose(scores, "share")
        ({'a': [0], 'b': [0]}, {'a': [0, 1]})
    """
    comparable = {layer: SPREADS[spread](each.double()) for layer, each in scores.items()}
    last = {layer: int(each.argmax()) for layer, each in comparable.items()}
    places = [(layer, unit) for layer, each in comparable.items() for unit in range(len(each)) if unit != last[layer]]
    ordered = sorted(places, key=lambda place: float(comparable[place[0]][place[1]]))
    gone: dict[str, list[int]] = {}
    for layer, unit in ordered[: math.ceil(SHARE * sum(map(len, scores.values())))]:
        gone.setdefault(layer, []).append(unit)
    return {layer: sorted(gone[layer]) for layer in scores if layer in gone}


def _ranks(scores: Tensor) -> Tensor:
    return scores.argsort(stable=True).argsort() / len(scores)


def _standardized(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / scores.std()


# What makes scores of different blocks comparable: a unit's rank in its block, so that all blocks lose the same share;
# the score less the mean of its block, over the standard deviation, as FLAP does; or the score, if it is a share.
SPREADS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": _ranks,
    "standardized": _standardized,
    "share": lambda scores: scores,
}


def shrink(scores: Scores, method: Method, tokens: Tensor) -> nn.Module:
    """The network without its classifier that a method makes."""
    structure, found = scores.structure, scores.of(method.criterion)
    heads = {layer: each for layer, each in found.items() if layer in structure.graph.attentions}
    neurons = {layer: each for layer, each in found.items() if layer not in heads}
    removed = choose(neurons, method.neurons) | choose(heads, method.heads)
    small = remove_units(structure.model, removed, tokens).eval()
    repair_by(small, structure.graph, structure.dependencies, removed, tokens, method.repair)
    return small


@torch.no_grad()
def perplexity(model: nn.Module, tokens: Tensor, labels: Tensor) -> float:
    """The exponential of the mean loss of a next token."""
    batches = zip(tokens.split(_BATCH), labels.split(_BATCH), strict=True)
    return math.exp(torch.cat([cross_entropies(logits_of(model(x)), y) for x, y in batches]).mean())


def measure_quarter(model: nn.Module, tokenizer: Any, given: Namespace, out: Path) -> None:
    """Write a row for each method that the table has not yet."""
    unseen = {
        text: read_sequences(given.text, part, tokenizer, _UNSEEN, given.length)
        for text, part in (("gsm8k", "test"), ("shakespeare", "shakespeare"))
    }
    tokens, labels = _calibration(tokenizer, given)
    scores, whole = Scores(model, tokens, labels), model.get_submodule("model")
    rows: list[dict[str, Any]] = [*read_rows(out)]
    for name, method in _missing(rows):
        start = time.perf_counter()
        small = whole if method is None else shrink(scores, method, tokens)
        seconds = time.perf_counter() - start
        model.set_submodule("model", small)
        found = {text: perplexity(model, *each) for text, each in unseen.items()}
        facts = {"method": name, "repair": "none" if method is None else method.repair}
        rows.append(facts | {"parameters": count_parameters(small), "seconds": round(seconds), **found})
        model.set_submodule("model", whole)
        write_table(out, COLUMNS, rows)
        print(f"{name}: {found}, {seconds:.0f} s", flush=True)


def _calibration(tokenizer: Any, given: Namespace) -> tuple[Tensor, Tensor]:
    """Problems, or half of them and half of what follows the sequences of Shakespeare that measure; tokens, labels."""
    if not given.mixed:
        return read_sequences(given.text, "train", tokenizer, given.sequences, given.length)
    half = given.sequences // 2
    problems = read_sequences(given.text, "train", tokenizer, given.sequences - half, given.length)
    plays = read_sequences(given.text, "shakespeare", tokenizer, _UNSEEN + half, given.length)
    tokens, labels = (torch.cat([one, other[_UNSEEN:]]) for one, other in zip(problems, plays, strict=True))
    return tokens, labels


def _missing(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Method | None]]:
    there = {row["method"] for row in rows}
    yield from ((name, method) for name, method in {"intact": None, **METHODS}.items() if name not in there)

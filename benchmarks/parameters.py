"""Scores of a language model's parameters, and what becomes of its loss when they are used.

The lowest twentieth of the rows of each feed-forward matrix, or of the neurons of each block, is set to zero, by one
scoring of the parameters; weights get 8 or 4 bits, calibrated on the same sequences. Other sequences measure the loss
of a next token, in nats. Where the package torchao is installed, it gives the same layers few bits too.
"""

from __future__ import annotations

import copy
import importlib.util
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.language import read_sequences
from shapprune import Expansion, ParameterScores, Scheme, deactivate, pool_rows, quantise, score_parameters
from shapprune.core.tables import read_rows, write_table
from shapprune.networks.losses import cross_entropies, logits_of
from shapprune.parameters.hessians import input_hessians
from shapprune.parameters.quantisation import choose_layers
from shapprune.parameters.units import Pools

SHARE = 0.05
_UNSEEN = 16  # sequences that measure
COLUMNS = ("use", "method", "units", "loss", "agreement", "bytes", "seconds")
# What units are ranked by: a function of their first and second order, and of the absolute first order of their
# parameters, all [n].
SCORES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "first order, absolute (the paper's code)": lambda first, *_: first.abs(),
    "first order": lambda first, *_: first,
    "paper's sign": lambda first, second, _: first - second,
    "paper's sign, absolute": lambda first, second, _: (first - second).abs(),
    "corrected sign": lambda first, second, _: first + second,
    "corrected sign, absolute": lambda first, second, _: (first + second).abs(),
    "second order": lambda _, second, __: second,
    "gradient trace": lambda *each: each[2],
    "random": lambda first, *_: torch.rand(len(first), generator=torch.Generator().manual_seed(0)),
}
SCHEMES = [Scheme(method, bits) for bits in (8, 4) for method in ("round", "gptq")]
# What torchao is asked for: its name in the table, bits, and how many weights share a scale; None for all of a row.
TORCHAO = [("torchao", 8, None), ("torchao", 4, None), ("torchao, groups of 32", 4, 32)]


def measure_parameters(model: nn.Module, tokenizer: Any, given: Namespace, out: Path) -> None:
    """Losses on unseen sequences, a row a use and method; what is in the table is not measured again."""
    tokens, labels = read_sequences(given.text, "train", tokenizer, given.sequences, given.length)
    unseen = read_sequences(given.text, "test", tokenizer, _UNSEEN, given.length)
    size = sum(each.nbytes for each in model.parameters())
    loss, intact = _measured(model, *unseen)
    whole = {"use": "intact", "method": "", "units": "", "loss": loss, "agreement": 1.0, "bytes": size, "seconds": 0}
    rows: list[dict[str, Any]] = [*read_rows(out)] or [whole]
    there = {(row["use"], row["method"], row["units"]) for row in rows}
    zeroed = [(method, units) for method in SCORES for units in ("rows", "neurons")]
    zeroed = [each for each in zeroed if ("deactivated", *each) not in there]
    schemes = [each for each in SCHEMES if ("quantised", each.method, f"{each.bits} bits") not in there]
    others = [each for each in TORCHAO if ("quantised", each[0], f"{each[1]} bits") not in there]
    made = chain(
        deactivated_networks(model, tokens, labels, zeroed),
        quantised_networks(model, tokens, schemes),
        _by_torchao(model, others),
    )
    for (use, method, units), changed, facts in made:
        loss, answers = _measured(changed, *unseen)
        agreement = float((answers == intact).double().mean())
        found = {"loss": loss, "agreement": agreement, "bytes": size, **facts}
        rows.append({"use": use, "method": method, "units": units, **found})
        write_table(out, COLUMNS, rows)
        print(f"{use}, {method}, {units}: {loss:.4f}, agrees {agreement:.4f}", flush=True)


# Use, method and units; the network; and what is told of it.
Made = Iterator[tuple[tuple[str, str, str], nn.Module, dict[str, Any]]]


def deactivated_networks(model: nn.Module, tokens: Tensor, labels: Tensor, wanted: list[tuple[str, str]]) -> Made:
    """Networks with the lowest rows or neurons at zero, by one scoring of all feed-forward matrices."""
    if not wanted:
        return
    names = [name for name, each in model.named_parameters() if ".mlp." in name and each.dim() > 1]
    start = time.perf_counter()
    scores = score_parameters(model, tokens, labels, Expansion(batch=2), names=names)
    seconds = round(time.perf_counter() - start)
    print(f"{sum(each.numel() for each in scores.both.values())} parameters scored in {seconds} s", flush=True)
    pools = Pools(model, tokens)
    pooled = {"rows": _rows(model, scores), "neurons": _neurons(pools, scores)}
    for method, units in wanted:
        ranked = {name: SCORES[method](*each) for name, each in pooled[units].items()}
        left = deactivate(model, ranked, SHARE, None if units == "rows" else pools)
        yield ("deactivated", method, units), left, {"seconds": seconds}


def quantised_networks(model: nn.Module, tokens: Tensor, schemes: list[Scheme]) -> Made:
    """Networks with weights of few bits, whose methods share the Hessians."""
    if not schemes:
        return
    hessians = input_hessians(model, tokens, choose_layers(model)[0], batch=2)
    for scheme in schemes:
        start = time.perf_counter()
        small = quantise(model, scheme=scheme, hessians=hessians)
        facts = {"bytes": small.bytes, "seconds": round(time.perf_counter() - start)}
        yield ("quantised", scheme.method, f"{scheme.bits} bits"), small.model, facts


def _by_torchao(model: nn.Module, wanted: list[tuple[str, int, int | None]]) -> Made:
    """Networks whose linear layers another library gave few bits; none where it is not installed."""
    if not wanted:
        return
    if importlib.util.find_spec("torchao") is None:
        print("torchao is not installed; its rows are left out", flush=True)
        return
    from torchao.quantization import IntxWeightOnlyConfig, PerAxis, PerGroup, quantize_

    layers = set(choose_layers(model)[0])
    for method, bits, group in wanted:
        start, small = time.perf_counter(), copy.deepcopy(model)
        how = PerAxis(0) if group is None else PerGroup(group)
        config = IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=how)
        quantize_(small, config, filter_fn=lambda _, name: name in layers)
        saved = 0
        for name in layers:
            weight: Any = small.get_submodule(name).weight
            before = model.get_submodule(name).get_parameter("weight")
            saved += before.nbytes - before.numel() * bits // 8 - weight.scale.nbytes
        size = sum(each.nbytes for each in model.parameters()) - saved
        facts = {"bytes": size, "seconds": round(time.perf_counter() - start)}
        yield ("quantised", method, f"{bits} bits"), small, facts


def _terms(scores: ParameterScores) -> tuple[dict[str, Tensor], ...]:
    return scores.first, scores.second, {name: each.abs() for name, each in scores.first.items()}


def _rows(model: nn.Module, scores: ParameterScores) -> dict[str, tuple[Tensor, ...]]:
    pooled = [pool_rows(each, model) for each in _terms(scores)]
    return {name: tuple(each[name] for each in pooled) for name in pooled[0]}


def _neurons(pools: Pools, scores: ParameterScores) -> dict[str, tuple[Tensor, ...]]:
    layers = [name.removesuffix(".weight") for name in scores.both if name.endswith("gate_proj.weight")]
    poolings = {layer: pools.of(layer) for layer in layers}
    return {layer: tuple(pooling(each) for each in _terms(scores)) for layer, pooling in poolings.items()}


@torch.inference_mode()
def _measured(model: nn.Module, tokens: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """The mean loss of a next token, and the token that is said to be most likely at each position."""
    losses, answers = list[Tensor](), list[Tensor]()
    for some, truth in zip(tokens.split(2), labels.split(2), strict=True):
        logits = logits_of(model(some))
        losses.append(cross_entropies(logits, truth).double())
        answers.append(logits.argmax(-1))
    return float(torch.cat(losses).mean()), torch.cat(answers)

"""The runs that a tracker logs of smaller networks: compressed, fitted to a budget, then trained on, or quantised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapprune.workflow.share.logged_run import LoggedRun, epoch_points, record_of, run_name, tags_of, values_of
from shapprune.workflow.store.store import Store

_OF_A_BUDGET = ("net", "seed", "method", "measure", "budget", "images", "trial")
_TRAINED = (
    *("parameters", "macs", "loss_before", "accuracy_before", "validation_loss", "validation_accuracy"),
    *("loss", "accuracy", "epochs", "peak_memory_mb"),
)


def compressed_run(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    """The run of a network that lost units of all layers at once and was trained again."""
    parts = facts["task"]["parts"]
    names = ("net", "seed", "criterion", "aggregate", "target")
    return LoggedRun(
        *("compressed", run_name(facts, f"{facts['criterion']}/{facts['aggregate']}/{facts['target']}")),
        *(facts["task"]["key"], path.stat().st_mtime),
        params={**{name: facts[name] for name in names}, "to": parts["to"], "train": parts["train"]},
        metrics=[*values_of(facts, _TRAINED), *epoch_points(facts["history"])],
        tags=tags_of(facts) | record_of(facts, store),
        seconds=sum(row["seconds"] for row in facts["history"]),
    )


def budget_run(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    """The run of a network that fits a budget."""
    sizes = ("macs", "parameters", "bytes", "milliseconds", "intact_macs")
    agreement = ("agreement", "agreement_low", "agreement_high", "test_agreement")
    cost = ("distil_steps", "distil_rate", "seconds", "peak_memory_mb")
    return LoggedRun(
        *("budget", run_name(facts, _network(facts)), facts["task"]["key"], path.stat().st_mtime),
        params={**facts["task"]["parts"], **{name: facts[name] for name in _OF_A_BUDGET}},
        metrics=values_of(facts, (*sizes, *agreement, "loss", "accuracy", "intact_accuracy", *cost)),
        tags=tags_of(facts) | record_of(facts, store),
        seconds=facts["seconds"],
    )


def retrained_run(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    """The run of a network that fits a budget and was trained on."""
    given = {name: facts["task"]["parts"][name] for name in ("train", "teacher", "test_images")}
    return LoggedRun(
        *("retrained", run_name(facts, f"{_network(facts)}/retrained"), facts["task"]["key"], path.stat().st_mtime),
        params={**given, **{name: facts[name] for name in _OF_A_BUDGET}},
        metrics=[*values_of(facts, (*_TRAINED, "intact_accuracy", "seconds")), *epoch_points(facts["history"])],
        tags=tags_of(facts) | record_of(facts, store),
        seconds=facts["seconds"],
    )


def quantised_run(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    """The run of a network with weights of few bits."""
    beta = "" if facts["beta"] is None else f"/beta{facts['beta']:.12g}"
    what = f"{facts['method']}/bits{facts['bits']}{beta}/trial{facts['trial']}"
    measured = ("loss", "accuracy", "test_agreement", "intact_loss", "intact_accuracy")
    return LoggedRun(
        *("quantised", run_name(facts, what), facts["task"]["key"], path.stat().st_mtime),
        params={**{name: facts[name] for name in ("net", "seed")}, **facts["task"]["parts"], "name": facts["method"]},
        metrics=values_of(
            facts, ("bytes", "intact_bytes", "proxy_loss", "damping", *measured, "seconds", "peak_memory_mb")
        ),
        tags=tags_of(facts) | record_of(facts, store),
        seconds=facts["seconds"],
    )


def _network(facts: Mapping[str, Any]) -> str:
    """A network that fits a budget, in the words of its label."""
    return f"{facts['method']}/{facts['measure']}{facts['budget']:.12g}/trial{facts['trial']}"

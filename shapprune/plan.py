"""The units of work of a study, their keys, and which of them are in the store; known when the Snakefile is read.

Nothing here imports torch or reads images: what a data set holds is known by its MD5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shapprune import config as study
from shapprune.criteria.catalog import AGGREGATES, lookup, options_of
from shapprune.data import KNOWN_MD5
from shapprune.errors import ShapPruneError
from shapprune.files import checksum
from shapprune.keys import Unit
from shapprune.store import Store
from shapprune.work import joint_key, score_label

Units = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """A job whose results are kept.

    Attributes:
        rule: its rule.
        place: the folder below which every unit has a manifest of its own, by its label; or the one manifest of them
            all, a ``.json``; None for units without any.
        units: label -> description.
    """

    rule: str
    place: str | None
    units: Units

    def manifests(self) -> dict[str, str]:
        """Its manifests and the keys they must have."""
        if self.place is None:
            return {}
        if self.place.endswith(".json"):
            return {self.place: joint_key(self.units)}
        return {f"{self.place}/{label}.json": unit["key"] for label, unit in self.units.items()}


class Plan:
    """The units of a study.

    Args:
        config: the configuration, as `shapprune.config.validate` returns it.

    Attributes:
        store: where their results are kept.
    """

    def __init__(self, config: Mapping[str, Any]):
        self._config, self.store = config, Store(config["store"])
        self._networks, self._criteria = config["networks"], config["criteria"]
        self._rules = {key: config["scoring"][key] for key in ("site", "payoff", "precision")}
        # Each is asked for many times while the Snakefile is read and jobs are planned.
        for method in ("_described", "expected", "_network", "_scores", "_chain"):
            setattr(self, method, cache(getattr(self, method)))

    def of(self, rule: str, **wildcards: Any) -> Units:
        """The units of a job, label -> description, with the names that its files give them."""
        return self._described(rule, **{**wildcards, "seed": int(wildcards["seed"])})

    def _described(self, rule: str, **place: Any) -> Units:
        units = getattr(self, f"_of_{rule}")(**place)
        names = {name: value for name, value in place.items() if name != "layer"}
        return {label: {**unit.describe(), "names": {**names, **own}} for label, unit, own in units}

    def found(self, rule: str, **wildcards: Any) -> tuple[int, int]:
        """How many units of a job are in the store, and how many there are."""
        units = self.of(rule, **wildcards)
        return sum(self.store.has(unit["key"]) for unit in units.values()), len(units)

    def jobs(self) -> Iterator[Job]:
        """All jobs whose results are kept, each after those that it consumes."""
        for net, network in self._networks.items():
            for seed in network["seeds"]:
                run, folder = {"net": net, "seed": seed}, f"results/{net}/seed{seed}"
                yield self._job("train_network", folder, **run)
                yield self._job("score_layers", f"{folder}/scores", **run)
                for layer, units in self.layers(net).items():
                    yield self._job("score_layer", f"{folder}/scores", **run, layer=layer)
                    yield self._job("measure_curves", f"{folder}/curves/{layer}.json", **run, layer=layer)
                    if 1 < units <= self._config["oracle"]["max_units"]:
                        yield self._job("tabulate_coalitions", f"{folder}/oracle", **run, layer=layer)
                        yield self._job("search_oracle", f"{folder}/oracle/overlaps/{layer}.json", **run, layer=layer)
                for criterion in self._config["low_data"]["criteria"]:
                    yield self._job("steps", None, **run, criterion=criterion)
                    yield self._job("prune_layers", f"{folder}/pruned/{criterion}", **run, criterion=criterion)
                yield self._job("evaluate_pruned", f"{folder}/low_data.json", **run)

    def _job(self, rule: str, place: str | None, **wildcards: Any) -> Job:
        return Job(rule, place, self.of(rule, **wildcards))

    def expected(self) -> dict[str, str]:
        """The manifests of all results and the keys they must have."""
        return {path: key for job in self.jobs() for path, key in job.manifests().items()}

    def keys(self) -> set[str]:
        """The keys of all units."""
        return {unit["key"] for job in self.jobs() for unit in job.units.values()}

    def layers(self, net: str) -> dict[str, int]:
        """The layers of a network that are studied, and their units."""
        return study.layers_of(self._networks[net], self._config)

    # The jobs: label, unit and what its files say of it beside the job's own names.

    def _of_train_network(self, net: str, seed: int) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        yield "model", self._network(net, seed), {"network": self._networks[net]}

    def _of_score_layers(self, net: str, seed: int) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        for layer in self.layers(net):
            yield from self._of_scores(net, seed, layer, walks=False)

    def _of_score_layer(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        yield from self._of_scores(net, seed, layer, walks=True)

    def _of_scores(self, net: str, seed: int, layer: str, walks: bool) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        for name, entry in self._criteria.items():
            if lookup(entry["method"]).walks == walks:
                for trial in range(entry["trials"]):
                    unit = self._scores(net, seed, layer, name, trial)
                    yield score_label(name, layer, trial), unit, {"criterion": name}

    def _of_tabulate_coalitions(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        yield layer, self._table(net, seed, layer), {}

    def _of_measure_curves(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        parts = {"model": self._network(net, seed).key, "layer": layer, "images": self._config["curves"]["images"]}
        for names, scores in self._orders(net, seed, layer):
            unit = Unit("measure_curves", {**parts, "scores": scores.key, "aggregate": names["aggregate"]})
            yield "/".join(map(str, names.values())), unit, {**names, "layer": layer, "units": self.layers(net)[layer]}

    def _of_search_oracle(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        parts = {"table": self._table(net, seed, layer).key}
        for names, scores in self._orders(net, seed, layer):
            unit = Unit("search_oracle", {**parts, "scores": scores.key, "aggregate": names["aggregate"]})
            yield "/".join(map(str, names.values())), unit, {**names, "layer": layer}
        exact = {"criterion": "exact Shapley", "aggregate": "mean", "trial": 0}
        yield "exact Shapley", Unit("search_oracle", parts), {**exact, "layer": layer}

    def _of_prune_layers(self, net: str, seed: int, criterion: str) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        for label, chain in self._chains(criterion):
            steps = self._chain(net, seed, criterion, *chain.values())
            last = steps[next(iter(steps))].key if steps else ""  # the first layer is pruned last
            parts = {"model": self._network(net, seed).key, **chain, "last step": last}
            yield label, Unit("prune_layers", parts), chain

    def _of_steps(self, net: str, seed: int, criterion: str) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        """The steps of the chains of a `prune_layers` job, labelled ``{chain}/{layer}``, from the first layer on."""
        for label, chain in self._chains(criterion):
            for layer, unit in self._chain(net, seed, criterion, *chain.values()).items():
                yield f"{label}/{layer}", unit, {"layer": layer}

    def _of_evaluate_pruned(self, net: str, seed: int) -> Iterator[tuple[str, Unit, dict[str, Any]]]:
        model = self._network(net, seed).key
        for criterion in self._config["low_data"]["criteria"]:
            for label, unit, chain in self._of_prune_layers(net, seed, criterion):
                parts = {"model": model, "chain": unit.key}
                yield f"{criterion}/{label}", Unit("evaluate_pruned", parts), {"criterion": criterion, **chain}

    # What several of them share.

    def _network(self, net: str, seed: int) -> Unit:
        network = self._networks[net]
        parts = {key: network[key] for key in ("architecture", "options", "train") if key in network}
        data, loaders = _data(network["data"], self._config["datasets"])
        parts |= {"seed": seed, "validation": self._config["splits"]["validation"], "data": data}
        if "weights" in network:
            parts["weights"] = _weights(network["weights"])
        own = (network["architecture"],) if ":" in network["architecture"] else ()
        return Unit("train_network", parts, (*own, *loaders))

    def _scores(self, net: str, seed: int, layer: str, criterion: str, trial: int) -> Unit:
        entry = self._criteria[criterion]
        others = sorted(set(entry["aggregates"]) - set(AGGREGATES))
        parts = {"model": self._network(net, seed).key, "layer": layer, **_criterion(entry), "trial": trial}
        parts |= {"images": self._config["scoring"]["images"], **self._rules, "errors of": others}
        rule = "score_layer" if lookup(entry["method"]).walks else "score_layers"
        return Unit(rule, parts, _functions(entry))

    def _orders(self, net: str, seed: int, layer: str) -> Iterator[tuple[dict[str, Any], Unit]]:
        """The removal orders of a layer that all criteria give."""
        for name, entry in self._criteria.items():
            for trial in range(entry["trials"]):
                for aggregate in entry["aggregates"]:
                    names = {"criterion": name, "aggregate": aggregate, "trial": trial}
                    yield names, self._scores(net, seed, layer, name, trial)

    def _table(self, net: str, seed: int, layer: str) -> Unit:
        images = self._config["oracle"]["images"]
        parts = {"model": self._network(net, seed).key, "layer": layer, "images": images, **self._rules}
        return Unit("tabulate_coalitions", parts)

    def _chains(self, criterion: str) -> Iterator[tuple[str, dict[str, Any]]]:
        low_data = self._config["low_data"]
        for aggregate in self._criteria[criterion]["aggregates"]:
            for ratio in low_data["ratios"]:
                for trial in range(low_data["trials"]):
                    label = f"{aggregate}/ratio{ratio}/trial{trial}"
                    yield label, {"aggregate": aggregate, "ratio": ratio, "trial": trial}

    def _chain(self, net: str, seed: int, criterion: str, aggregate: str, ratio: float, trial: int) -> dict[str, Unit]:
        """The steps of a chain by layer, in the order of the layers; each consumes the one after it."""
        low_data, entry = self._config["low_data"], self._criteria[criterion]
        before, steps = self._network(net, seed).key, {}
        parts = {**_criterion(entry), "aggregate": aggregate, "ratio": ratio, "trial": trial}
        parts |= {"images": low_data["images"], **self._rules}
        for layer in reversed([layer for layer in self.layers(net) if layer not in low_data["skip"]]):
            steps[layer] = Unit("prune_layers", {**parts, "layer": layer, "before": before}, _functions(entry))
            before = steps[layer].key
        return dict(reversed(steps.items()))


def _criterion(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": entry["method"], "options": options_of(entry)}


def _functions(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The functions of a criterion, and of the one that it is made of."""
    methods = [entry["method"], *filter(None, [entry.get("of")])]
    return tuple(lookup(method).function for method in methods)


@cache
def _pointer(path: Path) -> str | None:
    """The MD5 in a DVC pointer, if it is there; of one that names several files, those of all.

    Raises:
        ShapPruneError: it is not one.
    """
    try:
        first, *others = yaml.safe_load(path.read_text())["outs"]
        return ",".join(str(out["md5"]) for out in (first, *others))
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise ShapPruneError(f"{path} is not a DVC pointer ({error})") from error


def _data(name: str, datasets: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """What stands for the images of a data set, and the functions that load them.

    It is the known MD5 of a set that comes with the package; for one's own, the MD5 in the pointer ``data/{name}.dvc``
    where there is one, and the code of its function.
    """
    if name not in datasets:
        return KNOWN_MD5[name], ()
    return _pointer(Path("data") / f"{name}.dvc") or "", (datasets[name],)


@cache
def _digest_of(path: str) -> str:
    return _pointer(Path(f"{path}.dvc")) or checksum(Path(path), "sha256")


def _weights(weights: str | Mapping[str, str]) -> str:
    """What stands for the weights of a network that is not trained here."""
    return _digest_of(weights) if isinstance(weights, str) else weights["sha256"].lower()

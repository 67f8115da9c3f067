"""The tasks of a study, their keys, and which of them are in the store; known when the Snakefile is read.

Nothing here imports torch or reads images: what a data set holds is known by its MD5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from shapprune.criteria.catalog import AGGREGATES, lookup, options_of
from shapprune.networks.tables import builder_functions
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.store import Store
from shapprune.workflow.store.work import joint_key, score_label
from shapprune.workflow.study.compared import CONVERGED, OF_THE_TABLE, TRUTH, variants
from shapprune.workflow.study.inputs import data_of, weights_of
from shapprune.workflow.study.layers import layers_of

Tasks = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """A job whose results are kept.

    Attributes:
        rule: its rule.
        place: the folder below which every task has a manifest of its own, by its label; or the one manifest of them
            all, a ``.json``; None for tasks without any.
        tasks: label -> description.
        wildcards: which of its rule's jobs it is.
    """

    rule: str
    place: str | None
    tasks: Tasks
    wildcards: Mapping[str, Any]

    def manifests(self) -> dict[str, str]:
        """Its manifests and the keys they must have."""
        if self.place is None:
            return {}
        if self.place.endswith(".json"):
            return {self.place: joint_key(self.tasks)}
        return {f"{self.place}/{label}.json": task["key"] for label, task in self.tasks.items()}


class Plan:
    """The tasks of a study.

    Args:
        config: the configuration, as `shapprune.workflow.study.config.validate` returns it.

    Attributes:
        store: where their results are kept.
        untrained: the networks that are never trained, by name; none where that protocol is left out.
        rules: the configuration's site, payoff and precision, which every scoring goes by.
    """

    def __init__(self, config: Mapping[str, Any]):
        self._config, self.store = config, Store(config["store"])
        self._networks, self._criteria = config["networks"], config["criteria"]
        self.untrained = config["untrained"]["networks"] if config["untrained"]["criteria"] else {}
        self.rules = {key: config["scoring"][key] for key in ("site", "payoff", "precision")}
        # Each is asked for many times while the Snakefile is read and jobs are planned.
        for method in ("_described", "expected", "_network", "_scores", "_chain"):
            setattr(self, method, cache(getattr(self, method)))

    def of(self, rule: str, **wildcards: Any) -> Tasks:
        """The tasks of a job, label -> description, with the names that its files give them."""
        return self._described(rule, **{**wildcards, "seed": int(wildcards["seed"])})

    def _described(self, rule: str, **place: Any) -> Tasks:
        tasks = getattr(self, f"_of_{rule}")(**place)
        names = {name: value for name, value in place.items() if name != "layer"}
        return {label: {**task.describe(), "names": {**names, **own}} for label, task, own in tasks}

    def found(self, rule: str, **wildcards: Any) -> tuple[int, int]:
        """How many tasks of a job are in the store, and how many there are."""
        tasks = self.of(rule, **wildcards)
        return sum(self.store.has(task["key"]) for task in tasks.values()), len(tasks)

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
                    if self.tabulates(units):
                        yield self._job("tabulate_coalitions", f"{folder}/oracle", **run, layer=layer)
                        yield self._job("search_oracle", f"{folder}/oracle/overlaps/{layer}.json", **run, layer=layer)
                    if self.compares(units):
                        yield self._job("study_estimators", f"{folder}/estimators/{layer}.json", **run, layer=layer)
                for criterion in self._config["low_data"]["criteria"]:
                    yield self._job("steps", None, **run, criterion=criterion)
                    yield self._job("prune_layers", f"{folder}/pruned/{criterion}", **run, criterion=criterion)
                yield self._job("evaluate_pruned", f"{folder}/low_data.json", **run)
                for criterion in self._config["fine_tune"]["criteria"]:
                    place = f"{folder}/fine_tuned/{criterion}.json"
                    yield self._job("fine_tune_pruned", place, **run, criterion=criterion)
                if self.sizes(net):
                    for criterion in self._config["compress"]["criteria"]:
                        place = f"{folder}/compressed/{criterion}"
                        yield self._job("compress_network", place, **run, criterion=criterion)
        for net, network in self.untrained.items():
            for seed in network["seeds"]:
                yield self._job("prune_untrained", f"results/{net}/seed{seed}/untrained.json", net=net, seed=seed)

    def _job(self, rule: str, place: str | None, **wildcards: Any) -> Job:
        return Job(rule, place, self.of(rule, **wildcards), wildcards)

    def restorable(self) -> Iterator[Job]:
        """The jobs of which the store has everything, and also of those that they consume: they compute nothing."""
        whole: dict[str, bool] = {}  # key -> whether that holds for the jobs that make it
        for job in self.jobs():
            if job.place is None or not job.tasks:
                continue
            tasks = job.tasks.values()
            there = all(self.store.has(task["key"]) for task in tasks)
            there = there and all(whole.get(text, True) for task in tasks for text in _texts(task["parts"]))
            whole |= {task["key"]: whole.get(task["key"], True) and there for task in tasks}
            if there:
                yield job

    def expected(self) -> dict[str, str]:
        """The manifests of all results and the keys they must have."""
        return {path: key for job in self.jobs() for path, key in job.manifests().items()}

    def keys(self) -> set[str]:
        """The keys of all tasks."""
        return {task["key"] for job in self.jobs() for task in job.tasks.values()}

    def layers(self, net: str) -> dict[str, int]:
        """The layers of a network that are studied, and their units."""
        return layers_of({**self.untrained, **self._networks}[net], self._config)

    def sizes(self, net: str) -> dict[str, dict[str, Any]]:
        """The sizes that a network is compressed to."""
        sizes = self._config["compress"]["sizes"]
        return {name: size for name, size in sizes.items() if net in size.get("networks", [net])}

    def tabulates(self, units: int) -> bool:
        """Whether all coalitions of a layer with so many units are valued; of a single one nothing is to be chosen."""
        return 1 < units <= self._config["oracle"]["max_units"]

    def compares(self, units: int) -> bool:
        """Whether estimators are compared with the truth in a layer with so many units."""
        asked = self._config["estimators"]
        return bool(asked["compared"]) and 1 < units <= asked["max_units"]

    # The jobs: label, task and what its files say of it beside the job's own names.

    def _of_train_network(self, net: str, seed: int) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        yield "model", self._network(net, seed), {"network": self._networks[net]}

    def _of_score_layers(self, net: str, seed: int) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        for layer in self.layers(net):
            yield from self._of_scores(net, seed, layer, walks=False)

    def _of_score_layer(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        yield from self._of_scores(net, seed, layer, walks=True)

    def _of_scores(self, net: str, seed: int, layer: str, walks: bool) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        for name, entry in self._criteria.items():
            if lookup(entry["method"]).walks == walks:
                for trial in range(entry["trials"]):
                    task = self._scores(net, seed, layer, name, trial)
                    yield score_label(name, layer, trial), task, {"criterion": name}

    def _of_tabulate_coalitions(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        yield layer, self._table(net, seed, layer), {}

    def _of_measure_curves(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        parts = {"model": self._network(net, seed).key, "layer": layer, "images": self._config["curves"]["images"]}
        for names, scores in self._orders(net, seed, layer):
            task = Task("measure_curves", {**parts, "scores": scores.key, "aggregate": names["aggregate"]})
            yield "/".join(map(str, names.values())), task, {**names, "layer": layer, "units": self.layers(net)[layer]}

    def _of_search_oracle(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        parts = {"table": self._table(net, seed, layer).key}
        for names, scores in self._orders(net, seed, layer):
            task = Task("search_oracle", {**parts, "scores": scores.key, "aggregate": names["aggregate"]})
            yield "/".join(map(str, names.values())), task, {**names, "layer": layer}
        # What the table itself gives has no key part but the table and its name.
        for name in OF_THE_TABLE:
            task = Task("search_oracle", {**parts, "of the table": name})
            yield name, task, {"criterion": name, "aggregate": "mean", "trial": 0, "layer": layer}

    def _of_study_estimators(self, net: str, seed: int, layer: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        asked, units = self._config["estimators"], self.layers(net)[layer]
        name, truth = self._truth(net, seed, layer)
        model = {"model": truth.parts["model"]}
        names = {"layer": layer, "units": units, "truth": name}
        yield TRUTH, truth, {**names, "estimator": name, "setting": ""}
        for estimator, entry in asked["compared"].items():
            repetitions = asked["repetitions"] if lookup(entry["method"]).random else 1
            compared = {**model, "truth": truth.key, "repetitions": repetitions}
            for variant in variants(estimator, entry):
                task = Task("study_estimators", {**compared, **_criterion(variant.entry)}, _functions(variant.entry))
                told = {**names, "estimator": estimator, "setting": variant.setting}
                yield f"{estimator}/{variant.setting}", task, told

    def _of_prune_layers(self, net: str, seed: int, criterion: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        for label, chain in self._chains(criterion):
            steps = self._chain(net, seed, criterion, *chain.values())
            last = steps[next(iter(steps))].key if steps else ""  # the first layer is pruned last
            parts = {"model": self._network(net, seed).key, **chain, "last step": last}
            yield label, Task("prune_layers", parts), chain

    def _of_steps(self, net: str, seed: int, criterion: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        """The steps of the chains of a `prune_layers` job, labelled ``{chain}/{layer}``, from the first layer on."""
        for label, chain in self._chains(criterion):
            for layer, task in self._chain(net, seed, criterion, *chain.values()).items():
                yield f"{label}/{layer}", task, {"layer": layer}

    def _of_evaluate_pruned(self, net: str, seed: int) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        shared = {"model": self._network(net, seed).key, "test_images": self._config["low_data"]["test_images"]}
        for criterion in self._config["low_data"]["criteria"]:
            for label, task, chain in self._of_prune_layers(net, seed, criterion):
                parts = {**shared, "chain": task.key}
                yield f"{criterion}/{label}", Task("evaluate_pruned", parts), {"criterion": criterion, **chain}

    def _of_fine_tune_pruned(self, net: str, seed: int, criterion: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        asked = self._config["fine_tune"]
        parts = {"model": self._network(net, seed).key, "train": asked["train"]}
        parts["test_images"] = self._config["low_data"]["test_images"]
        for label, task, chain in self._of_prune_layers(net, seed, criterion):
            if chain["repair"] == "none" and chain["ratio"] in asked["ratios"] and chain["trial"] < asked["trials"]:
                for images in asked["images"]:
                    tuned = Task("fine_tune_pruned", {**parts, "chain": task.key, "images": images})
                    yield f"{criterion}/{label}/images{images}", tuned, {**chain, "images": images}

    def _of_compress_network(self, net: str, seed: int, criterion: str) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        parts = {"model": self._network(net, seed).key, "train": self._config["compress"]["train"]}
        parts["scores"] = {layer: self._scores(net, seed, layer, criterion, 0).key for layer in self.layers(net)}
        for aggregate in self._criteria[criterion]["aggregates"]:
            for name, size in self.sizes(net).items():
                to = {key: value for key, value in size.items() if key != "networks"}
                task = Task("compress_network", {**parts, "aggregate": aggregate, "to": to})
                yield f"{aggregate}/{name}", task, {"aggregate": aggregate, "target": name}

    def _of_prune_untrained(self, net: str, seed: int) -> Iterator[tuple[str, Task, dict[str, Any]]]:
        """The steps of each criterion, labelled ``{criterion}/{layer}``, from the first that is done."""
        asked = self._config["untrained"]
        start = {"network": self._start(self.untrained[net]), "seed": seed, "images": asked["images"], **self.rules}
        for criterion in asked["criteria"]:
            entry, before = self._criteria[criterion], ""
            for layer in reversed(self.layers(net)):
                parts = {**start, **_criterion(entry), "layer": layer, "before": before}
                functions = (*_functions(entry), *self._network_functions(self.untrained[net]))
                task = Task("prune_untrained", parts, functions)
                before = task.key
                yield f"{criterion}/{layer}", task, {"criterion": criterion, "aggregate": "mean"}

    # What several of them share.

    def _start(self, network: Mapping[str, Any]) -> dict[str, Any]:
        """What the initial weights of a network, and its data, depend on beside the seed."""
        parts = {key: network[key] for key in ("architecture", "options")}
        return parts | {"data": data_of(network["data"], self._config["datasets"])[0]}

    def _network_functions(self, network: Mapping[str, Any]) -> tuple[str, ...]:
        """The functions that build a network, and the user's own that loads its data."""
        return (*builder_functions(network["architecture"]), *data_of(network["data"], self._config["datasets"])[1])

    def _network(self, net: str, seed: int) -> Task:
        network = self._networks[net]
        parts = {**self._start(network), "seed": seed, "validation": self._config["splits"]["validation"]}
        if "train" in network:
            parts["train"] = network["train"]
        if "weights" in network:
            parts["weights"] = weights_of(network["weights"])
        return Task("train_network", parts, self._network_functions(network))

    def _scores(self, net: str, seed: int, layer: str, criterion: str, trial: int) -> Task:
        entry = self._criteria[criterion]
        others = sorted(set(entry["aggregates"]) - set(AGGREGATES))
        parts = {"model": self._network(net, seed).key, "layer": layer, **_criterion(entry), "trial": trial}
        parts |= {"images": self._config["scoring"]["images"], **self.rules, "errors of": others}
        rule = "score_layer" if lookup(entry["method"]).walks else "score_layers"
        return Task(rule, parts, _functions(entry))

    def _orders(self, net: str, seed: int, layer: str) -> Iterator[tuple[dict[str, Any], Task]]:
        """The removal orders of a layer that all criteria give."""
        for name, entry in self._criteria.items():
            for trial in range(entry["trials"]):
                for aggregate in entry["aggregates"]:
                    names = {"criterion": name, "aggregate": aggregate, "trial": trial}
                    yield names, self._scores(net, seed, layer, name, trial)

    def _table(self, net: str, seed: int, layer: str) -> Task:
        images = self._config["oracle"]["images"]
        parts = {"model": self._network(net, seed).key, "layer": layer, "images": images, **self.rules}
        return Task("tabulate_coalitions", parts)

    def _truth(self, net: str, seed: int, layer: str) -> tuple[str, Task]:
        """What estimators are compared with in a layer: the exact values, or those of many orders."""
        parts = {"model": self._network(net, seed).key, "curve images": self._config["curves"]["images"]}
        if self.tabulates(self.layers(net)[layer]):
            table = self._table(net, seed, layer).key
            return "exact Shapley", Task("study_estimators", {**parts, "table": table})
        images, orders = self._config["oracle"]["images"], self._config["estimators"]["converged"]
        parts |= {"layer": layer, "images": images, "orders": orders, **self.rules}
        return "converged Shapley", Task("study_estimators", parts, _functions({"method": CONVERGED}))

    def _chains(self, criterion: str) -> Iterator[tuple[str, dict[str, Any]]]:
        low_data = self._config["low_data"]
        for aggregate in self._criteria[criterion]["aggregates"]:
            for ratio in low_data["ratios"]:
                for repair in low_data["repair"]:
                    for trial in range(low_data["trials"]):
                        chain = {"aggregate": aggregate, "ratio": ratio, "repair": repair, "trial": trial}
                        yield f"{aggregate}/ratio{ratio}/{repair}/trial{trial}", chain

    def _chain(
        self, net: str, seed: int, criterion: str, aggregate: str, ratio: float, repair: str, trial: int
    ) -> dict[str, Task]:
        """The steps of a chain by layer, in the order of the layers; each consumes the one after it."""
        low_data, entry = self._config["low_data"], self._criteria[criterion]
        before, steps = self._network(net, seed).key, {}
        parts = {**_criterion(entry), "aggregate": aggregate, "ratio": ratio, "repair": repair, "trial": trial}
        parts |= {"images": low_data["images"], **self.rules}
        for layer in reversed([layer for layer in self.layers(net) if layer not in low_data["skip"]]):
            steps[layer] = Task("prune_layers", {**parts, "layer": layer, "before": before}, _functions(entry))
            before = steps[layer].key
        return dict(reversed(steps.items()))


def _texts(parts: Mapping[str, Any]) -> Iterator[str]:
    """The texts in nested mappings; the keys of what is consumed are among them."""
    for value in parts.values():
        if isinstance(value, Mapping):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value


def _criterion(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": entry["method"], "options": options_of(entry)}


def _functions(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The functions of a criterion, and of the one that it is made of."""
    methods = [entry["method"], *filter(None, [entry.get("of")])]
    return tuple(lookup(method).function for method in methods)

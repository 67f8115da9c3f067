"""The tasks of a study, their keys, and which of them are in the store; known when the Snakefile is read.

Nothing here imports torch or reads images: what a data set holds is known by its MD5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shapprune.workflow.stages.layers import layers_of, removable
from shapprune.workflow.stages.registry import STAGES
from shapprune.workflow.stages.stage import Place, Planned, Settings, Stage, fill
from shapprune.workflow.store.store import Store
from shapprune.workflow.store.work import joint_key


@dataclass(frozen=True)
class Job:
    """A job whose results are kept.

    Attributes:
        stage: its stage.
        wildcards: which of its stage's jobs it is.
        tasks: its tasks by label.
    """

    stage: Stage
    wildcards: Place
    tasks: Mapping[str, Planned]

    @property
    def rule(self) -> str:
        """Its rule."""
        return self.stage.rule

    @property
    def table_manifest(self) -> str | None:
        """The one manifest of all its tasks, where they make a table."""
        place = self.stage.place
        return fill(place, self.wildcards) if place is not None and place.endswith(".json") else None

    def descriptions(self) -> dict[str, dict[str, Any]]:
        """Its tasks as the job gets them, by label."""
        return {label: task.description for label, task in self.tasks.items()}

    def manifests(self) -> dict[str, str]:
        """Its manifests and the keys that they must have."""
        if self.table_manifest:
            return {self.table_manifest: joint_key(self.descriptions())}
        return {f"{each.stem}.json": each.task.key for each in self.tasks.values() if each.stem is not None}

    def results(self, output: str | None = None) -> list[str]:
        """The files and folders that it makes: those of one output of its rule, or all."""
        return self.stage.paths(self.wildcards, output)

    def consumed(self) -> list[str]:
        """The files and folders of other jobs that its tasks consume."""
        outputs = [each.output for task in self.tasks.values() for each in task.consumed() if each.output is not None]
        return list(dict.fromkeys(outputs))


class Plan:
    """The tasks of a study.

    Args:
        config: the configuration, as `shapprune.workflow.study.config.validate` returns it.

    Attributes:
        config: the configuration.
        store: where results are kept.
        networks: the trained networks, by name.
        untrained: the networks that are never trained, by name; none where that protocol is left out.
        stages: the stages by their rules.
    """

    def __init__(self, config: Settings):
        self.config, self.store = config, Store(config["store"])
        self.networks: Mapping[str, Settings] = config["networks"]
        self.untrained: Mapping[str, Settings] = (
            config["untrained"]["networks"] if config["untrained"]["criteria"] else {}
        )
        self.stages = {stage.rule: stage(self) for stage in STAGES}
        self._layers: dict[str, dict[str, int]] = {}
        self._planned: dict[tuple[Any, ...], dict[str, Planned]] = {}

    def layers(self, net: str) -> dict[str, int]:
        """The layers of a network that are studied, from input to output, and their units."""
        if net not in self._layers:
            self._layers[net] = layers_of({**self.untrained, **self.networks}[net], self.config)
        return self._layers[net]

    def removable(self, net: str) -> dict[str, int]:
        """Those of the studied layers of a network that can lose units, and these."""
        layers = self.layers(net)
        return {layer: layers[layer] for layer in removable(layers)}

    def tasks(self, rule: str, at: Place) -> Mapping[str, Planned]:
        """The tasks of a job by label; of ``at`` the wildcards of the rule count."""
        stage = self.stages[rule]
        wildcards = {name: int(at[name]) if name == "seed" else at[name] for name in stage.wildcards}
        which = (rule, *wildcards.values())
        if which not in self._planned:  # asked for many times while the Snakefile is read and jobs are planned
            self._planned[which] = {task.label: task for task in stage.tasks(wildcards)}
        return self._planned[which]

    def task(self, rule: str, label: str, at: Place) -> Planned:
        """One task of a job."""
        return self.tasks(rule, at)[label]

    def job(self, rule: str, at: Place) -> Job:
        """The job of a rule with these wildcards."""
        return Job(self.stages[rule], at, self.tasks(rule, at))

    def found(self, rule: str, at: Place) -> tuple[int, int]:
        """How many tasks of a job are in the store, and how many there are."""
        tasks = self.tasks(rule, at).values()
        return sum(self.store.has(each.task.key) for each in tasks), len(tasks)

    def jobs(self, *rules: str) -> Iterator[Job]:
        """All jobs whose results are kept, or those of some rules; each after those that it consumes."""
        for rule, stage in self.stages.items():
            if not rules or rule in rules:
                yield from (self.job(rule, at) for at in stage.jobs())

    def results(self, rule: str, output: str | None = None) -> list[str]:
        """The files and folders that all jobs of a rule make: those of one output, or all."""
        return [path for job in self.jobs(rule) for path in job.results(output)]

    def made_for(self, table: str) -> list[str]:
        """The results that a table of the study is made of."""
        return [
            path
            for rule, stage in self.stages.items()
            for each in stage.tables
            if each.name == table
            for path in self.results(rule, each.output)
        ]

    def logged(self) -> dict[str, list[str]]:
        """Kind of run that a tracker logs -> the manifests of the results that it is made of."""
        manifests: dict[str, list[str]] = {}
        for job in self.jobs():
            if job.stage.logged is not None:
                manifests.setdefault(job.stage.logged, []).extend(job.manifests())
        return manifests

    def restorable(self) -> Iterator[Job]:
        """The jobs of which the store has everything, and also of those that they consume: they compute nothing."""
        whole: dict[str, bool] = {}  # key -> whether that holds for the jobs that make it
        for job in self.jobs():
            if job.stage.place is None or not job.tasks:
                continue
            tasks = job.tasks.values()
            there = all(self.store.has(each.task.key) for each in tasks)
            there = there and all(whole.get(one.task.key, True) for each in tasks for one in each.consumed())
            whole |= {each.task.key: whole.get(each.task.key, True) and there for each in tasks}
            if there:
                yield job

    @cached_property
    def expected(self) -> dict[str, str]:
        """The manifests of all results and the keys that they must have."""
        return {path: key for job in self.jobs() for path, key in job.manifests().items()}

    def keys(self) -> set[str]:
        """The keys of all tasks."""
        return {each.task.key for job in self.jobs() for each in job.tasks.values()}

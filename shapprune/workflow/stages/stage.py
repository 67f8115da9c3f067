"""What a stage of a study declares, and the tasks that it has.

A stage is a module in this room, which says what there is to do, and one in `shapprune.workflow.computing`, which does
it. The first is read when the Snakefile is, so it imports no torch. It counts in no key: what it decides is in the
other parts of a task's key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from shapprune.criteria.catalog import lookup, options_of
from shapprune.workflow.store.keys import Task

if TYPE_CHECKING:
    from shapprune.workflow.study.plan import Plan

RUN = "results/{net}/seed{seed}"
# What stands in file names for the ':' of layers such as attn:queries, as many tools take that for a host or a drive.
_COLON = "+"

Place = Mapping[str, Any]  # the wildcards of a job, by name
Settings = Mapping[str, Any]  # what the configuration says of one network or criterion


@dataclass(frozen=True)
class Planned:
    """A task of a study.

    Attributes:
        label: its name within the job.
        task: what is done.
        names: what tables and manifests say of the task that is not in its key, such as the name of its criterion.
        stem: its files without their endings, which follow it; None where it has none.
        output: the output of its rule that has these files: one of them, or their folder.
        consumes: part of the key -> the task whose key that is; or a mapping of names to such tasks.
    """

    label: str
    task: Task
    names: Mapping[str, Any]
    stem: str | None = None
    output: str | None = None
    consumes: Mapping[str, Planned | Mapping[str, Planned]] = field(default_factory=dict)

    @cached_property
    def description(self) -> dict[str, Any]:
        """The task as its job gets it (`shapprune.workflow.store.work.Work`)."""
        consumes = {part: _each(consumed, lambda one: one.stem) for part, consumed in self.consumes.items()}
        return {**self.task.describe(), "names": dict(self.names), "stem": self.stem, "consumes": consumes}

    def consumed(self) -> Iterator[Planned]:
        """All tasks that it consumes."""
        for consumed in self.consumes.values():
            yield from [consumed] if isinstance(consumed, Planned) else consumed.values()


@dataclass(frozen=True)
class Table:
    """A table of the study, ``results/tables/{name}.csv``.

    Attributes:
        name: its name.
        columns: its columns; docs/tables.md describes them.
        output: the output of the stage's jobs that it is made of.
        kind: how it is made of them (`shapprune.workflow.computing.collect.MAKERS`).
        title: what the report calls it; empty where the report does not offer it.
    """

    name: str
    columns: tuple[str, ...]
    output: str = "table"
    kind: str = "rows"
    title: str = ""


class Stage(ABC):
    """A stage of a study. `shapprune.workflow.stages.registry` lists them.

    Attributes:
        rule: its rule, and its script where that has no other name.
        section: its section of the configuration.
        script: the script that makes its results, where that is another stage's.
        wildcards: those of its rule.
        outputs: the patterns of its rule's outputs, by name.
        place: the folder that its tasks have files in, by their labels; or the manifest ``.json`` of its jobs, where
            all tasks of a job make one table; None for tasks that leave nothing in ``results``.
        columns: of the table that a job writes, its output ``table``.
        tables: the study's tables that are made of its results.
        gpu: whether its jobs run networks.
        optional: whether the section belongs to the networks and criteria of one study, so that a study that is laid
            over another one and has its own of these does not take it over.
        logged: the kind of run that a tracker logs for its results (`shapprune.workflow.share.runs`), if any.
    """

    rule: ClassVar[str]
    section: ClassVar[str]
    script: ClassVar[str] = ""
    wildcards: ClassVar[tuple[str, ...]] = ("net", "seed")
    outputs: Mapping[str, str | list[str]]
    place: ClassVar[str | None] = None
    columns: ClassVar[tuple[str, ...]] = ()
    tables: ClassVar[tuple[Table, ...]] = ()
    gpu: ClassVar[bool] = True
    optional: ClassVar[bool] = False
    logged: ClassVar[str | None] = None

    def __init__(self, study: Plan) -> None:
        self.study, self.config = study, study.config

    @abstractmethod
    def tasks(self, at: Place) -> Iterator[Planned]:
        """The tasks of a job."""

    def jobs(self) -> Iterator[dict[str, Any]]:
        """The wildcards of all its jobs: by default one or more a trained network and seed."""
        for net, network in self.study.networks.items():
            for seed in network["seeds"]:
                for more in self.places(net):
                    yield {"net": net, "seed": seed, **more}

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """The wildcards beside net and seed of its jobs for a network: by default there is one job, without any."""
        yield {}

    def given(self) -> Mapping[str, Callable[[Place], Any]]:
        """What its jobs are given beside their tasks, as functions of a job's wildcards; all of it is in keys."""
        return {}

    @property
    def benchmark(self) -> str:
        """The pattern of the files in which Snakemake says how long its jobs took."""
        return _of_job(f"results/benchmarks/{self.rule}", self.wildcards, ".tsv")

    @property
    def unfinished(self) -> str:
        """The pattern of the files, or folders, from which jobs that were cut off go on.

        They are no outputs, because Snakemake deletes the outputs of a job that was cut off.
        """
        return "-".join([f"{RUN}/unfinished-{self.rule}", *(f"{{{name}}}" for name in self.wildcards[2:])])

    def task(
        self,
        at: Place,
        label: str,
        parts: Mapping[str, Any],
        *,
        consumes: Mapping[str, Planned | Mapping[str, Planned]] | None = None,
        names: Mapping[str, Any] | None = None,
        functions: tuple[str, ...] = (),
        shown: bool = True,
    ) -> Planned:
        """A task of a job.

        Args:
            at: the wildcards of the job.
            label: its name within the job.
            parts: the values that its result depends on.
            consumes: the tasks that it consumes; their keys become parts.
            names: what tables and manifests say of it beside the wildcards of the job.
            functions: entry points of its code beside the script.
            shown: whether it has files in ``results``, if the stage's tasks have; the store has its result anyway.
        """
        consumes = consumes or {}
        keys = {part: _each(consumed, lambda one: one.task.key) for part, consumed in consumes.items()}
        wildcards = {name: at[name] for name in self.wildcards}
        task = Task(self.script or self.rule, {**keys, **parts}, functions)
        stem = output = None
        if shown and self.place is not None and not self.place.endswith(".json"):
            stem = f"{fill(self.place, wildcards)}/{label.replace(':', _COLON)}"
            output = next(path for path in self.paths(wildcards) if _has(path, stem))
        return Planned(label, task, {**wildcards, **(names or {})}, stem, output, consumes)

    def paths(self, at: Place, output: str | None = None) -> list[str]:
        """The files and folders that a job makes: those of one output of its rule, or all."""
        outputs = self.outputs if output is None else {output: self.outputs[output]}
        patterns = [each if isinstance(each, list) else [each] for each in outputs.values()]
        return [fill(pattern, at) for some in patterns for pattern in some]

    def network(self, at: Place) -> Planned:
        """The trained network of a job."""
        return self.study.task("train_network", "model", at)


def fill(pattern: str, at: Place) -> str:
    """A path with the wildcards of a job filled in.

    Examples:
        >>> from shapprune.workflow.stages.stage import fill
        >>> fill("curves/{layer}.csv", {"layer": "block.attn:queries"})
        'curves/block.attn+queries.csv'
    """
    return pattern.format(**at).replace(":", _COLON)


def read_wildcards(found: Mapping[str, str]) -> dict[str, str]:
    """The wildcards of a job from those that Snakemake has found in its paths, as `fill` writes them.

    Examples:
        >>> from shapprune.workflow.stages.stage import read_wildcards
        >>> read_wildcards({"net": "vit", "layer": "block.attn+queries"})
        {'net': 'vit', 'layer': 'block.attn:queries'}
    """
    return {name: value.replace(_COLON, ":") for name, value in found.items()}


def _each(consumed: Planned | Mapping[str, Planned], value: Callable[[Planned], Any]) -> Any:
    """A value of a consumed task, or of each of several."""
    if isinstance(consumed, Planned):
        return value(consumed)
    return {name: value(one) for name, one in consumed.items()}


def _has(output: str, stem: str) -> bool:
    """Whether files with this stem are an output, or in one that is a folder."""
    return output.startswith(f"{stem}.") or stem.startswith(f"{output}/")


def _of_job(folder: str, wildcards: tuple[str, ...], ending: str) -> str:
    net, seed, *more = wildcards
    return "/".join([folder, f"{{{net}}}", f"seed{{{seed}}}", *(f"{{{name}}}" for name in more)]) + ending


def game_options(config: Settings) -> dict[str, str]:
    """The options that every `LayerGame` of a study has: site, payoff and precision."""
    return {name: config["scoring"][name] for name in ("site", "payoff", "precision")}


def method_of(settings: Settings) -> dict[str, Any]:
    """The method and options of a criterion, as parts of a key."""
    return {"method": settings["method"], "options": options_of(settings)}


def functions_of(settings: Settings) -> tuple[str, ...]:
    """The functions of a criterion, and of the one that it is made of."""
    methods = [settings["method"], *filter(None, [settings.get("of")])]
    return tuple(lookup(method).function for method in methods)

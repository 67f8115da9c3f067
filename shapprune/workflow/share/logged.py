"""What there is to log of a finished study, from its manifests and tables, run by run.

A study is a parent with a child for each network, scoring, coalition table and criterion, for each network that was
compressed, fits a budget, was then trained on, was quantised, or was never trained, and for each method whose units
were trained on or probed. Nothing here knows of a tracker, or imports torch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from shapprune.core.files import read_json
from shapprune.workflow.share.logged_run import LoggedRun, Point, read_rows
from shapprune.workflow.share.runs import OF_A_RESULT, OF_A_TABLE, criterion_runs, network_run
from shapprune.workflow.store.store import Store
from shapprune.workflow.study import config as study


def collect(
    config: Mapping[str, Any],
    manifests: Mapping[str, Sequence[str]],
    tables: Path,
    benchmarks: Path,
    headline: Iterable[tuple[str, float]],
) -> list[LoggedRun]:
    """What there is to log of a finished study, the study itself first.

    Args:
        config: the configuration as it was used.
        manifests: kind of run -> the manifests of the results that such runs tell of
            (`shapprune.workflow.study.plan.Plan.logged`).
        tables: the folder of the study's tables.
        benchmarks: the folder of Snakemake's benchmarks, a file a job.
        headline: metrics of the study's own run (`shapprune.workflow.share.headlines.points`).

    Raises:
        ShapPruneError: a manifest is missing or damaged.
    """
    store = Store(config["store"])
    facts = {kind: {Path(path): read_json(path) for path in paths} for kind, paths in manifests.items()}
    networks, scores, measured = (facts.get(kind, {}) for kind in ("network", "scores", "criterion"))
    runs = [network_run(path, manifest, tables, store) for path, manifest in networks.items()]
    for kind, each in facts.items():
        for path, manifest in each.items():
            if kind in OF_A_RESULT:
                runs.append(OF_A_RESULT[kind](path, manifest, store))
            elif kind in OF_A_TABLE:
                runs += OF_A_TABLE[kind](config, path, manifest)
        if kind == "criterion":
            runs += criterion_runs(config, networks, scores, measured, tables)
    data = {manifest["data"]["name"]: manifest["data"] for manifest in networks.values()}
    finished, seconds = _worked(benchmarks)
    metrics = [*((metric, value, 0) for metric, value in headline), ("seconds", seconds, 0), *_means(runs)]
    name, key = config["study"], study.digest(config)
    return [
        LoggedRun(*("study", f"{name} {key}", key, finished, config, metrics), seconds=seconds, data=[*data.values()]),
        *runs,
    ]


def _means(runs: Iterable[LoggedRun]) -> list[Point]:
    """What studies are compared by, means over the seeds."""
    values = defaultdict(list)
    for run in runs:
        order = [run.params[name] for name in ("net", "criterion", "aggregate") if name in run.params]
        for name, value, _ in run.metrics:
            if name in ("test_accuracy", "auc_loss", "auc_accuracy"):
                values["/".join([name, *order])].append(value)
    return [(name, fmean(each), 0) for name, each in values.items()]


def _worked(benchmarks: Path) -> tuple[float, float]:
    """When the last job ended, and for how many seconds at least one was at work.

    Jobs at the same time count once and pauses do not count. A job that restored its results counts for as long as that
    took.
    """
    spans = []
    for path in benchmarks.rglob("*.tsv"):
        (row,) = read_rows(path, delimiter="\t")
        end = path.stat().st_mtime  # written when the job ends
        spans.append((end - float(row["s"]), end))
    seconds, finished = 0.0, 0.0
    for start, end in sorted(spans):
        seconds += max(0.0, end - max(start, finished))
        finished = max(finished, end)
    return finished or time.time(), seconds

"""The headline of a study: for each network what was asked, which criterion did best, and how well.

It is computed here, from the study's tables, for the report's first page, the terminal, MLflow and DVC;
`shapprune.workflow.share.wording` puts it in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from shapprune.core.files import read_json
from shapprune.workflow.figures.styles import quantised_label

_DIGITS = 4
_CRITERION = ["criterion", "aggregate"]
COLUMNS = (
    *("net", "protocol", "setting", "criterion", "aggregate", "repair", "measure", "value", "deviation", "runs"),
    *("next_criterion", "next_aggregate", "next_repair", "next_value", "parameters", "macs", "seconds"),
    *("intact_accuracy", "intact_parameters", "intact_macs"),
)


@dataclass(frozen=True)
class Protocol:
    """What a study asks about its networks.

    Attributes:
        table: the table that has the answers.
        final: chooses the rows of the table that count, such as those of the last step.
        settings: columns whose every combination is a question of its own.
        measure: the column that says how well a criterion did.
    """

    table: str
    final: Callable[[pd.DataFrame], pd.DataFrame]
    settings: tuple[str, ...] = ()
    measure: str = "accuracy"


def _last_step(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["step"] == table.groupby("net")["step"].transform("max")]


def _most_images(table: pd.DataFrame) -> pd.DataFrame:
    amounts = table["images"].astype(str).replace("all", "inf").astype(float)
    return table[amounts == amounts.max()]


def _by_method(table: pd.DataFrame) -> pd.DataFrame:
    """What is compared are methods; a method has no aggregate."""
    return table.assign(criterion=table["method"], aggregate="")


def _largest_share(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["share"] == table["share"].max()]


def _fewest_bits(table: pd.DataFrame) -> pd.DataFrame:
    """What is compared are methods with each of their betas."""
    fewest = table[table["bits"] == table["bits"].min()]
    names = [quantised_label(*each) for each in zip(fewest["method"], fewest["beta"], strict=True)]
    return fewest.assign(criterion=names, aggregate="")


PROTOCOLS = (
    Protocol("auc", lambda table: table[table["layer"] == "all"], measure="auc_loss"),
    Protocol("low_data", _last_step, ("ratio",)),
    Protocol("fine_tune", _most_images, ("ratio", "images")),
    Protocol("compress", lambda table: table, ("target",)),
    Protocol("budgets", _by_method, ("measure", "budget", "images")),
    Protocol("retrained", _by_method, ("measure", "budget", "images")),
    Protocol("deactivated", _largest_share, ("share",)),
    Protocol("quantised", _fewest_bits, ("bits",)),
    Protocol("untrained", _last_step),
)


def headline(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a network, protocol and setting: the best criterion, its mean and deviation over seeds and trials.

    The best has the highest accuracy, or the smallest area under the loss curve.

    Args:
        tables: the study's tables ``networks`` and ``timing`` and those of the protocols, by name; and, as ``pruned``,
            what `pruned` returns.

    Returns:
        A table with `COLUMNS`; docs/tables.md describes them.
    """
    rows = [row for protocol in PROTOCOLS for row in _answers(protocol, tables)]
    order = {net: place for place, net in enumerate(dict.fromkeys(row["net"] for row in rows))}
    return pd.DataFrame(sorted(rows, key=lambda row: order[row["net"]]), columns=list(COLUMNS))


def _answers(protocol: Protocol, tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    table = tables[protocol.table]
    if table.empty:
        return
    for (net, *setting), rows in protocol.final(table).groupby(["net", *protocol.settings], sort=False):
        runs = rows.assign(repair=rows.get("repair", "none")).groupby([*_CRITERION, "repair"], sort=False)
        means = runs[protocol.measure].mean().dropna()
        if means.empty:
            continue
        ranking = means.sort_values(ascending=protocol.measure != "accuracy", kind="stable")
        best = runs.get_group(ranking.index[0])
        yield {
            "net": net,
            "protocol": protocol.table,
            "setting": " ".join(f"{name}={value}" for name, value in zip(protocol.settings, setting, strict=True)),
            **dict(zip([*_CRITERION, "repair"], ranking.index[0], strict=True)),
            "measure": protocol.measure,
            "value": ranking.iloc[0],
            "deviation": best[protocol.measure].std(),
            "runs": len(best),
            **_next_best(ranking),
            **{size: best[size].mean() for size in ("parameters", "macs") if size in best},
            "seconds": _scoring_seconds(protocol, best, tables),
            **_intact(net, tables),
        }


def _next_best(ranking: pd.Series) -> dict[str, Any]:
    """The best of the other criteria; repairs and aggregates of the best one do not count."""
    criteria = ranking.index.get_level_values("criterion")
    others = ranking[criteria != criteria[0]]
    if others.empty:
        return {}
    names = dict(zip(["next_criterion", "next_aggregate", "next_repair"], others.index[0], strict=True))
    return names | {"next_value": others.iloc[0]}


def _intact(net: Any, tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """The network before anything was removed, mean over its seeds."""
    networks, untrained = tables["networks"], tables["untrained"]
    rows = networks[networks["net"] == net].rename(columns={"test_accuracy": "accuracy"})
    if rows.empty:
        rows = untrained[(untrained["net"] == net) & (untrained["step"] == 0)]
    return {f"intact_{column}": rows[column].mean() for column in ("accuracy", "parameters", "macs")}


def _scoring_seconds(protocol: Protocol, best: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> float:
    """What it takes to score all layers for one network that is measured; NaN where it is not known."""
    net, criterion, aggregate = best.iloc[0][["net", *_CRITERION]]
    if protocol.table == "low_data":
        chains = tables["pruned"].merge(best[["net", *_CRITERION, "ratio", "repair"]].drop_duplicates())
        return float(chains["seconds"].mean())
    if protocol.table not in ("auc", "compress"):
        return math.nan
    areas, timing = tables["auc"], tables["timing"]
    scored = timing[(timing["stage"] == "score") & (timing["net"] == net) & (timing["criterion"] == criterion)]
    orders = areas[(areas["layer"] == "all") & (areas["net"] == net) & (areas["criterion"] == criterion)]
    return float(scored["seconds"].sum() / max((orders["aggregate"] == aggregate).sum(), 1))


def pruned(folders: Iterable[str]) -> pd.DataFrame:
    """A row a network of the low-data protocol: how long its layers took to score, from the manifests in folders."""
    names = ["net", *_CRITERION, "ratio", "repair"]
    manifests = [read_json(path) for folder in folders for path in sorted(Path(folder).rglob("*.json"))]
    rows = [
        {name: facts[name] for name in names} | {"seconds": sum(step["seconds"] for step in facts["steps"])}
        for facts in manifests
    ]
    return pd.DataFrame(rows, columns=[*names, "seconds"])


def metrics(
    headline: pd.DataFrame, networks: pd.DataFrame, auc: pd.DataFrame, steps: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """The numbers of each network that DVC compares.

    Args:
        headline: what `headline` returns.
        networks: the study's table ``networks``.
        auc: what `areas` returns.
        steps: what `low_data` returns.
    """
    found = {}
    for net, accuracy in networks.groupby("net", sort=False)["test_accuracy"].mean().items():
        by_criterion = auc[auc["net"] == net].set_index("criterion")["auc_loss"]
        steps_of_net = steps[steps["net"] == net]
        final = steps_of_net[steps_of_net["step"] == steps_of_net["step"].max()].set_index("criterion")["accuracy"]
        best = {name: round(value, _DIGITS) for name, value in points(headline[headline["net"] == net])}
        found[str(net)] = {
            "test_accuracy": round(float(accuracy), _DIGITS),
            "best": {name.removeprefix(f"best/{net}/"): value for name, value in best.items()},
            "auc_loss": by_criterion.to_dict(),
            "low_data_accuracy": final.to_dict(),
        }
    return found


def read(path: str | Path) -> pd.DataFrame:
    """A headline that was written as CSV."""
    text = dict.fromkeys(("net", "setting", "criterion", "aggregate", "repair"), str)
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"value": [""], "deviation": [""]})


def points(headline: pd.DataFrame) -> list[tuple[str, float]]:
    """The headline as metrics: a name such as ``best/lenet5/low_data/ratio_0.5/accuracy``, and the value."""
    place = headline[["net", "protocol", "setting", "measure", "value"]]
    return [
        ("/".join(["best", net, protocol, *setting.replace("=", "_").split(), measure]), float(value))
        for net, protocol, setting, measure, value in place.itertuples(index=False)
    ]


def areas(auc: pd.DataFrame, labels: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """A row a network and criterion: the areas under its removal curves, mean over seeds and trials.

    Args:
        auc: the study's table ``auc``.
        labels: (criterion, aggregate) -> its name for people.
    """
    return _means(auc[auc["layer"] == "all"], ["net", *_CRITERION], ["auc_loss", "auc_accuracy"], labels)


def low_data(table: pd.DataFrame, labels: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """A row a network, criterion and step of the largest ratio and the first repair: means over seeds and trials.

    Args:
        table: the study's table ``low_data``.
        labels: (criterion, aggregate) -> its name for people.
    """
    largest = table[(table["ratio"] == table["ratio"].max()) & table["repair"].isin(table["repair"].head(1))]
    return _means(largest, ["net", *_CRITERION, "step"], ["loss", "accuracy"], labels)


def _means(
    table: pd.DataFrame, columns: list[str], values: list[str], labels: Mapping[tuple[str, str], str]
) -> pd.DataFrame:
    means = table.groupby(columns, sort=False)[values].mean().round(_DIGITS).reset_index()
    means["criterion"] = [labels[order] for order in zip(means["criterion"], means["aggregate"], strict=True)]
    return means.drop(columns="aggregate")

"""The headline numbers of a study, from its tables: small files that git keeps, for DVC to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_DIGITS = 4
_ORDER = ["net", "criterion", "aggregate"]


def areas(auc: pd.DataFrame, labels: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """A row a network and criterion: the areas under its removal curves, mean over seeds and trials.

    Args:
        auc: the study's table ``auc``.
        labels: (criterion, aggregate) -> its name for people.
    """
    return _means(auc[auc["layer"] == "all"], _ORDER, ["auc_loss", "auc_accuracy"], labels)


def low_data(table: pd.DataFrame, labels: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """A row a network, criterion and step of the largest ratio and the first repair: means over seeds and trials.

    Args:
        table: the study's table ``low_data``.
        labels: (criterion, aggregate) -> its name for people.
    """
    largest = table[(table["ratio"] == table["ratio"].max()) & table["repair"].isin(table["repair"].head(1))]
    return _means(largest, [*_ORDER, "step"], ["loss", "accuracy"], labels)


def metrics(networks: pd.DataFrame, auc: pd.DataFrame, steps: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The numbers of each network.

    Args:
        networks: the study's table ``networks``.
        auc: what `areas` returns.
        steps: what `low_data` returns.
    """
    found = {}
    for net, accuracy in networks.groupby("net", sort=False)["test_accuracy"].mean().items():
        by_criterion = auc[auc["net"] == net].set_index("criterion")["auc_loss"]
        of_net = steps[steps["net"] == net]
        final = of_net[of_net["step"] == of_net["step"].max()].set_index("criterion")["accuracy"]
        found[str(net)] = {
            "test_accuracy": round(float(accuracy), _DIGITS),
            "best_auc_loss": float(by_criterion.min()),
            "auc_loss": by_criterion.to_dict(),
            "low_data_accuracy": final.to_dict(),
        }
    return found


def _means(
    table: pd.DataFrame, by: list[str], values: list[str], labels: Mapping[tuple[str, str], str]
) -> pd.DataFrame:
    means = table.groupby(by, sort=False)[values].mean().round(_DIGITS).reset_index()
    means["criterion"] = [labels[order] for order in zip(means["criterion"], means["aggregate"], strict=True)]
    return means.drop(columns="aggregate")

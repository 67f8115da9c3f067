"""The headline of a study in words: a table of the report's first page, and lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from shapprune.workflow.figures.layout import budget_in_words, short

_COLUMNS = {
    "net": "network",
    "question": "what was asked",
    "best": "best",
    "result": "result",
    "following": "next best criterion",
    "left": "what is left",
    "seconds": "time to score",
    "intact": "intact network",
}


def in_words(headline: pd.DataFrame, labels: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    """The rows of a headline as a person reads them, by column.

    Args:
        headline: what `shapprune.workflow.share.headlines.headline` returns.
        labels: (criterion, aggregate) -> its name for people.
    """
    return [_row_in_words({str(name): value for name, value in row.items()}, labels) for _, row in headline.iterrows()]


def as_rst(rows: Iterable[Mapping[str, str]]) -> str:
    """The headline as a table of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", "   :class: headline", ""]
    for row in (_COLUMNS, *rows):
        for place, column in enumerate(_COLUMNS):
            cell = (row[column] or "–").replace("\\", "\\\\").replace("_", r"\_").replace("*", r"\*")
            lines.append(f"   {'  ' if place else '* '}- {cell}")
    return "\n".join(lines) + "\n"


def as_text(study: str, rows: Iterable[Mapping[str, str]]) -> str:
    """The headline as lines for a terminal."""
    lines, net = [f"Study {study}: what was asked, the result, the best criterion"], None
    for row in rows:
        if row["net"] != net:
            net = row["net"]
            lines.append(f"{net}, intact: {row['intact']} test accuracy")
        lines.append(f"  {row['question']:<52}{row['result']:<22}{row['best']}")
    return "\n".join(lines) + "\n"


def _row_in_words(row: Mapping[str, Any], labels: Mapping[tuple[str, str], str]) -> dict[str, str]:
    number = _percent if row["measure"] == "accuracy" else _loss
    return {
        "net": str(row["net"]),
        "question": _question(str(row["protocol"]), dict(part.split("=", 1) for part in str(row["setting"]).split())),
        "best": _criterion(row, labels, ""),
        "result": number(row["value"], row["deviation"]),
        "following": ""
        if pd.isna(row["next_value"])
        else f"{number(row['next_value'])} {_criterion(row, labels, 'next_')}",
        "left": "" if pd.isna(row["parameters"]) else _left(row),
        "seconds": "" if pd.isna(row["seconds"]) else _duration(row["seconds"]),
        "intact": f"{_percent(row['intact_accuracy'])}",
    }


def _question(protocol: str, setting: Mapping[str, str]) -> str:
    """What a protocol asks, in few words."""
    loss = f"each layer loses {100 * float(setting['ratio']):g}%" if "ratio" in setting else ""
    images = setting.get("images", "").replace("all", "all training")
    return {
        "auc": "units leave, one layer at a time",
        "low_data": f"{loss}, nothing retrained",
        "fine_tune": f"{loss}, {images} images retrain",
        "compress": f"compressed to {setting.get('target')}, retrained",
        "budgets": f"{_budget(setting)}, {images} unlabelled images",
        "retrained": f"{_budget(setting)}, {images} unlabelled images, trained on",
        "deactivated": f"{100 * float(setting.get('share', 0)):g}% of the units at zero, nothing retrained",
        "quantised": f"weights of {setting.get('bits')} bits, nothing retrained",
        "untrained": "harmful units leave random weights",
    }[protocol]


def _budget(setting: Mapping[str, str]) -> str:
    """A budget in few words; empty if the setting has none."""
    return budget_in_words(float(setting["budget"]), setting["measure"]) if "budget" in setting else ""


def _criterion(row: Mapping[str, Any], labels: Mapping[tuple[str, str], str], prefix: str) -> str:
    criterion, aggregate = row[f"{prefix}criterion"], row[f"{prefix}aggregate"]
    label = labels[criterion, aggregate] if aggregate else criterion  # what has none is a method
    repair = row[f"{prefix}repair"]
    return label if repair == "none" else f"{label}, {repair}"


def _left(row: Mapping[str, Any]) -> str:
    """How much of the network is left, and what that is a share of."""
    shares = (
        f"{row[size] / row[f'intact_{size}']:.0%} of {short(row[f'intact_{size}'])}" for size in ("parameters", "macs")
    )
    return "{} parameters, {} MACs".format(*shares)


def _duration(seconds: float) -> str:
    if seconds < 0.1:
        return "under 0.1 s"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _percent(value: float, deviation: float = math.nan) -> str:
    return f"{100 * value:.1f}%" if math.isnan(deviation) else f"{100 * value:.1f} ± {100 * deviation:.1f}%"


def _loss(value: float, deviation: float = math.nan) -> str:
    return f"loss +{value:.3f}" + ("" if math.isnan(deviation) else f" ± {deviation:.3f}")

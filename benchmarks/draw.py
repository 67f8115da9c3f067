"""The tables of the benchmarks in short, and as figures.

    python -m benchmarks.draw results/benchmarks/quality.csv results/benchmarks/speed.csv --out results/benchmarks

From tables of `benchmarks.quality`: ``quality.md``, a table for each network, the same as ``quality_summary.csv``, and
a figure for each aggregate. From tables of `benchmarks.speed`: ``speed``, a figure; of
`benchmarks.repaired_game`: ``repaired_game``, a figure. Figures are SVG and PNG.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from benchmarks.draw_repaired import gaps_by_order
from benchmarks.draw_speed import runs_of, speed_by_layer
from benchmarks.quality import AGGREGATES, BASELINE, CONVERGED, FAMILIES, RUN, SHARED
from shapprune.core.files import whole
from shapprune.core.program import run_program
from shapprune.workflow.figures.layout import PLAIN, grid, legend, require, save, styled
from shapprune.workflow.figures.styles import Style, criterion_styles

_NEAR_ONE = 1.005  # just above 1: where the axis of correlations would be endless
_SPEARMAN_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 1)
_CONVERGED = Style("converged (left: half to half)", 0, True, "black", (0, (1, 1)))


def main() -> None:
    """Read tables, write Markdown and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tables",
        nargs="+",
        type=Path,
        help="CSV files of benchmarks.quality, benchmarks.speed and benchmarks.repaired_game",
    )
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"), help="folder")
    given = parser.parse_args()
    text = {"digest": str, "weights": str}  # even where they look like numbers
    tables = [pd.read_csv(path, dtype=text, keep_default_na=False, na_values=["", "nan"]) for path in given.tables]
    if quality := [table for table in tables if "spearman" in table]:
        summary = summarise(pd.concat(quality, ignore_index=True))
        with whole(given.out / "quality_summary.csv") as temporary:
            summary.to_csv(temporary, index=False, float_format="%.6g")
        with whole(given.out / "quality.md") as temporary:
            temporary.write_text("\n".join(markdown(summary)) + "\n", encoding="utf-8")
        for how in AGGREGATES:
            save(quality_against_cost(summary[summary["aggregate"] == how]), given.out / f"quality_{how}")
    if speed := [table for table in tables if "walk_ratio" in table]:
        save(speed_by_layer(pd.concat(speed, ignore_index=True)), given.out / "speed")
    if repaired := [table for table in tables if {"order", "gap"} <= set(table)]:
        save(gaps_by_order(pd.concat(repaired, ignore_index=True)), given.out / "repaired_game")


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """A row a network, estimator, size and aggregate: its repeats in the mean, its layers together.

    Seconds are those of the scoring and of making the game; ``faster`` is how often they fit into those of the baseline
    at the same layers. The area is that of all layers (Eq. 6 of Ancona et al. 2020), ``auc_std`` its standard deviation
    over the repeats, ``of_random`` its ratio to that of the random order. What a layer lacks is missing here.
    """
    by_layer = [*RUN, "layer", "aggregate"]
    # Curves of some layers, or of different images, cannot be put together.
    run = table.groupby([name for name in RUN if name != "curve_images"])
    whole_run = (run["auc_loss"].transform("count") == run["auc_loss"].transform("size")) & (
        run["curve_images"].transform("nunique") == 1
    )
    for name, missing in (("curve_images", 0), ("auc_loss", np.nan)):
        table = table.assign(**{name: table[name].where(whole_run, missing)})
    table = table.assign(seconds=table["seconds"] + table["game_seconds"], area=table["auc_loss"] * table["units"])
    layers = table.groupby([*by_layer, "estimator", "size"], sort=False).mean(numeric_only=True).reset_index()
    slow = layers[layers["estimator"] == BASELINE].sort_values("size").groupby(by_layer)["seconds"].last()
    random = layers[layers["estimator"] == "random"].groupby(by_layer)["area"].last()
    layers = layers.join(slow.rename("slow"), on=by_layer).join(random.rename("random"), on=by_layer)
    together = [*RUN, "aggregate", "estimator", "size"]
    of_repeat = table.groupby([*together, "repeat"], sort=False)
    areas = of_repeat["area"].sum() / of_repeat["units"].sum()
    of_all = layers.groupby(together, sort=False)
    sums = of_all[["units", "evaluations", "seconds", "area", "slow", "random"]].agg(
        lambda each: each.sum(skipna=False)
    )
    return pd.DataFrame(
        {
            "layers": of_all.size(),
            "evaluations": sums["evaluations"],
            "seconds": sums["seconds"],
            "faster": sums["slow"] / sums["seconds"],
            "spearman": of_all["spearman"].mean(),
            "spearman_min": of_all["spearman"].min(),
            "overlap": of_all["overlap"].mean(),
            "auc_loss": sums["area"] / sums["units"],
            "auc_std": areas.groupby(together, sort=False).std(),
            "of_random": sums["area"] / sums["random"],
            "split_half": of_all["split_half"].mean(),
        }
    ).reset_index()


def markdown(summary: pd.DataFrame) -> Iterator[str]:
    """The summary for people: a section a network."""
    yield "# Estimators against converged Shapley values\n"
    yield (
        "Evaluations and seconds (with the making of the game) are of all layers; Spearman correlation with the"
        " converged values: mean and least of the layers; overlap: share of the lowest quarter of the units in common;"
        " AUC: area under the loss curve of held-out images, lower is better, and its standard deviation over repeats."
    )
    for title, rows in runs_of(summary):
        about = rows.iloc[0]
        halves = ", ".join(f"{how}: {some['split_half'].iloc[0]:.3f}" for how, some in rows.groupby("aggregate"))
        yield f"\n## {title}\n"
        yield (
            f"Weights {about['weights']}; {about['images']} images, {about['curve_images']} others for curves;"
            f" {about['device']}, {about['threads']} threads. The converged values are of {about['walks']} walks an"
            f" image; Spearman correlation of one half of the walks with the other: {halves}.\n"
        )
        for how, some in rows.groupby("aggregate"):
            if sentence := at_equal_quality(some):
                yield f"- {how}: {sentence}"
        yield (
            "\n| estimator | size | aggregate | layers | evaluations | seconds | times faster | Spearman | least"
            " | overlap | AUC | ± | of random |"
        )
        yield "|---|" + "---:|" * 12
        for _, row in rows.sort_values("aggregate", kind="stable").iterrows():
            cells = [
                *(row["estimator"], row["size"], row["aggregate"], row["layers"], f"{row['evaluations']:,.0f}"),
                *(f"{row['seconds']:.3g}", f"{row['faster']:.1f}", f"{row['spearman']:.3f}"),
                *(f"{row['spearman_min']:.3f}", f"{row['overlap']:.2f}", f"{row['auc_loss']:.4f}"),
                *(f"{row['auc_std']:.4f}", f"{row['of_random']:.3f}"),
            ]
            yield "| " + " | ".join(str(cell).replace("nan", "–") for cell in cells) + " |"


def at_equal_quality(rows: pd.DataFrame) -> str:
    """The fastest estimator of one network and aggregate that is no worse than the baseline, in a sentence.

    How good the baseline is, the same walk by the engine tells, whose scores are equal and which has more repeats. Its
    area may be exceeded by the standard deviation over them, which is more than most estimators differ by.
    """
    orders = rows.loc[rows["estimator"] == BASELINE, "size"].max()
    same = rows[(rows["estimator"] == SHARED) & (rows["size"] == orders)]
    if same["faster"].isna().all():  # the one or the other was not measured at all layers
        return ""
    spearman, area, spread = same[["spearman", "auc_loss", "auc_std"]].fillna({"auc_std": 0}).iloc[0]
    good = (rows["spearman"] >= spearman) & ~(rows["auc_loss"] > area + spread) & (rows["estimator"] != BASELINE)
    best = rows.loc[rows.loc[good, "faster"].idxmax()]
    areas = "" if np.isnan(area) else f", AUC {best['auc_loss']:.4f} and {area:.4f} ± {spread:.4f}"
    return (
        f"{best['estimator']} {best['size']} is {best['faster']:.1f} times faster than {BASELINE} with {orders:g}"
        f" orders and no worse: Spearman {best['spearman']:.3f} and {spearman:.3f}{areas}."
    )


@styled()
def quality_against_cost(summary: pd.DataFrame) -> Figure:
    """Rank correlation and area under the removal curve against evaluations, a row of panels a network.

    Args:
        summary: rows of `summarise` of one aggregate.
    """
    require(summary, "estimators")
    runs, styles = list(runs_of(summary)), _styles()
    figure, panels = grid(2 * len(runs), columns=2, size=(3.4, 2.1))
    for (title, rows), left, right in zip(runs, panels[::2], panels[1::2], strict=True):
        rows = rows.assign(each=rows["evaluations"] / rows["layers"])
        left.set_title(title, loc="left")
        for axes, value, what in ((left, "spearman", "Spearman correlation"), (right, "of_random", "AUC (random = 1)")):
            if rows[value].isna().all():
                axes.set_axis_off()
                axes.text(0.5, 0.5, "no removal curves", ha="center", va="center", transform=axes.transAxes)
                continue
            for name, style in styles.items():
                if (name, value) != ("random", "of_random"):  # it is 1, far from all that is worth drawing
                    _draw_estimator(axes, rows[rows["estimator"] == name], value, style)
            axes.set_ylabel(what)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(PLAIN)
            axes.xaxis.set_minor_formatter(NullFormatter())
        left.axhline(rows["split_half"].iloc[0], **_CONVERGED.line)
        right.axhline(rows.loc[rows["estimator"] == CONVERGED, "of_random"].mean(), **_CONVERGED.line)
        left.set_yscale("function", functions=(_spread, _gather))
        left.set_ylim(-0.25, 1.0005)
        left.yaxis.set_major_locator(FixedLocator(_SPEARMAN_TICKS))
        left.yaxis.set_major_formatter(PLAIN)
    figure.supxlabel("evaluations a layer")
    legend(figure, [*styles.values(), _CONVERGED], f"{summary['aggregate'].iloc[0]} over images")
    return figure


def _draw_estimator(axes: Axes, rows: pd.DataFrame, value: str, style: Style) -> None:
    """A line through the sizes of an estimator; across the panel where it costs no evaluation."""
    rows = rows.sort_values("each")
    if (rows["each"] > 0).any():
        axes.plot(rows["each"], rows[value], **style.line)
    elif not rows.empty:
        axes.axhline(rows[value].iloc[0], **{**style.line, "marker": ""})


def _styles() -> dict[str, Style]:
    """How each estimator looks, in the order of the table of families."""
    criteria = {each.name: {"method": each.criterion, "aggregates": ["mean"]} for each in FAMILIES}
    variants = {name: criteria.pop(name) for name in ("coalition gradient, large", "rescored gradient")}
    styles = {name: style for (name, _), style in criterion_styles(criteria).items() if name in criteria}
    large, rescored = (replace(styles["coalition gradient"], label=name) for name in variants)
    styles[large.label] = replace(large, filled=False, dashes=(0, (9, 1.2)))
    styles[rescored.label] = replace(rescored, colour="black", marker="X")
    return {each.name: styles[each.name] for each in FAMILIES}


def _spread(correlation: np.ndarray) -> np.ndarray:
    """Correlations as an axis that has room near 1."""
    return -np.log10(_NEAR_ONE - np.minimum(correlation, 1))


def _gather(place: np.ndarray) -> np.ndarray:
    return _NEAR_ONE - 10.0**-place


if __name__ == "__main__":
    sys.exit(run_program(main))

"""What tables say: by hand, and as Markdown, CSV and figures."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks.low_data import comparison, figures
from benchmarks.low_data.__main__ import main
from benchmarks.low_data.leaderboard import board_rows
from benchmarks.low_data.results import Block, Results
from benchmarks.low_data.rows import NOTHING, Table
from benchmarks.low_data.statistics import Bootstrap, critical_difference

N = 10_000  # test images of CIFAR-10


def table(bits: bool = True, **accuracies: dict[str, float]) -> Table:
    """Three draws of each network and budget, each a thousandth apart; or of some (``net@budget``)."""
    made = Table()
    for method, blocks in accuracies.items():
        for place, accuracy in blocks.items():
            net, _, budget = place.partition("@")
            for draw in range(3):
                right = np.arange(N) < round(N * (accuracy + 0.001 * (draw - 1)))
                key = f"{method}{place}{draw}" if bits else ""
                about = {"net": net, "weights": "w", "images": 100, "draw": draw, "method": method, "budget": budget}
                measured = {"macs": 50, "share": 0.5, "accuracy": right.mean(), "accuracy_intact": 0.95}
                made.add(NOTHING | about | measured | {"key": key}, np.packbits(right) if bits else None)
    return made


BLOCKS = ("resnet20@0.5", "resnet32@0.5", "resnet32@0.25", "resnet56@0.5", "resnet56@0.25", "resnet44@0.5")
OURS = dict(zip(BLOCKS, (0.5, 0.9, 0.8, 0.92, 0.85, 0.91), strict=True))
THEIRS = dict(zip(BLOCKS, (0.9, 0.88, 0.79, 0.91, 0.83, 0.87), strict=True))
RANDOM = dict(zip(BLOCKS, (0.4, 0.85, 0.70, 0.93, 0.80, 0.86), strict=True))


@pytest.fixture
def results() -> Results:
    ours = OURS | {"resnet56@0.75": 0.93}  # no other method has this block
    return Results(table(ours=ours, theirs=THEIRS, random=RANDOM, late={"resnet20@0.5": 0.99}), Bootstrap(200))


def test_claims_leave_out_the_development_network_and_methods_that_lack_blocks(results):
    methods, blocks, accuracies = results.accuracies(100)
    assert methods == ["ours", "theirs", "random"]
    assert Block("resnet20", 100, 0.5) not in blocks
    assert len(blocks) == 5
    np.testing.assert_allclose(accuracies[0], (0.9, 0.88, 0.85), atol=1e-6)  # float32 means
    text = "\n".join(comparison.claims(results, 100, results.pairs(100)))
    assert "over 5 blocks" in text
    assert "Left out, since methods were developed on it: resnet20." in text
    assert "not compared: late." in text
    assert "In 5 of the blocks a method has fewer than 5 draws: this is a first look and no claim." in text
    assert "| ours | 1.20 |  |  |  |  |" in text.replace("   ", "  ")
    assert "| theirs | 2.20 | -.0200 (-.02" in text
    assert f"{critical_difference(3, 5):.2f} apart differ" in text


def test_a_pair_by_hand(results):
    pair = next(each for each in results.pairs(100) if {each.one, each.other} == {"ours", "theirs"})
    assert pair.difference.mean == pytest.approx(np.mean([0.02, 0.01, 0.01, 0.02, 0.04]), abs=1e-6)
    assert pair.difference.low < pair.difference.mean < pair.difference.high
    assert (pair.blocks, pair.wins, pair.losses) == (5, 5, 0)
    assert pair.p_holm == pytest.approx(min(1, 3 * pair.p))
    # All in one direction: 2 of 2^5 signs, here with ties, for which the normal approximation is taken.
    assert 0.03 < pair.p < 0.07


def test_draws_alone_make_the_interval_where_images_are_not_known():
    known, unknown = (Results(table(bits, ours=OURS), Bootstrap(500)) for bits in (True, False))
    block = Block("resnet56", 100, 0.5)
    assert known.right(block, "ours").shape == (3, N)
    assert unknown.right(block, "ours").shape == (3, 1)
    wide, narrow = (each.interval(block, "ours") for each in (known, unknown))
    assert wide.mean == pytest.approx(narrow.mean)
    assert 0 < narrow.high - narrow.low < wide.high - wide.low


def test_draws_on_another_device_are_not_timed():
    made = table(ours={"resnet32@0.5": 0.9})
    rows = [
        row | {"milliseconds": 2 + row["draw"], "cpu_seconds": 10 * (1 + row["draw"])} for row in made.rows.values()
    ]
    for row in rows:
        made.add(row | {"device": "a GPU" if row["draw"] else "a CPU"}, np.packbits(np.ones(N, bool)))
    (row,) = board_rows(Results(made, Bootstrap(20)))
    assert (row["milliseconds"], row["cpu_seconds"], row["draws"], row["accuracy"]) == (2, 10, 3, 1)


def test_a_failed_draw_has_none_right():
    made = table(ours={"resnet56@0.5": 0.9})
    row = next(iter(made.rows.values()))
    made.add(
        NOTHING
        | {name: row[name] for name in ("net", "weights", "images", "draw", "method", "budget")}
        | {"failed": "over budget", "key": "f"},
        None,
    )
    found = Results(made)
    assert found.right(Block("resnet56", 100, 0.5), "ours").mean(1)[0] == 0
    assert found.interval(Block("resnet56", 100, 0.5), "ours").mean == pytest.approx((0.9 + 0.901) / 3, abs=1e-6)


def test_two_methods_are_compared_in_words(results):
    lines = list(comparison.compare(results, 100, "theirs", "ours"))
    assert len(lines) == 1 + 6 + 2
    assert "resnet20, 0.5 of the MACs: +.4000 (+." in lines[1]
    assert "no claim rests on it" in lines[1]
    assert "all 5 blocks that claims rest on: -.0200" in lines[-2]
    assert "ahead in 0, behind in 5" in lines[-2]
    assert "all 3 pairs of methods" in lines[-1]
    assert list(comparison.compare(results, 100, "late", "ours"))[-1] == "No network is left that a claim may rest on."


def test_only_what_is_measured_can_be_compared(results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "ours", "theirs"]) == 1
    assert "budgets.csv does not exist; `run` writes such a table" in capsys.readouterr().err
    table(ours=OURS).write("t.csv")
    assert main(["compare", "ours", "their", "--tables", "t.csv"]) == 1
    assert "unknown method 'their'; allowed: ours" in capsys.readouterr().err
    assert main(["compare", "ours", "ours", "--tables", "t.csv", "--images", "50"]) == 1
    assert "ours and ours have no block with 50 images in common" in capsys.readouterr().err


def test_files_of_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reference = {
        name.replace("random", "l2"): each for name, each in {"reconstruction": OURS, "random": RANDOM}.items()
    }
    table(**reference, theirs=THEIRS).write("one.csv")
    table(bits=False, uniform={"resnet32@0.5": 0.7}).write("two.csv")
    assert main(["table", "--tables", "one.csv", "two.csv", "--out", "out"]) == 0
    nets = ("resnet20", "resnet32", "resnet44", "resnet56")
    drawn = {
        f"{name}.{suffix}"
        for name in ("critical_difference", *(f"{net}_100" for net in nets))
        for suffix in ("svg", "png")
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == drawn | {
        "leaderboard.md",
        "leaderboard.csv",
        "pairs.csv",
    }
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "Intact .9500: methods were developed on it, so no claim rests on it." in text
    assert "| uniform | ? | 3 | .7000 (.6990 to .7010)* |" in text.partition("## resnet32")[2]
    assert "| selection | l2 | -.0500 (" in text.partition("### resnet32")[2]
    with (tmp_path / "out" / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 6 + 1
    with (tmp_path / "out" / "pairs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3


def test_diagram_places_names_by_rank_and_joins_what_is_not_told_apart(results):
    methods, _, accuracies = results.accuracies(100)
    figure = figures.draw_critical_difference(methods, accuracies)
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    names = [text.get_text().split() for text in axes.texts]
    assert [each for each in names if each[0] in methods] == [["ours", "1.20"], ["theirs", "2.20"], ["random", "2.60"]]
    bars = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 3]
    assert [tuple(np.round(bar, 2)) for bar in bars] == [(1.17, 2.63)]  # 1.48 apart are not different
    far = np.tile([0.9, 0.8, 0.7], (30, 1))
    lines = figures.draw_critical_difference(methods, far).axes[0].lines
    assert not [line for line in lines if line.get_linewidth() == 3]


def test_colours_and_markers_of_many_methods_differ():
    looks = [figures._look(str(place), place).line for place in range(36)]
    assert len({(each["color"], each["marker"], each["linestyle"], each["markerfacecolor"]) for each in looks}) == 36

"""The pages of docs/results that are written from tables say what these say."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

from benchmarks.low_data.leaderboard import write_board
from benchmarks.low_data.results import Results
from benchmarks.low_data.rows import Table
from shapprune.core.tables import read_rows

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "low_data"
AREAS = ("all", "conv1", "conv2", "fc1")
_NUMBER = re.compile(r"(?<![\w.])-?\d*\.?\d+(?:e-?\d+)?(?!\w)")


def told_in(head):
    """The cells of the one table of the README whose head begins so, row by row."""
    (table,) = re.findall(rf"^{re.escape(head)}.*?(?=\n\n)", (FOLDER.parent / "README.md").read_text(), re.M | re.S)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def is_told(cell, number):
    """Whether a cell is a number rounded to the digits that it has."""
    return float(cell) == pytest.approx(number, abs=0.51 * 10.0 ** -len(cell.partition(".")[2]))


@pytest.mark.parametrize("name", ["leaderboard.md", "leaderboard.csv", "pairs.csv"])
def test_the_leaderboard_is_what_its_table_says(name, tmp_path):
    write_board(Results(Table.read(FOLDER / "budgets.csv")), 100, tmp_path)
    written, found = (tmp_path / name).read_text(), (FOLDER / name).read_text()
    assert _NUMBER.sub("#", written) == _NUMBER.sub("#", found), "write it again: make results"
    numbers, expected = ([float(each) for each in _NUMBER.findall(text)] for text in (found, written))
    assert numbers == pytest.approx(expected, rel=1e-3, abs=2e-4)  # sums of float32 in another order
    pictures = re.findall(r"\((\w+\.png)\)", found)
    assert all((FOLDER / each).is_file() for each in pictures)
    assert bool(pictures) == name.endswith(".md")


def test_the_areas_of_a_published_table_are_those_of_its_csv():
    text = (FOLDER.parent / "README.md").read_text()
    (section,) = re.findall(r"^## The areas of Ancona.*?(?=^## )", text, re.M | re.S)
    told = {}
    for line in re.findall(r"^\| `.*$", section, re.M):
        name, _, *areas = (cell.strip() for cell in line.strip("|").split("|"))
        criterion, aggregate = re.fullmatch(r"`(.+?)`(?:, (.+))?", name).groups()
        told |= {(criterion, aggregate or "mean", layer): area for layer, area in zip(AREAS, areas, strict=True)}
    rows = read_rows(FOLDER.parent / "ancona-table2" / "auc.csv")
    assert len(told) == len(rows) == 72
    for row in rows:
        area = told[row["criterion"], row["aggregate"], row["layer"]]
        assert area == f"{float(row['auc_loss']):.3f}".lstrip("0"), row


def test_what_probes_of_a_language_model_tell_is_in_its_csv():
    kinds = ["all", "model-shapley, as published", "model-shapley", "gradient-trace", "coalition-gradient", "weight-l2"]
    places = [*(f"model.layers.{block}.mlp.gate_proj" for block in (4, 14, 24)), "all"]
    accuracies = {}
    for row in read_rows(FOLDER.parent / "smollm2-probe.csv"):
        accuracies.setdefault((row["criterion"], row["layer"]), []).append(float(row["accuracy"]))
    lines = told_in("| neurons | block 4 ")
    assert len(lines) == len(kinds) + 1
    for line, kind in zip(lines, [*kinds, "random"], strict=True):
        expected = [statistics.mean(accuracies[kind, place]) for place in places]
        spread = [[statistics.stdev(accuracies[kind, place])] if kind == "random" else [] for place in places]
        cells = [[float(each) for each in _NUMBER.findall(cell)] for cell in line[1:]]
        for cell, mean, more in zip(cells, expected, spread, strict=True):
            assert cell == pytest.approx([mean, *more], abs=6e-4)


def test_what_a_language_model_answers_is_in_its_csv():
    told = [[float(cell) for cell in cells] for _, *cells in told_in("| what is done | MMLU ")]
    rows = read_rows(FOLDER.parent / "smollm2-answers.csv")
    found = [[float(row[name]) for name in ("right", "answer_loss", "solved")] for row in rows]
    assert len(told) == len(found) == 9
    for line, row in zip(told, found, strict=True):
        assert line == pytest.approx(row, abs=6e-4)


def test_what_is_left_of_a_network_for_imagenet_is_in_its_csv():
    rows = read_rows(FOLDER.parent / "efficientnet-budgets.csv")
    names = ("accuracy", "test_agreement", "agreement", "agreement_low", "agreement_high")
    found = {(row["method"], float(row["budget"])): [float(row[name]) for name in names] for row in rows}
    methods = {"**reconstruction**": "reconstruction", "l2": "weight-l2"}
    told = {}
    for method, *cells in told_in("| method | 75 % of the MACs | agrees | promised "):
        for budget, some in ((0.75, cells[:3]), (0.5, cells[3:])):
            told[methods[method], budget] = [float(each) for each in _NUMBER.findall(" ".join(some))]
    assert told.keys() == found.keys()
    for place, numbers in told.items():
        assert numbers == pytest.approx(found[place], abs=6e-4), place


def test_what_is_left_without_branches_is_in_its_csv():
    folder = FOLDER.parent / "resnet56-branches"
    curves = [row for row in read_rows(folder / "curves.csv") if row["net"] == "resnet56"]
    areas = [row for row in read_rows(folder / "auc.csv") if row["net"] == "resnet56"]
    orders = ["rescored", "gradient-near", "shapley-near", "shapley", "leave-one-out", "block-influence", "random"]
    lines = told_in("| order | 3 gone ")
    assert len(lines) == len(orders)
    for (_, *cells), order in zip(lines, orders, strict=True):
        found = [
            statistics.mean(float(row["accuracy"]) for row in curves if (row["criterion"], row["removed"]) == place)
            for place in ((order, str(gone)) for gone in (3, 6, 9, 12))
        ]
        area = statistics.mean(float(row["auc_loss"]) for row in areas if row["criterion"] == order)
        told = [float(number) for number in _NUMBER.findall(" ".join(cells).replace("*", ""))]
        assert told == [*(pytest.approx(each, abs=6e-4) for each in found), pytest.approx(area, abs=6e-3)]


def test_what_deactivated_units_cost_is_in_its_csv():
    criteria = ["random", "weight-l2", "gradient", "gradient-trace", "obd", "first-order", "published"]
    criteria += ["published-code", "corrected", "leave-one-out", "coalition-gradient", "permutation"]
    rows = read_rows(FOLDER.parent / "model-shapley" / "deactivated.csv")
    lines = told_in("| score | CCT 10 % ")
    assert len(lines) == len(criteria)
    for (_, *cells), criterion in zip(lines, criteria, strict=True):
        for place, net in enumerate(("cct2", "vit", "resnet20")):
            some = [row for row in rows if (row["net"], row["criterion"]) == (net, criterion)]
            found = [
                statistics.mean(float(row["loss"]) - float(row["intact_loss"]) for row in some if row["share"] == share)
                for share in ("0.1", "0.3", "0.5")
            ]
            found.append(statistics.mean(float(row["test_agreement"]) for row in some if row["share"] == "0.3"))
            for cell, number in zip(cells[4 * place : 4 * place + 4], found, strict=True):
                assert is_told(cell, number), (cell, number)


def test_how_often_the_promise_was_kept_is_in_its_tables():
    unseen = read_rows(FOLDER.parent / "promise.csv")
    table = [row for row in read_rows(FOLDER / "budgets.csv") if row["key"] and row["agreement"]]
    trained = [row for row in table if row["net"] in ("resnet32", "resnet44", "resnet56")]
    inside = sum(row["kept"] == "yes" for row in unseen), sum(map(_is_inside, trained))
    text = " ".join((FOLDER.parent / "README.md").read_text().split())
    assert f"in {inside[1]} of the {len(trained)} rows of ResNet-32, ResNet-44 and ResNet-56" in text
    assert f"it holds in {inside[0]} of {len(unseen)} rows" in text
    for rows, budget, told in (
        (trained, "0.5", 0.035),
        (unseen, "0.5", 0.011),
        (trained, "0.25", 0),
        (unseen, "0.25", 0),
    ):
        over = [float(row["agreement"]) - float(row["agreement_test"]) for row in rows if row["budget"] == budget]
        assert statistics.mean(over) == pytest.approx(told, abs=5e-3 if told == 0 else 6e-4)


def _is_inside(row):
    low, later, high = (float(row[name]) for name in ("agreement_low", "agreement_test", "agreement_high"))
    return low <= later <= high


def test_what_is_left_of_a_small_decoder_is_in_its_csvs():
    folder = FOLDER.parent / "char-gpt"
    areas, zeroed, pruned = (read_rows(folder / f"{name}.csv") for name in ("auc", "deactivated", "low_data"))
    last = max(int(row["step"]) for row in pruned)
    criteria = ["reconstruction", "coalition-gradient", "fluctuation", "wanda", "obd", "corrected", "gradient-trace"]
    criteria += ["published-code", "weight-l2", "random", "published"]
    lines = told_in("| score | area | 10 % at zero ")
    assert len(lines) == len(criteria)
    for (_, *cells), criterion in zip(lines, criteria, strict=True):
        own = [[row for row in rows if row["criterion"] == criterion] for rows in (areas, zeroed, pruned)]
        rises = {row["share"]: [] for row in own[1]}
        for row in own[1]:
            rises[row["share"]].append(float(row["loss"]) - float(row["intact_loss"]))
        left = {row["repair"]: float(row["loss"]) for row in own[2] if int(row["step"]) == last}
        found = [statistics.mean(float(row["auc_loss"]) for row in own[0] if row["layer"] == "all")]
        found += [statistics.mean(rises[share]) if rises else None for share in ("0.1", "0.3", "0.5")]
        found += [left.get(repair) for repair in ("none", "least-squares")]
        for cell, number in zip(cells, found, strict=True):
            told = cell.strip("*")
            assert bool(told) == (number is not None)
            if told:
                assert is_told(told, number), cells


def test_what_a_language_model_learns_is_in_its_csv():
    best = {}
    for row in read_rows(FOLDER.parent / "smollm2-tuned.csv"):
        before = best.setdefault(row["method"], row)
        if float(row["validation_loss"]) < float(before["validation_loss"]):
            best[row["method"]] = row
    methods = [
        "full",
        "lora",
        "gradient-trace",
        "model-shapley-published",
        "model-shapley",
        "coalition-gradient",
        "random",
    ]
    nothing, *lines = told_in("| what trains | parameters | loss | right ")
    whole = best["full"]
    assert [float(each) for each in nothing[2:]] == [
        pytest.approx(float(whole[name]), abs=6e-4) for name in ("loss_before", "accuracy_before")
    ]
    assert len(lines) == len(methods)
    for (_, trainable, *cells), method in zip(lines, methods, strict=True):
        row = best[method]
        assert trainable.replace(",", "") == row["trainable"]
        found = [pytest.approx(float(row[name]), abs=6e-4) for name in ("loss", "accuracy")]
        assert [float(cell) for cell in cells] == found

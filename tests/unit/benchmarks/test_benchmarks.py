"""The benchmarks: complete tables that are not measured twice, their sums, and their figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import shapprune
from benchmarks import blocks, draw, quality, speed
from benchmarks.cases import Case, make_case
from benchmarks.quality import AGGREGATES, BASELINE, COLUMNS, CONVERGED, SHARED, Family
from shapprune.core.tables import write_table
from shapprune.criteria.catalog import CATALOG
from shapprune.graph.counting import count_macs
from shapprune.pruning.branches import removed_branches
from shapprune.pruning.repair import REPAIRS_OF_BRANCHES
from tests.residual import SmallResNet
from tests.toys import ConvNetwork, images, labels, randomise

FEW = (
    Family(SHARED, "permutation", "permutations", (1, 2), {"shared": True}),
    Family("taylor", "taylor"),
    Family("random", "random"),
    Family(BASELINE, BASELINE, "orders", (2,)),
)
SCORINGS = 2 * 2 + 1 + 2 + 1  # of FEW with two repeats


@pytest.fixture
def case():
    model = randomise(ConvNetwork())
    parts = [(images(count, seed=count), labels(count, seed=count)) for count in (6, 5)]
    return Case("toy", "fresh", model, {"features.0": 4, "fc": 8}, *parts)


@pytest.fixture
def calls(monkeypatch):
    """The families that were scored, in turn."""
    seen = []
    real = quality._score

    def counted(case, layer, family, size, repeat):
        seen.append((layer, family.name, size, repeat))
        return real(case, layer, family, size, repeat)

    monkeypatch.setattr(quality, "_score", counted)
    return seen


def measure(case, folder, **options):
    quality.measure(case, folder / "quality.csv", folder / "cache", walks=8, repeats=2, families=FEW, **options)
    return pd.read_csv(folder / "quality.csv", keep_default_na=False, na_values=[""])


def test_a_row_for_each_layer_estimator_repeat_and_aggregate(case, tmp_path):
    table = measure(case, tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * (SCORINGS + 1) * len(AGGREGATES)
    assert (table.loc[table["estimator"] == CONVERGED, "spearman"] > 1 - 1e-9).all()
    assert not table.isna().any(axis=None)
    assert not table.duplicated(list(quality.KEY)).any()
    assert table["spearman"].between(-1, 1).all()
    assert table["overlap"].between(0, 1).all()
    walks = table[table["estimator"] == SHARED]
    np.testing.assert_array_equal(walks["evaluations"], walks["size"] * (walks["units"] - 1) + 2)


def test_the_baseline_scores_as_the_engine_does(case, tmp_path):
    table = measure(case, tmp_path)
    same = table[(table["size"] == 2) & (table["repeat"] == 0)]
    engine, baseline = (
        same[same["estimator"] == name].set_index(["layer", "aggregate"]) for name in (SHARED, BASELINE)
    )
    assert len(engine) == 4
    assert (engine["order"] == baseline["order"]).all()
    assert (engine["auc_loss"] == baseline["auc_loss"]).all()


def test_what_is_there_is_not_measured_again(case, tmp_path, calls, monkeypatch):
    whole = measure(case, tmp_path)
    warm_ups = 2 * len({family.criterion for family in FEW})
    assert len(calls) == 2 * SCORINGS + warm_ups
    lines = (tmp_path / "quality.csv").read_text().splitlines(keepends=True)
    left = [line for line in lines if f",fc,{BASELINE}," not in line]  # as if it had been killed at the last layer
    assert len(left) == len(lines) - len(AGGREGATES)
    (tmp_path / "quality.csv").write_text("".join(left))
    calls.clear()
    monkeypatch.setattr(quality, "loss_areas", None)  # the baseline's orders are those of another
    again = measure(case, tmp_path)
    assert set(calls) == {("fc", BASELINE, 1, 0), ("fc", BASELINE, 2, 0)}
    exact = [column for column in COLUMNS if column != "seconds"]
    tables = (table.sort_values(list(quality.KEY), ignore_index=True)[exact] for table in (again, whole))
    pd.testing.assert_frame_equal(*tables)


def test_scoring_again_keeps_the_areas(case, tmp_path, calls, monkeypatch):
    whole = measure(case, tmp_path)
    calls.clear()
    monkeypatch.setattr(quality, "loss_areas", None)
    again = measure(case, tmp_path, again=True)
    assert len(calls) > 2 * SCORINGS
    exact = [column for column in COLUMNS if "seconds" not in column]
    pd.testing.assert_frame_equal(again[exact], whole[exact])


def test_curves_can_be_added_later(case, tmp_path, calls):
    without = measure(case, tmp_path, curves=False)
    assert without["auc_loss"].isna().all()
    calls.clear()
    assert measure(case, tmp_path)["auc_loss"].notna().all()
    assert not calls


def test_converged_values_are_made_once(case, tmp_path, monkeypatch):
    made = quality.converged(case, "fc", 8, tmp_path)
    monkeypatch.setattr(shapprune.shapley, "permutation", None)
    kept = quality.converged(case, "fc", 8, tmp_path)
    torch.testing.assert_close(kept.values, made.values, rtol=0, atol=0)
    assert [path.suffix for path in (tmp_path / f"toy-{case.digest}").iterdir()] == [".npz"]
    with pytest.raises(TypeError):  # of another number of walks they are others
        quality.converged(case, "fc", 16, tmp_path)


def test_converged_values_are_like_themselves(case, tmp_path):
    truth = quality.converged(case, "features.0", 8, tmp_path)
    for how in AGGREGATES:
        found = quality.likeness(truth, truth, how)
        assert found["spearman"] == pytest.approx(1)
        assert found["overlap"] == 1


def test_areas_are_those_of_the_study(case):
    game = case.game("fc")
    orders = [list(range(8)), [3, 1, 0, 2, 7, 6, 5, 4]]
    expected = [shapprune.auc([shapprune.removal_curve(game, order)]) for order in orders]
    np.testing.assert_allclose(quality.loss_areas(game, orders), expected, rtol=1e-5)  # sums in another order


def test_other_weights_have_another_digest(case):
    other = Case("toy", "fresh", randomise(ConvNetwork(), seed=5), case.layers, case.scoring, case.held_out)
    assert other.digest != case.digest


def test_all_families_can_be_scored(case):
    for family in quality.FAMILIES:
        assert family.criterion in CATALOG
        scores, _ = quality._score(case, "features.0", family, family.sizes[0], 0)
        assert scores.values.shape[1] == 4


def test_held_out_images_are_not_scored_on():
    made = make_case("lenet5", images=40, held_out=40, only=["fc2"])
    assert made.layers == {"fc2": 25}
    apart = (made.scoring[0][:, None] - made.held_out[0][None]).flatten(2).abs().amax(2)
    assert apart.shape == (40, 40)
    assert apart.min() > 0


def by_hand():
    """Two layers of 1 and 3 units, an estimator of two repeats, the random order and the baseline."""
    run = dict.fromkeys(quality.RUN, 1) | {"net": "toy", "weights": "fresh", "digest": "0", "device": "cpu"}
    measured = [
        (SHARED, 5, 0, "a", 1, 10, 1.0, 0.5, 0.8, 1.0, 1.0),
        (SHARED, 5, 1, "a", 1, 10, 2.0, 0.5, 0.6, 0.0, 3.0),
        (SHARED, 5, 0, "b", 3, 30, 2.0, 1.0, 0.9, 1.0, 4.0),
        (SHARED, 5, 1, "b", 3, 30, 2.0, 1.0, 0.9, 1.0, 4.0),
        ("random", 1, 0, "a", 1, 0, 0.0, 0.5, 0.0, 0.0, 4.0),
        ("random", 1, 0, "b", 3, 0, 0.0, 1.0, 0.0, 0.0, 8.0),
        (BASELINE, 5, 0, "a", 1, 11, 20.0, 0.0, 0.8, 1.0, 1.0),
        (BASELINE, 5, 0, "b", 3, 31, 30.0, 0.0, 0.9, 1.0, 4.0),
    ]
    names = ["estimator", "size", "repeat", "layer", "units", "evaluations", "seconds", "game_seconds"]
    names += ["spearman", "overlap", "auc_loss"]
    return pd.DataFrame(
        [run | dict(zip(names, row, strict=True)) | {"aggregate": "mean", "split_half": 0.99} for row in measured]
    )


def test_summary_of_a_table_made_by_hand():
    summary = draw.summarise(by_hand()).set_index("estimator")
    found = summary.loc[SHARED]
    assert found[["layers", "evaluations", "seconds"]].tolist() == [2, 40, 5]
    assert found["faster"] == 10
    assert found["spearman"] == pytest.approx(0.8)
    assert found["spearman_min"] == pytest.approx(0.7)
    assert found["overlap"] == 0.75
    assert found["auc_loss"] == (1 * 2 + 3 * 4) / 4
    assert found["auc_std"] == pytest.approx(0.5 / 2**0.5)  # of (1 + 12) / 4 and (3 + 12) / 4
    assert found["of_random"] == pytest.approx(14 / 28)
    assert summary.loc[BASELINE, "faster"] == 1
    sentence = draw.at_equal_quality(summary.reset_index())
    assert sentence.startswith(f"{SHARED} 5 is 10.0 times faster than {BASELINE} with 5 orders")


def test_a_ratio_needs_the_baseline_at_all_layers():
    table = by_hand()
    summary = draw.summarise(table[(table["estimator"] != BASELINE) | (table["layer"] == "a")])
    assert summary.set_index("estimator").loc[[SHARED, "random"], "faster"].isna().all()
    assert draw.at_equal_quality(summary) == ""
    assert "| – |" in "\n".join(draw.markdown(summary))


def test_many_networks_share_a_figure():
    summary = draw.summarise(pd.concat([by_hand().assign(net=f"toy {number}") for number in range(6)]))
    assert len(draw.quality_against_cost(summary).axes) == 12


def test_files_are_written(case, tmp_path, monkeypatch):
    measure(case, tmp_path)
    write_table(tmp_path / "speed.csv", speed.COLUMNS, speed.measure(case, permutations=2, repeated=0.1))
    tables = [str(tmp_path / name) for name in ("quality.csv", "speed.csv")]
    monkeypatch.setattr("sys.argv", ["draw", *tables, "--out", str(tmp_path / "out")])
    draw.main()
    figures = ["quality_mean", "quality_mean+2std", "speed"]
    expected = {
        "quality.md",
        "quality_summary.csv",
        *(f"{name}.{suffix}" for name in figures for suffix in ("svg", "png")),
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert "| taylor | 1 | mean+2std | 2 |" in (tmp_path / "out" / "quality.md").read_text()


def test_branches_and_channels_are_compared_at_the_same_time(monkeypatch):
    model, x = randomise(SmallResNet()).eval(), images(20, (1, 8, 8))
    # A pass takes as long as it has multiply-accumulates, so what is chosen does not hang on this machine.
    monkeypatch.setattr(
        blocks, "time_share", lambda small, whole, x: (count_macs(small, x) / count_macs(whole, x), 1.0)
    )
    rows = list(blocks.compare(model, x, [1, 2]))
    assert [(row["branches"], row["what"], row["repair"]) for row, _ in rows] == [
        (count, what, repair) for count in (1, 2) for what in ("branches", "channels") for repair in REPAIRS_OF_BRANCHES
    ]
    for row, small in rows:
        assert len(removed_branches(small)) == row["branches"] * (row["what"] == "branches")
        limit = next(each["time_share"] for each, _ in rows if each["branches"] == row["branches"])
        assert 0.5 * limit < row["time_share"] <= limit

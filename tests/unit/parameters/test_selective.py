"""Fine-tuning of selected units: what trains, and that nothing else does."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.networks.builders import build
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import fit
from shapprune.parameters.selective import SelectedUnits, require_equal_counts, select_units
from tests.toys import ConvNetwork, images, labels, randomise

TOKENS = torch.randint(0, 7, (6, 5), generator=torch.Generator().manual_seed(0))


def tune(model: nn.Module, selection, **recipe) -> nn.Module:
    selected = SelectedUnits(model, selection)
    data = images(24), labels(24, 3)
    fit(selected, *data, *data, Recipe(**{"epochs": 2, "batch": 8, "lr": 0.1, **recipe}), progress=False)
    return selected.merged()


def test_the_highest_rows_are_selected_and_counted_by_hand():
    model = ConvNetwork()
    scores = {"features.4.weight": torch.tensor([3.0, -1, 5, 0, 4, 2]), "fc.weight": torch.arange(8.0).flip(0)}
    selection = select_units(model, scores, 0.5)
    axes_and_rows = {name: (axis, rows.tolist()) for name, (axis, rows) in selection.rows.items()}
    assert axes_and_rows["features.4.weight"] == (0, [0, 2, 4])
    assert axes_and_rows["fc.weight"] == axes_and_rows["fc.bias"] == (0, [0, 1, 2, 3])
    numbers = {name: each[0].numel() for name, each in model.named_parameters()}
    biases = [name for name in axes_and_rows if name.endswith("bias")]
    assert selection.trainable == 3 * numbers["features.4.weight"] + 4 * numbers["fc.weight"] + sum(
        len(axes_and_rows[name][1]) for name in biases
    )


def test_a_share_is_rounded_but_one_unit_trains_at_least():
    for share, expected in ((0.01, 1), (0.1, 1), (0.2, 1), (0.22, 2), (0.9, 6), (0.99, 7)):
        (_, rows) = select_units(nn.Linear(2, 7), {"weight": torch.arange(7.0)}, share).rows["weight"]
        assert rows.tolist() == list(range(7 - expected, 7))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_frozen_entries_are_handed_back_bit_for_bit(optimizer):
    """Momentum, moments and weight decay move every number that an optimizer knows."""
    model = randomise(ConvNetwork())
    before = copy.deepcopy(model.state_dict())
    selection = select_units(model, {"features.4.weight": torch.arange(6.0), "fc.weight": -torch.arange(8.0)}, 0.25)
    tuned = tune(model, selection, optimizer=optimizer, weight_decay=0.1)
    moved = 0
    for name, parameter in tuned.named_parameters():
        axis, rows = selection.rows.get(name, (0, torch.empty(0, dtype=torch.long)))
        same = (parameter == before[name]).movedim(axis, 0).reshape(parameter.shape[axis], -1)
        trains = torch.zeros(len(same), dtype=torch.bool).index_fill(0, rows, True)
        assert same[~trains].all()
        assert not same[trains].all(1).any()
        moved += int((~same).sum())
    assert 0.9 * selection.trainable < moved <= selection.trainable
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_any_scores_select_equally_many_parameters_of_a_transformer():
    model = build("char_gpt", shape=(5,), classes=7, width=8, depth=2, heads=2, head_dim=4, hidden=12)
    layers = {f"blocks.{block}.{layer}": units for block in (0, 1) for layer, units in (("attn", 2), ("fc1", 12))}
    counts = {}
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        scores = {layer: torch.rand(units, generator=generator) for layer, units in layers.items()}
        counts[f"draw {seed}"] = select_units(model, scores, 0.3, TOKENS).trainable
    require_equal_counts(counts)
    # A head has 4 queries, keys and values of 8 weights and a bias; 4 of 12 neurons have 8 weights and a bias each.
    assert set(counts.values()) == {2 * (3 * 4 * (8 + 1) + 4 * (8 + 1))}
    with pytest.raises(ShapPruneError, match="'draw 0' trains 288 parameters but 'full' 300, so they are not compared"):
        require_equal_counts(counts | {"full": 300})


def test_training_is_that_of_the_rows_alone():
    """One step of SGD moves selected rows as it does in the whole network."""
    model, selection = randomise(ConvNetwork()), None
    selection = select_units(model, {"fc.weight": torch.arange(8.0)}, 0.25)
    data, recipe = (images(10), labels(10, 3)), Recipe(epochs=1, batch=10, lr=0.1, momentum=0.0)
    whole = copy.deepcopy(model)
    fit(whole, *data, *data, recipe, progress=False)
    selected = SelectedUnits(model, selection)
    fit(selected, *data, *data, recipe, progress=False)
    torch.testing.assert_close(selected.merged().fc.weight[6:], whole.fc.weight[6:])


def test_a_shared_weight_stays_shared_and_trains_in_all_its_uses():
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    model[1].weight = model[0].weight
    selection = select_units(model, {"1.weight": torch.arange(4.0)}, 0.25)
    assert (list(selection.rows), selection.trainable) == (["0.weight"], 3)
    selected = SelectedUnits(model, selection)
    with torch.no_grad():
        selected.rows[0].zero_()
    tuned = selected.merged()
    assert tuned[0].weight is tuned[1].weight
    assert tuned[0].weight.any(1).tolist() == [True, True, True, False]
    torch.testing.assert_close(selected(torch.arange(4)), tuned(torch.arange(4)))


def test_a_training_that_was_cut_off_goes_on_and_parameters_learn_as_before(tmp_path, monkeypatch):
    from shapprune.networks import training

    model = randomise(ConvNetwork())
    model.fc.weight.requires_grad_(False)
    selection = select_units(model, {"fc.weight": torch.arange(8.0)}, 0.5)
    data, recipe = (images(24), labels(24, 3)), Recipe(epochs=3, batch=8, optimizer="adam")
    whole = SelectedUnits(model, selection)
    fit(whole, *data, *data, recipe, progress=False)
    train_epoch = training._Training.train_epoch
    for allowed in (2, 3):

        def some(self, bar, allowed=allowed):
            if len(self.rows) == allowed:
                raise InterruptedError
            return train_epoch(self, bar)

        monkeypatch.setattr(training._Training, "train_epoch", some)
        resumed = SelectedUnits(model, selection)
        try:
            fit(resumed, *data, *data, recipe, progress=False, checkpoint=tmp_path / "cut.pt")
        except InterruptedError:
            assert allowed == 2
    for one, other in pairwise([each.merged().fc.weight for each in (whole, resumed)]):
        assert torch.equal(one, other)
    assert [name for name, each in resumed.merged().named_parameters() if not each.requires_grad] == ["fc.weight"]


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ({"fc.weight": torch.zeros(8)}, {"share": 1.5}, "share 1.5 is not strictly between 0 and 1"),
        ({}, {}, "there are no scores to choose by"),
        ({"fc.weight": torch.zeros(7)}, {}, r"are \[7\], 8 finite numbers are needed"),
        ({"fc.bias": torch.zeros(8)}, {}, "unknown matrix 'fc.bias'"),
        ({"fcc": torch.zeros(8)}, {"example": images(2)}, "unknown layer 'fcc'; did you mean 'fc'?"),
    ],
)
def test_what_cannot_be_selected_is_refused(scores, options, message):
    with pytest.raises(ShapPruneError, match=message):
        select_units(ConvNetwork().eval(), scores, **options)


def test_whole_numbers_are_refused():
    model = nn.Linear(2, 4)
    model.weight = nn.Parameter(torch.ones(4, 2, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ShapPruneError, match=r"'weight' is torch.int8, only floating-point numbers have gradients"):
        select_units(model, {"weight": torch.arange(4.0)})

"""Recipes as plain data: checks and learning rates."""

from __future__ import annotations

import itertools

import pytest
import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.networks.recipe import Recipe, recipe_options
from shapprune.workflow.study.schema import resolve


def rates(steps: int = 10, **options) -> list[float]:
    recipe = Recipe(lr=1.0, **options)
    return [recipe.learning_rate(step, steps) for step in range(recipe.epochs * steps)]


def test_the_default_study_has_a_recipe():
    network = yaml.safe_load((ROOT / "config.yaml").read_text())["networks"]["lenet5"]
    recipe = Recipe.of(network["train"])
    assert recipe.epochs == network["train"]["epochs"]
    assert recipe.augment == tuple(network["train"]["augment"])


def test_every_field_is_an_option_of_the_configuration():
    assert (
        list(recipe_options())
        == list(Recipe.__dataclass_fields__)
        == list(resolve({"$ref": "#/$defs/recipe"})["properties"])
    )
    assert all(each.about for each in recipe_options().values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "option 'epochs' of a recipe is missing"),
        ({"epochs": 1, "learning_rate": 0.1}, "unknown option of a recipe 'learning_rate'"),
        ({"epochs": 1, "optimizer": "sdg"}, "option 'optimizer' of a recipe: 'sdg' is unknown; did you mean 'sgd'"),
        ({"epochs": 1, "schedule": "cosin"}, "did you mean 'cosine'"),
        ({"epochs": 1, "augment": ["flop"]}, "option 'augment' of a recipe: 'flop' is unknown; did you mean 'flip'"),
        ({"epochs": -1}, "'epochs' of a recipe: -1 is not at least 0"),
        ({"epochs": 1, "batch": 0}, "'batch' of a recipe: 0 is not at least 1"),
        ({"epochs": 1, "lr": 0}, "'lr' of a recipe: 0 is not above 0"),
        ({"epochs": 1, "momentum": 0, "nesterov": True}, "'nesterov' of a recipe: true needs a momentum above 0"),
        ({"epochs": 1, "label_smoothing": 1}, "'label_smoothing' of a recipe: 1 is not at least 0 and below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ShapPruneError, match=message):
        Recipe.of(options)


def test_a_constant_rate_after_a_warmup():
    assert rates(epochs=3) == [1.0] * 30
    assert rates(epochs=3, warmup=1) == pytest.approx([step / 10 for step in range(1, 11)] + [1.0] * 20)


def test_a_cosine_falls_to_zero():
    falling = rates(epochs=4, schedule="cosine")
    assert falling[0] == 1.0
    assert falling[20] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(falling))
    assert falling[-1] < 0.002  # sin(pi/80)^2
    warm = rates(epochs=4, schedule="cosine", warmup=2)
    assert max(warm) == warm[19] == warm[20] == 1.0
    assert warm[30] == pytest.approx(0.5)


def test_steps_after_milestones():
    stepped = rates(epochs=4, schedule="step", milestones=(1, 3), gamma=0.5)
    assert stepped == [1.0] * 10 + [0.5] * 20 + [0.25] * 10


def test_one_cycle_rises_and_falls():
    cycle = rates(epochs=10, schedule="onecycle")
    assert cycle[0] == pytest.approx(0.04)
    assert cycle[30] == max(cycle) == pytest.approx(1.0)
    assert cycle[-1] < 0.001  # sin(pi/140)^2

"""Recipes as plain data: checks and learning rates."""

from __future__ import annotations

import itertools

import pytest
import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.networks.recipe import AUGMENTATIONS, Recipe


def rates(steps: int = 10, **options) -> list[float]:
    recipe = Recipe(lr=1.0, **options)
    return [recipe.learning_rate(step, steps) for step in range(recipe.epochs * steps)]


def test_the_default_study_has_a_recipe():
    network = yaml.safe_load((ROOT / "config.yaml").read_text())["networks"]["lenet5"]
    recipe = Recipe.of(network["train"])
    assert recipe.epochs == network["train"]["epochs"]
    assert recipe.augment == tuple(network["train"]["augment"])


def test_defaults_are_those_of_the_schema():
    schema = yaml.safe_load((ROOT / "shapprune" / "workflow" / "study" / "config.schema.yaml").read_text())
    keys = schema["$defs"]["recipe"]["properties"]
    recipe = Recipe(epochs=1)
    for name, entry in keys.items():
        if "default" in entry:
            value = getattr(recipe, name)
            assert (list(value) if isinstance(value, tuple) else value) == entry["default"], name
    assert set(keys) == set(Recipe.__dataclass_fields__)
    assert tuple(keys["augment"]["items"]["enum"]) == AUGMENTATIONS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the key epochs"),
        ({"epochs": 1, "learning_rate": 0.1}, "unknown key of a recipe 'learning_rate'"),
        ({"epochs": 1, "optimizer": "sdg"}, "unknown optimizer 'sdg'; did you mean 'sgd'"),
        ({"epochs": 1, "schedule": "cosin"}, "did you mean 'cosine'"),
        ({"epochs": 1, "augment": ["flop"]}, "unknown augmentation 'flop'; did you mean 'flip'"),
        ({"epochs": -1}, "epochs of a recipe must be 0 or more, not -1"),
        ({"epochs": 1, "batch": 0}, "batch of a recipe must be 1 or more"),
        ({"epochs": 1, "lr": 0}, "lr of a recipe must be above 0"),
        ({"epochs": 1, "momentum": 0, "nesterov": True}, "nesterov of a recipe must be false where momentum is 0"),
        ({"epochs": 1, "label_smoothing": 1}, "label_smoothing of a recipe must be from 0 to below 1"),
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

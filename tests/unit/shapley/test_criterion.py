"""Declarations of criteria: the catalog reads them from the functions, and both check by the same bounds."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError
from shapprune.core.resolve import resolve_function
from shapprune.criteria.catalog import CATALOG, lookup
from shapprune.shapley.enumeration import MAX_UNITS
from tests.toys import ConvNetwork, images, labels, randomise

OPTIONS = [(name, option) for name, criterion in CATALOG.items() for option in criterion.options]
# Values that no option of a kind allows.
WRONG = {bool: 2, int: 1.5, float: "x", str: 3, list: 0.5, dict: []}


@pytest.fixture(scope="module")
def game() -> LayerGame:
    return LayerGame(randomise(ConvNetwork()), "features.4", images(3), labels(3))


def test_all_are_found_without_torch():
    code = "import sys; from shapprune.criteria.catalog import CATALOG; print('torch' in sys.modules, len(CATALOG))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["False", str(len(CATALOG))]
    assert {"random", "taylor", "exact", "permutation", "rescored"} <= set(CATALOG)


@pytest.mark.parametrize("name", CATALOG)
def test_a_criterion_is_described(name):
    criterion = CATALOG[name]
    assert criterion.about
    assert not criterion.about.endswith(".")
    assert all(option.about for option in criterion.options.values())
    assert criterion.shapley == criterion.function.startswith("shapprune.shapley.")


@pytest.mark.parametrize("name", CATALOG)
def test_defaults_are_those_of_the_function(name):
    signature = inspect.signature(resolve_function(CATALOG[name].function, "criterion"))
    for option, declared in CATALOG[name].options.items():
        default = signature.parameters[option].default
        assert declared.default == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_a_direct_call_refuses_what_a_configuration_refuses(name, option, game):
    declared = CATALOG[name].options[option]
    limits = declared.each or declared
    wrong = [WRONG[declared.kind]]
    wrong += [limits.minimum - 1] if limits.minimum is not None else []
    wrong += [limits.maximum + 1] if limits.maximum is not None else []
    wrong += [limits.above] if limits.above is not None else []
    wrong += [limits.below] if limits.below is not None else []
    wrong += ["nonsense"] if declared.choices else []
    for value in wrong if declared.each is None else [wrong[0], *([each] for each in wrong[1:])]:
        sentences = []
        for call in (
            lambda value: shapprune.score(game, name, **{option: value}),
            lambda value: resolve_function(CATALOG[name].function, "criterion")(game, **{option: value}),
        ):
            with pytest.raises(ShapPruneError) as error:
                call(value)
            sentences.append(str(error.value))
        assert sentences[0] == sentences[1]
        assert sentences[0].startswith(f"option {option!r} of {name}: ")


def test_widest_layer_of_enumeration():
    assert CATALOG["exact"].max_units == MAX_UNITS


def test_names():
    assert lookup("weight_norm") is CATALOG["weight-norm"]
    with pytest.raises(ShapPruneError, match="unknown criterion 'taylr'; did you mean 'taylor'"):
        lookup("taylr")


def test_positional_options_are_checked_too(game):
    with pytest.raises(ShapPruneError, match="option 'permutations' of permutation: 0 is not at least 1"):
        shapprune.shapley.permutation(game, 0)
    values = shapprune.shapley.permutation(game, 1, seed=3).values
    assert torch.equal(values, shapprune.score(game, "permutation", permutations=1, seed=3).values)

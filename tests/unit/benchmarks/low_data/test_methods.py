"""The named methods on small networks: all fit, and those of others choose what the others choose."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_pruning as tp

from benchmarks.low_data.accounting import Calibration, Started, Unseen, measure
from benchmarks.low_data.methods import METHODS
from benchmarks.low_data.torch_pruning import TorchPruning
from shapprune.core.resolve import resolve_function
from shapprune.graph.counting import count_macs
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

# One of each kind -> whether it looks at labels; the others differ in options alone. Distilling takes minutes.
KINDS = {
    "reconstruction": "no",
    "taylor": "yes",
    "torch-pruning taylor repaired": "yes",
    "torch-pruning hessian as it comes": "yes",
}


@pytest.mark.parametrize("name", KINDS)
def test_methods_fit_and_say_whether_they_look_at_labels(name):
    x, y = images(10), labels(10)
    given = Calibration(randomise(ConvNetwork()).eval(), x, y, draw=1)
    started = Started(resolve_function(METHODS[name].function, "method"), METHODS[name].options, given)
    assert started.labels == KINDS[name]
    found, right = measure(started, 0.5, given, Unseen(given.model, x, y))
    assert 0.2 < found["share"] <= 0.5
    assert len(right) == 10


def test_units_that_the_other_pruner_takes_are_taken():
    """What is left, without a repair, puts out what the other pruner's own network does."""
    model, x = randomise(ResidualNetwork()).eval(), images(30)
    small = TorchPruning(model, x, importance="magnitude", repair="none")(0.6)
    work = copy.deepcopy(model)
    pruner = tp.pruner.BasePruner(
        *(work, x[:2], tp.importance.GroupMagnitudeImportance()),
        global_pruning=True,
        pruning_ratio=0.99,
        iterative_steps=200,
        ignored_layers=[work.get_submodule(name) for name in ("stem", "conv2", "output")],
    )
    while count_macs(work, x) > 0.6 * count_macs(model, x):
        pruner.step()
    with torch.no_grad():
        torch.testing.assert_close(small(x), work(x), rtol=1e-5, atol=1e-6)  # the same sums in another order
        assert not torch.allclose(small(x), model(x), atol=1e-3)

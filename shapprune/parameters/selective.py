"""Fine-tuning of a network's units of the highest scores, while all other parameters are frozen.

A network whose selected rows train is a module like any other, and these rows are its only parameters that learn. So no
optimizer of `shapprune.networks.training.fit` reaches the others, nor does weight decay or momentum: they are handed
back bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from shapprune.core.errors import ShapPruneError
from shapprune.parameters.choice import first_names, floating_point
from shapprune.parameters.scored_parts import highest, scored_parts


@dataclass(frozen=True)
class Selection:
    """The rows of parameters that train.

    Attributes:
        rows: name of a parameter -> the axis along which its rows lie, and the rows that train, int [k], ascending.
        trainable: how many numbers these rows have; those of a shared parameter count once.
    """

    rows: Mapping[str, tuple[int, Tensor]]
    trainable: int


def select_units(
    model: nn.Module, scores: Mapping[str, Tensor], share: float = 0.1, example: Tensor | None = None
) -> Selection:
    """Select the highest share of the rows of every matrix, or of the units of every layer.

    As the same share is taken of each matrix, and all rows of a matrix are equally long, any scores of the same
    matrices or layers select equally many parameters; `require_equal_counts` verifies that.

    Args:
        model: the network; it is left as it is.
        scores: high = train; of equal ones the last are taken first. Without ``example`` a matrix -> a score for each
            of its rows, [rows], as `shapprune.parameters.pooling.pool_rows` makes them; with it a layer -> a score for
            each of its units, [n]. What trains of a row or unit is its row, or rows, of this layer, and its bias.
        share: of the rows or units of each, in (0, 1), rounded to the nearest number, but 1 at least.
        example: images or tokens, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: a share outside (0, 1), no scores, an unknown matrix or layer, not a finite score for each of
            its rows or units, units that cannot be followed, or parameters that are no floating-point numbers.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.selective import select_units
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> selection = select_units(model, {"0.weight": torch.tensor([3.0, 1.0, 4.0, 2.0])}, share=0.5)
        >>> selection.rows["0.weight"], selection.trainable  # two rows of two weights and a bias
        ((0, tensor([0, 2])), 6)

    Source: the selective fine-tuning of Chu et al. 2025, section 5, with rows of each matrix.
    """
    first = first_names(model)
    found: dict[str, tuple[int, Tensor]] = {}
    for parts, values in scored_parts(model, scores, share, example, scope="rows"):
        units = highest(values, share)
        for part in parts:
            name, places = first[part.name], part.places[units].flatten()
            axis, before = found.get(name, (part.axis, places))
            if axis != part.axis:
                raise ShapPruneError(f"units have rows and columns of {name!r}, of which only one can be selected")
            found[name] = axis, torch.cat([before, places]).unique()
    parameters = {name: floating_point(model, name) for name in found}
    trainable = sum(
        parameters[name].numel() // parameters[name].shape[axis] * len(places) for name, (axis, places) in found.items()
    )
    return Selection(found, trainable)


def require_equal_counts(trainable: Mapping[str, int]) -> None:
    """Refuse to compare methods that train different numbers of parameters.

    Args:
        trainable: name of a method -> how many parameters it trains.

    Raises:
        ShapPruneError: two numbers differ.

    Examples:
        >>> from shapprune.parameters.selective import require_equal_counts
        >>> require_equal_counts({"random": 60, "taylor": 60})
        >>> require_equal_counts({"random": 60, "taylor": 61})
        Traceback (most recent call last):
        shapprune.core.errors.ShapPruneError: 'random' trains 60 parameters but 'taylor' 61, so they are not compared
    """
    for name, count in trainable.items():
        one, expected = next(iter(trainable.items()))
        if count != expected:
            raise ShapPruneError(
                f"{one!r} trains {expected:,} parameters but {name!r} {count:,}, so they are not compared"
            )


class SelectedUnits(nn.Module):
    """A copy of a network of which only selected rows train.

    Statistics of BatchNorms are no parameters; they follow the data in training, as in a full fine-tuning.

    Args:
        model: the network; it is left as it is. A weight that is shared stays so.
        selection: the rows that train, whether the network's own parameters do or not.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.networks.recipe import Recipe
        >>> from shapprune.networks.training import fit
        >>> from shapprune.parameters.selective import SelectedUnits, select_units
        >>> model, data = nn.Linear(3, 2), (torch.randn(20, 3), torch.arange(20) % 2)
        >>> selected = SelectedUnits(model, select_units(model, {"weight": torch.tensor([0.0, 1.0])}, share=0.5))
        >>> rows = fit(selected, *data, *data, Recipe(epochs=2, weight_decay=0.1), progress=False)
        >>> (selected.merged().weight == model.weight).tolist()
        [[True, True, True], [False, False, False]]
    """

    def __init__(self, model: nn.Module, selection: Selection):
        super().__init__()
        self._learn = {name: each.requires_grad for name, each in model.named_parameters()}
        self.network = copy.deepcopy(model).requires_grad_(False)
        self._axes = {name: axis for name, (axis, _) in selection.rows.items()}
        self.rows = nn.ParameterList()
        for number, (name, (axis, places)) in enumerate(selection.rows.items()):
            parameter = self.network.get_parameter(name)
            self.register_buffer(f"places{number}", places.to(parameter.device))
            self.rows.append(nn.Parameter(parameter.detach().index_select(axis, places.to(parameter.device)).clone()))

    def forward(self, *inputs: Tensor) -> Any:
        """What the network puts out with its rows as they are now."""
        return functional_call(self.network, self._weights(), inputs)

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: self.network.get_parameter(name).index_copy(axis, self.get_buffer(f"places{number}"), rows)
            for number, ((name, axis), rows) in enumerate(zip(self._axes.items(), self.rows, strict=True))
        }

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """A copy of the network with its rows as they are now; its parameters learn as they did before."""
        network = copy.deepcopy(self.network)
        for name, weight in self._weights().items():
            network.get_parameter(name).copy_(weight)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self._learn[name])
        return network

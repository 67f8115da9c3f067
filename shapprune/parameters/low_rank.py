"""Low-rank adaptation (LoRA) of a network with about as many parameters as a selection of units has.

The adapters are those of the library peft, which is imported only here.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.core.operators import with_operators
from shapprune.graph.refusals import kind_of
from shapprune.networks.randomness import seeded


class LowRank(nn.Module):
    """A copy of a network, frozen, with low-rank matrices A and B that train beside the weights of some layers.

    A layer puts out W x + 2 B A x (a bias of the layer is frozen), where B is zero at first.

    Args:
        model: the network; it is left as it is.
        layers: names of linear layers, or of convolutions of two dimensions and one group.
        trainable: how many parameters should train. The rank, the same in all layers, is the one whose number is
            nearest, but 1 at least.
        seed: of the first matrices.

    Attributes:
        rank: of the matrices.
        trainable: how many parameters train.

    Raises:
        ShapPruneError: peft is not installed, no layers, or a layer of another kind.

    Source: Hu et al. 2022, "LoRA: low-rank adaptation of large language models" (https://arxiv.org/abs/2106.09685).
    """

    def __init__(self, model: nn.Module, layers: Iterable[str], trainable: int, seed: int = 0):
        super().__init__()
        peft = _import_peft()
        modules = {name: model.get_submodule(name) for name in dict.fromkeys(layers)}
        if not modules:
            raise ShapPruneError("low-rank adaptation needs one layer or more, but is given none")
        per_rank = sum(_numbers(name, module) for name, module in modules.items())
        self.rank = max(1, round(trainable / per_rank))
        self.trainable = self.rank * per_rank
        self._learn = {name: each.requires_grad for name, each in model.named_parameters()}
        config = peft.LoraConfig(r=self.rank, lora_alpha=2 * self.rank, target_modules=_exactly(modules))
        with seeded(seed):
            self.adapted = peft.get_peft_model(copy.deepcopy(model), config)

    def forward(self, *inputs: Tensor) -> Any:
        """What the adapted network puts out."""
        return self.adapted(*inputs)

    def merged(self) -> nn.Module:
        """A copy of the network with the products of the matrices added to its weights."""
        network: nn.Module = copy.deepcopy(self.adapted).merge_and_unload()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self._learn[name])
        return network


def _import_peft() -> Any:
    try:
        return with_operators(lambda: importlib.import_module("peft"))
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "peft"
        why = "is not installed; the extra lora has it" if missing else f"cannot be imported: {first_line(error)}"
        raise ShapPruneError(f"low-rank adaptation needs the package peft, which {why}") from error


def _exactly(modules: Iterable[str]) -> str:
    """A pattern for the names of these modules alone; given as a list, they would stand for all names that end so."""
    return "|".join(name.replace(".", r"\.") for name in modules)


def _numbers(name: str, module: nn.Module) -> int:
    """How many numbers matrices of rank 1 have beside a layer."""
    if not name:
        raise ShapPruneError("low-rank adaptation is of layers inside a network, but it is given the network itself")
    if type(module) is nn.Linear:
        return module.in_features + module.out_features
    if type(module) is nn.Conv2d and module.groups == 1:
        return module.weight[0].numel() + module.out_channels
    raise ShapPruneError(
        f"low-rank adaptation is of linear layers and convolutions of one group, but {name!r} is {kind_of(module)}"
    )

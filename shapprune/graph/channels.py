"""What depends on the channels and neurons of layers that put out [N, units, ...]; Torch-Pruning follows them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import node_shapes
from shapprune.graph.heads import trace_heads
from shapprune.graph.operations import LAYERS, Meaning, is_depthwise, meaning_of_function
from shapprune.graph.outputs import map_tensors, tensors_of
from shapprune.graph.parts import Dependent
from shapprune.graph.shapes import keeps_units
from shapprune.graph.tracing import bind
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision


class Channels:
    """What depends on which units in a network of convolutions and linear layers.

    Args:
        model: a network that Torch-Pruning can follow; it is left as it is.
        example: images, [N, ...], that it can run on.
        traced: the graph of the network, or of one that it is a copy of.

    Raises:
        ShapPruneError: Torch-Pruning cannot follow the network.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.channels import Channels
        >>> from shapprune.graph.tracing import trace
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
        >>> for each in Channels(model, torch.rand(1, 1, 4, 4), trace(model)).of("0"):
        ...     print(each.name, each.reads, each.places.tolist())
        0 False [[0], [1]]
        3 True [[0, 1, 2, 3], [4, 5, 6, 7]]
    """

    def __init__(self, model: nn.Module, example: Tensor, traced: fx.GraphModule):
        self._model = model
        self._names = {module: name for name, module in model.named_modules()}
        with self._followed():
            traced = bind(traced, model)  # it leaves out where a forward pass wants no gradients
            traced = trace_heads(model, traced, example) or traced
            self._graph = tp.DependencyGraph().build_dependency(
                model,
                example_inputs=example.clone(),
                forward_fn=lambda _, images: _Followed(traced, images).run(images),
            )

    def of(self, layer: str) -> list[Dependent]:
        """List the modules that depend on the units of a layer, the layer itself first."""
        module = self._model.get_submodule(layer)
        units = len(module.get_parameter("weight"))
        found: dict[tuple[str, bool], Dependent] = {}
        for item in self._group(module, list(range(units))).items:
            if (name := self._names.get(item.dep.target.module)) is None:
                continue  # an operation without a module
            module = item.dep.target.module
            reads = "in_channels" in item.dep.handler.__name__ and isinstance(module, LAYERS)
            reads = reads and not is_depthwise(module)
            order = torch.tensor(item.root_idxs).argsort(stable=True)
            places = torch.tensor(item.idxs)[order].reshape(len(set(item.root_idxs)), -1)
            found[name, reads] = Dependent(name, reads, places)
        return list(found.values())

    def remove(self, layer: str, units: list[int]) -> None:
        """Cut units of a layer, and all that depends on them, out of the network, in place."""
        with self._followed():
            self._group(self._model.get_submodule(layer), units).prune()

    def _group(self, module: nn.Module, units: list[int]) -> tp.dependency.Group:
        prune = tp.prune_linear_out_channels if isinstance(module, nn.Linear) else tp.prune_conv_out_channels
        return self._graph.get_pruning_group(module, prune, idxs=units)

    @contextmanager
    def _followed(self) -> Iterator[None]:
        """Let Torch-Pruning look at gradients of all parameters; those that did not learn do not afterwards."""
        model = self._model
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        with (
            mode(model, training=False),
            at_precision("fp32", next((each.device for each in model.parameters()), torch.device("cpu"))),
            torch.inference_mode(False),
            torch.enable_grad(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # it warns of parameters that no unit depends on
            try:
                _learn(model, lambda name: True)
                yield
            except ShapPruneError:
                raise
            except Exception as error:  # it raises whatever goes wrong inside it
                reason = f"Torch-Pruning cannot follow it ({type(error).__name__}: {error})"
                raise ShapPruneError(f"no units can be removed from {type(model).__name__}: {reason}") from error
            finally:
                _learn(model, lambda name: name not in frozen)


class _Followed(fx.Interpreter):
    """Runs a network so that Torch-Pruning follows units no further than is known what becomes of them.

    Where channels are shuffled or cut into chunks, for one, it would fail on the whole network. Such values are outputs
    to it, and what is made of them is new; no unit that reaches them is removed.
    """

    def __init__(self, traced: fx.GraphModule, images: Tensor):
        super().__init__(traced)
        self._shapes, _ = node_shapes(traced, images)
        self._ends: list[Tensor] = []

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if n.op not in ("call_function", "call_method") or not tensors_of(result) or self._is_known(n):
            return result
        self._ends += [value for each in n.all_input_nodes if isinstance(value := self.env[each], Tensor)]
        return map_tensors(torch.Tensor.detach, result)

    def _is_known(self, n: fx.Node) -> bool:
        meaning = meaning_of_function(n)
        return meaning is not Meaning.OTHER and keeps_units(n, meaning, self._shapes)

    def run(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        outputs = super().run(*args, **kwargs)
        return [each for each in (*tensors_of(outputs).values(), *self._ends) if each.requires_grad]


def _learn(model: nn.Module, learns: Callable[[str], bool]) -> None:
    """Say which parameters learn."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(learns(name))

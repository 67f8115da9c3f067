"""Heads that a network uses in training only, as auxiliary classifiers are."""

from __future__ import annotations

from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import node_shapes
from shapprune.graph.operations import LAYERS
from shapprune.graph.tracing import trace


def trace_heads(model: nn.Module, traced: fx.GraphModule, images: Tensor) -> fx.GraphModule | None:
    """Record the graph of a network as it runs in training mode, if layers run there that do not run in eval mode.

    Args:
        model: the network.
        traced: its graph in eval mode.
        images: [N, ...].

    Returns:
        The graph; None where there are no such heads, or none that torch.fx can trace and that run on the images.
    """
    called = _targets(traced)
    if all(name in called for name, module in model.named_modules() if isinstance(module, LAYERS)):
        return None
    try:
        wide = trace(model, training=True)
        if not called < _targets(wide):
            return None
        node_shapes(wide, images.clone())
    except ShapPruneError:
        return None
    return wide


def _targets(traced: fx.GraphModule) -> set[object]:
    return {node.target for node in traced.graph.nodes if node.op == "call_module"}

"""The beginning that networks share: what is the same in two of them is run once."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import Cut, cut_at, node_shapes
from shapprune.graph.tracing import trace
from shapprune.networks.batches import in_batches
from shapprune.networks.modes import mode

# Numbers that are kept for an image, in units of those of the image itself.
_KEPT = 4
_BATCH = 500


class SharedBeginning:
    """Runs networks that were made from one network by removing units, without running again what did not change.

    Args:
        model: the network that they were made from; it is left as it is.
        images: what all of them are run on, [N, ...].

    Examples:
        >>> import torch
        >>> from shapprune.graph.beginning import SharedBeginning
        >>> from shapprune.pruning.removal import remove_units
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 3), torch.nn.ReLU())
        >>> model.append(torch.nn.Linear(3, 2))  # doctest: +ELLIPSIS
        Sequential(...
        >>> images = torch.rand(5, 4)
        >>> small = remove_units(model, {"2": [1]}, images)
        >>> end, values = SharedBeginning(model, images).split(small)
        >>> values.shape, torch.equal(end(values), small(images))
        (torch.Size([5, 3]), True)
    """

    def __init__(self, model: nn.Module, images: Tensor):
        self._model, self._images = model, images
        self._device = next((each.device for each in model.parameters()), images.device)
        self._modules = dict(model.named_modules())
        try:
            self._traced: fx.GraphModule | None = trace(model, images[:2])
        except ShapPruneError:
            self._traced = None  # then nothing is shared
            return
        self._nodes = list(self._traced.graph.nodes)
        self._shapes, _ = node_shapes(self._traced, images[:2].clone().to(self._device))
        self._kept: dict[str, Tensor] = {}  # place -> the value there, the one used last at the end

    def split(self, small: nn.Module) -> tuple[nn.Module, Tensor]:
        """The end of a smaller network, and the values that enter it.

        Returns:
            A network and values [N, ...], on which it has the outputs of ``small`` on the images. They are ``small``
            and the images themselves where it shares no beginning, or none whose values are small enough to keep.
        """
        place = self._shared(small)
        if place is None:
            return small, self._images
        node, cut = place
        kept = self._kept.pop(node.name, None)
        self._kept[node.name] = self._run_to(node) if kept is None else kept
        while sum(value.numel() for value in self._kept.values()) > _KEPT * self._images.numel():
            del self._kept[next(iter(self._kept))]
        return cut.after, self._kept[node.name]

    @property
    def example(self) -> Tensor:
        """The first image, [1, ...], on the device of the network."""
        return self._images[:1].to(self._device)

    def _shared(self, small: nn.Module) -> tuple[fx.Node, Cut] | None:
        """The last value that both networks have, that alone decides the outputs, and the small network cut there."""
        if self._traced is None:
            return None
        traced = trace(small, self._images[:2])
        nodes, modules = list(traced.graph.nodes), dict(small.named_modules())
        if [node.name for node in nodes] != [node.name for node in self._nodes]:
            return None
        same = 0
        while same < len(nodes) and not self._differ(self._nodes[same], traced, modules):
            same += 1
        most = _KEPT * self._images[0].numel()
        for node, twin in zip(reversed(self._nodes[1:same]), reversed(nodes[1:same]), strict=True):
            if node in self._shapes and len(self._shapes[node]) > 1 and self._shapes[node][1:].numel() <= most:
                cut = cut_at(traced, twin)
                if cut.crossing == 0:
                    return node, cut
        return None

    def _differ(self, node: fx.Node, small: fx.GraphModule, modules: dict[str, nn.Module]) -> bool:
        if node.op == "get_attr":
            assert self._traced is not None
            owner, _, leaf = str(node.target).rpartition(".")
            one, other = ((getattr(each.get_submodule(owner), leaf),) for each in (self._traced, small))
        elif node.op == "call_module":
            name = str(node.target)
            one, other = (tuple(each[name].state_dict().values()) for each in (self._modules, modules))
        else:
            return node.op == "output"
        return any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))

    def _run_to(self, node: fx.Node) -> Tensor:
        assert self._traced is not None
        before = cut_at(self._traced, node).before
        with mode(self._model, training=False), torch.no_grad():
            return torch.cat([before(batch.to(self._device))[0] for batch in in_batches(self._images, _BATCH)])

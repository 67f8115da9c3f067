"""Tensors of a file under the names of a network, and loaded into it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, few

_Value = TypeVar("_Value")

# Keys under which programs keep weights beside other things, and names of a network in another; the first counts.
_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params")
# What compiling and parallel training put into names.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# What profilers and the averaging of weights count.
_COUNTERS = {"total_ops", "total_params", "n_averaged"}
# Files from before PyTorch 0.4.1 lack this counter. Only BatchNorms without a momentum use it.
BATCHES = "num_batches_tracked"


@dataclass(frozen=True)
class Naming:
    """How the names in a file follow from those of a network.

    Attributes:
        bare: leaves out of a name what compiling and parallel training put into it.
        prefix: what comes before the network's names, with its dot.
    """

    bare: Callable[[str], str]
    prefix: str

    @classmethod
    def find(cls, own: Collection[str], names: Collection[str], path: str | Path) -> Naming:
        """Find it for the names of a network's and a file's tensors; without a prefix where none makes them fit."""
        distinct = all(len({_bare(name) for name in each}) == len(each) for each in (own, names))
        bare = _bare if distinct else str
        needed = {bare(name) for name in own if not name.endswith(BATCHES)}
        counts = Counter(prefix for name in names for prefix in _prefixes(bare(name), needed))
        complete = [prefix for prefix, count in counts.items() if count == len(needed)]
        if "" in complete or not counts:
            return cls(bare, "")
        if not complete:
            return cls(bare, max(counts, key=lambda prefix: (counts[prefix], -len(prefix))))
        prefix = choose(complete)
        if prefix is None:
            several = few([each[:-1] for each in complete])
            raise ShapPruneError(f"{path} holds several such networks ({several}); save the weights of one alone")
        return cls(bare, prefix)

    def apply(self, own: Collection[str], found: Mapping[str, _Value]) -> dict[str, _Value]:
        """Name values as the network does; what has another prefix is left out, and so are counters of others."""
        names = {self.bare(name): name for name in own}
        inside = {f"{self.bare(name)}.": value for name, value in found.items()}
        rest = {
            whole.removeprefix(self.prefix)[:-1]: value
            for whole, value in inside.items()
            if whole.startswith(self.prefix)
        }
        return {
            names.get(name, name): value
            for name, value in rest.items()
            if name in names or name.rpartition(".")[2] not in _COUNTERS
        }


def name_as(model: nn.Module, found: Mapping[str, _Value], path: str | Path) -> dict[str, _Value]:
    """Name what a file has of tensors as a network names them.

    Where all names in the file begin alike, as with ``module.`` of parallel training or ``model.`` of a network within
    another, that beginning does not count, nor does what compiling and parallel training put between (``_orig_mod.``);
    what lies beside the network is left out, and so are counters of profilers.

    Args:
        model: the network.
        found: name in the file -> the tensor, its shape, or whatever belongs to it.
        path: the file, for the message.

    Raises:
        ShapPruneError: several networks in the file have these names.

    Examples:
        >>> from torch import nn
        >>> from shapprune.networks.state_dicts import name_as
        >>> name_as(nn.Linear(2, 1), {"module.net.weight": 1, "module.net.bias": 2, "loss.weight": 3}, "net.pth")
        {'weight': 1, 'bias': 2}
    """
    own = model.state_dict()
    return Naming.find(own, found, path).apply(own, found)


def fill(
    model: nn.Module, state: Mapping[str, Tensor], path: str | Path, versions: Mapping[str, Any] | None = None
) -> None:
    """Load tensors into a network.

    Args:
        model: the network; after an error part of it may be loaded.
        state: its tensors by its names.
        path: the file that they come from, for the message.
        versions: name of a module -> in which form its tensors were written; by default the form in which the
            network's own modules write them.

    Raises:
        ShapPruneError: there are other tensors than the network has; the first that differs is named.
    """
    complete = OrderedDict(state)
    own = getattr(model.state_dict(), "_metadata", {})
    complete._metadata = {**own, **(versions or {})}  # type: ignore[attr-defined]
    try:
        model.load_state_dict(complete)
    except RuntimeError as error:
        _refuse_mismatch(model, state, path)
        reason = str(error).strip().splitlines()[-1].strip()
        raise ShapPruneError(f"{path} cannot be loaded into {type(model).__name__}: {reason}") from error


def choose(keys: Sequence[str]) -> str | None:
    """The only key, or the only one of the first usual name."""
    for usual in _KEYS if len(keys) > 1 else ():
        if under := [key for key in keys if key.partition(".")[0] == usual]:
            return under[0] if len(under) == 1 else None
    return keys[0] if len(keys) == 1 else None


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(name: str, own: Collection[str]) -> Iterator[str]:
    """What comes before a network's names at the end of a name."""
    parts = name.split(".")
    for start in range(len(parts)):
        if ".".join(parts[start:]) in own:
            yield "".join(f"{part}." for part in parts[:start])


def _refuse_mismatch(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise unless a model and a file have the same tensors; name the first that differs."""
    own = model.state_dict()
    for name in [*own, *state]:
        if name not in state:
            raise ShapPruneError(f"{path} is of another architecture: it has no tensor {name}")
        if name not in own:
            raise ShapPruneError(f"{path} is of another architecture: the network has no tensor {name}")
        if own[name].shape != state[name].shape:
            raise ShapPruneError(
                f"{path} is of another architecture: {name} is {list(state[name].shape)} in the file, but"
                f" {list(own[name].shape)} in the network"
            )

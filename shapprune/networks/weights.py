"""Weights as others keep them: where they lie in a file, and under which names. No code from a file is run."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, few, first_line
from shapprune.networks.state_dicts import BATCHES, Naming, choose, fill


@dataclass(frozen=True)
class Weights:
    """Weights in a file.

    Attributes:
        tensors: name in the file -> tensor.
        versions: name of a module in the file -> in which form it wrote its tensors, as `torch.nn.Module.state_dict`
            notes it; empty where the file does not say.
        key: where in the file they lie; empty where the file holds nothing else.
        others: keys of other weights in the file.
    """

    tensors: Mapping[str, Tensor]
    versions: Mapping[str, Any]
    key: str
    others: Sequence[str]


class _Unread:
    """Stands for an object in a file whose class or function is not loaded: it takes all and does nothing."""

    def __init__(self, *_: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


def read_weights(path: str | Path) -> Weights:
    """Read the weights in a safetensors or PyTorch file (``.pth``, ``.th``, ``.pt``), without running code from it.

    They may lie in a dictionary beside optimizers, settings and whatever else; objects among that are not loaded. Of
    several weights those under a usual key are taken (``state_dict``, ``model``, ``net`` ...), so averaged ones only
    where there are no others.

    Raises:
        ShapPruneError: the file does not exist or holds no weights, or several and none under a usual key.
    """
    path = Path(path)
    if not path.is_file():
        raise ShapPruneError(f"there are no weights at {path}{', which is a folder' if path.is_dir() else ''}")
    try:
        content = _read(path)
    except OSError as error:
        raise ShapPruneError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # what the bytes of a file make an unpickler raise may be anything
        raise ShapPruneError(f"{path} cannot be read as weights: {_find_reason(path, error)}") from error
    found = dict(_weights_in(content))
    if not found:
        raise ShapPruneError(f"{path} does not hold weights, a dictionary of tensors, but {_describe(content)}")
    key = choose(list(found))
    if key is None:
        raise ShapPruneError(f"{path} holds several weights ({few(list(found))}); save those of one network alone")
    others = [each for each in found if each != key]
    return Weights(found[key], getattr(found[key], "_metadata", {}), key, others)


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a weights file (see `read_weights`) into a network, and put it into eval mode.

    Names may differ from the network's as `name_as` says.

    Raises:
        ShapPruneError: the file does not exist, does not hold weights, has other tensors than the network, or some of
            them hold numbers that are not finite.
    """
    weights = read_weights(path)
    own = model.state_dict()
    naming = Naming.find(own, weights.tensors, path)
    counters = {name: each for name, each in own.items() if name.endswith(BATCHES)}
    modules = [name for name, _ in model.named_modules(remove_duplicate=False)]
    fill(model, counters | naming.apply(own, weights.tensors), path, naming.apply(modules, weights.versions))
    learned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, each in model.state_dict().items():
        strange = ~each.isfinite() if name in learned else each.isnan()  # a mask may well hold infinite numbers
        if strange.any():
            raise ShapPruneError(f"{name} in {path} holds numbers that are not finite, so the network cannot work")
    return model.eval()


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        begins = file.read(9)
    if begins[8:] == b"{":  # the header of safetensors, behind its length
        return load_file(path)
    strangers = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
    filled: dict[str, type] = {}  # those that are filled as the lists or dictionaries that they derive from
    while True:
        stand_ins = [_stand_in(name, filled.get(name)) for name in strangers]
        try:
            return _load(path, stand_ins)
        except pickle.UnpicklingError as error:
            said = re.search(r"Can only (\w+) .* but got <class '(.+)'>", str(error))
            if said is None or said[2] in filled or said[2] not in strangers:
                raise
            filled[said[2]] = OrderedDict if "SETITEM" in said[1] else list


def _load(path: Path, stand_ins: Sequence[type]) -> Any:
    with (
        torch.serialization.safe_globals(list(stand_ins)),
        path.open("rb") as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # what torch warns of ends in an error, which is told
        return torch.load(file, map_location="cpu", weights_only=True)


def _stand_in(name: str, filled: type | None) -> type:
    """A class that torch takes for the class or function of that name.

    Args:
        name: with its module.
        filled: makes what is put in the place of its objects; by default they stay what they are, empty.
    """
    module, _, leaf = name.rpartition(".")
    content: dict[str, Any] = {"__module__": module}
    if filled is not None:
        content["__new__"] = lambda *_: filled()
    return type(leaf, (_Unread,), content)


def _find_reason(path: Path, error: Exception) -> str:
    """Say why a file cannot be read."""
    with path.open("rb") as file:
        begins = file.read(16)
    text = str(error).strip()
    said = re.search(r"WeightsUnpickler error:\s*(.+)|(Trying to .+)", text)  # behind what torch advises
    if not begins:
        return "it is empty"
    if "torchscript" in text.lower():
        return "it is a TorchScript archive; save the state_dict() of the network instead"
    cut_off = begins.startswith(b"PK") and not zipfile.is_zipfile(path)
    if cut_off or isinstance(error, EOFError | SafetensorError) or "unexpected EOF" in text:
        return "it is damaged, or was not written or copied to its end"
    if not begins.startswith((b"PK", b"\x80")):
        return f"it is no file of torch.save or safetensors, it begins with {begins!r}"
    if not isinstance(error, pickle.UnpicklingError):
        return f"torch says: {first_line(error)}"
    what = said[said.lastindex or 0].partition(". ")[0].removesuffix(".") if said else first_line(error)
    return f"there is more in it than is read without running code ({what}); torch.save the state_dict() alone"


def _weights_in(content: object, key: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Dictionaries of tensors, also in other dictionaries: their keys, and they themselves."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return
    if content and all(isinstance(each, Tensor) for each in content.values()):
        if any(each.dim() for each in content.values()):  # else they are counts or metrics
            yield key, content
        return
    for name, each in content.items():
        yield from _weights_in(each, f"{key}.{name}".lstrip("."))


def _describe(content: object) -> str:
    """What there is in a file, for the sentence that says that it is no weights."""
    if isinstance(content, Mapping):
        inside = [f"{key} ({_kind(each)})" for key, each in content.items() if not isinstance(each, Tensor)]
        what = f"a dictionary of {few(inside)}" if content else "an empty dictionary"
        objects = any(isinstance(each, _Unread) for each in content.values())
    else:
        what, objects = f"an object of {_kind(content)}", isinstance(content, _Unread)
    return f"{what}; objects could run code, so they are not loaded: save a state_dict()" if objects else what


def _kind(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")

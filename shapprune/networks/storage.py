"""Storage of networks, also of those that lost units: safetensors and a JSON manifest, no pickle."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import check_finite, checksum, whole, write_json
from shapprune.networks.biases import add_bias, added_biases
from shapprune.networks.fewer_heads import resize, resized
from shapprune.networks.resizing import fit
from shapprune.networks.stand_ins import StandIn, put_stand_in, stand_ins_of
from shapprune.networks.state_dicts import fill

_ENDING = ".safetensors"
_RESERVED = {"tensors", "sha256", "kept", "heads", "biases", "removed", "stand_ins"}


def save(model: nn.Module, path: str | Path, **facts: Any) -> None:
    """Write a network's parameters and buffers as safetensors, and a manifest beside them as ``.json``.

    The manifest of ``small.safetensors`` is ``small.json``, that of ``small-0.5`` is ``small-0.5.json``. It holds
    ``tensors`` (the shape of each), ``sha256`` of the safetensors file, ``kept`` (for each layer that lost units the
    original indices of the others, from ``model.kept_units``), where heads left ``heads`` (what counts them in
    each module, from ``model.resized``), where a repair gave layers a bias ``biases`` (their names, from
    ``model.added_biases``), where branches or blocks did ``removed`` (their names, from
    ``model.removed_branches``) and ``stand_ins`` (what stands in the place of their modules), and the facts.

    Args:
        model: the network.
        path: the safetensors file.
        facts: further entries of the manifest, as JSON can hold them.

    Raises:
        ValueError: a fact has the name of an entry of the manifest.
        ShapPruneError: the network has a state that is no tensor; another network has the same manifest, as ``small``
            and ``small.safetensors`` would; or a fact is not finite.

    Examples:
        >>> import json, pathlib, tempfile
        >>> from torch import nn
        >>> import shapprune
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "model.safetensors")
        ...     shapprune.save(nn.Linear(4, 2), path, trained_on="digits")
        ...     manifest = json.loads(path.with_suffix(".json").read_text())
        >>> manifest["tensors"], manifest["trained_on"]
        ({'weight': [2, 4], 'bias': [2]}, 'digits')
    """
    if taken := _RESERVED & facts.keys():
        raise ValueError(f"facts must not be named {', '.join(sorted(taken))}")
    found = model.state_dict()
    if strange := [name for name, each in found.items() if not isinstance(each, Tensor)]:
        raise ShapPruneError(
            f"{type(model).__name__} cannot be saved: {strange[0]!r} of its state_dict() is no tensor but a"
            f" {type(found[strange[0]]).__name__}"
        )
    kept = {layer: [int(unit) for unit in units] for layer, units in getattr(model, "kept_units", {}).items()}
    entries = {
        "kept": kept,
        **({"heads": resized(model)} if resized(model) else {}),
        **({"biases": added_biases(model)} if added_biases(model) else {}),
        **({"removed": model.removed_branches, "stand_ins": stand_ins_of(model)} if stand_ins_of(model) else {}),
    }
    write_tensors(path, found, facts | entries)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, and a manifest beside them with the facts, ``sha256`` and the shape of each.

    Args:
        path: the safetensors file.
        tensors: by name; those that share memory are written once each.
        facts: entries of the manifest, as JSON can hold them.

    Raises:
        ShapPruneError: another file has the same manifest, or a fact is not finite.
    """
    path = Path(path)
    manifest_path = manifest_of(path)
    other = path.with_suffix("") if path.suffix == _ENDING else path.with_name(path.name + _ENDING)
    if other.is_file():
        raise ShapPruneError(f"{path} and {other} would share the manifest {manifest_path}; choose another name")
    # Copies, because safetensors refuses tensors that share memory, such as tied weights.
    state = {name: each.detach().cpu().clone(memory_format=torch.contiguous_format) for name, each in tensors.items()}
    content = as_bytes(state)
    own = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "tensors": {name: list(each.shape) for name, each in state.items()},
    }
    check_finite(facts, manifest_path)
    with whole(path) as temporary:
        temporary.write_bytes(content)  # safetensors itself would make it readable by its owner only
    write_json(manifest_path, {**facts, **own})


def manifest_of(path: Path) -> Path:
    """The manifest beside a file of weights."""
    return path.with_suffix(".json") if path.suffix == _ENDING else path.with_name(f"{path.name}.json")


def load(path: str | Path, build: Callable[[], nn.Module]) -> nn.Module:
    """Load what `save` wrote.

    Args:
        path: the safetensors file; its manifest lies beside it.
        build: makes the original architecture. If the stored tensors are smaller, because units were removed, its
            layers are made smaller (`shapprune.networks.resizing.fit`); branches that were removed are left out.

    Returns:
        The network in eval mode, with ``kept_units`` and ``removed_branches`` as it was saved.

    Raises:
        ShapPruneError: a file is missing, was changed or belongs to another architecture.

    Examples:
        A network that lost units is loaded by the function that builds the original:

        >>> import tempfile
        >>> import torch
        >>> from torch import nn
        >>> import shapprune
        >>> def build():
        ...     return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> small = shapprune.remove_units(build(), {"0": [1, 2, 3, 5]}, torch.randn(2, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shapprune.save(small, f"{folder}/small.safetensors")
        ...     model = shapprune.load(f"{folder}/small.safetensors", build)
        >>> model[0], model.kept_units
        (Linear(in_features=4, out_features=4, bias=True), {'0': [0, 4, 6, 7]})
    """
    state, manifest = read_tensors(path, "shapprune.save", "kept")
    model = build()
    for name, attributes in manifest.get("heads", {}).items():
        resize(model, name, attributes)
    for place, facts in manifest.get("stand_ins", {}).items():
        if place not in dict(model.named_modules()):
            raise ShapPruneError(f"{path} is of another architecture: the network has no module {place}")
        put_stand_in(model, place, StandIn(**facts))
    for name in manifest.get("biases", []):
        add_bias(model, name)
    fit(model, state)
    fill(model, state, path)
    model.kept_units = manifest["kept"]  # type: ignore[assignment]
    model.removed_branches = manifest.get("removed", [])  # type: ignore[assignment]
    return model.eval()


def read_tensors(path: str | Path, writer: str, *needed: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors, and the manifest.

    Args:
        path: the safetensors file.
        writer: the function that writes such files, for messages.
        needed: entries that its manifest must have.

    Raises:
        ShapPruneError: a file is missing, was changed, or was written by another function.
    """
    path = Path(path)
    beside = manifest_of(path)
    if missing := [each for each in (path, beside) if not each.is_file()]:
        raise ShapPruneError(f"there is no file {missing[0]}; {writer} writes a network as {path} and {beside.name}")
    try:
        manifest = json.loads(beside.read_text())
        expected, *_ = (manifest[each] for each in ("sha256", *needed))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShapPruneError(f"{beside} is no manifest of {writer}, or is damaged ({error!r})") from error
    if (found := checksum(path, "sha256")) != expected:
        raise ShapPruneError(
            f"{path} was changed or damaged after it was saved: its SHA-256 is {found}, but {expected} in {beside.name}"
        )
    return load_file(path), manifest


def fetch_weights(url: str, sha256: str, folder: str | Path) -> Path:
    """Download a file into a folder, unless the folder has it, and return its path.

    Args:
        url: ``https://`` or ``http://``; its last part becomes the name of the file.
        sha256: the SHA-256 that the file must have.
        folder: made if missing.

    Raises:
        ShapPruneError: the download failed, or has another SHA-256; then no file is left.
    """
    parts = urllib.parse.urlsplit(url)
    path = Path(folder) / Path(parts.path).name
    if parts.scheme not in ("https", "http") or not Path(parts.path).name:
        raise ShapPruneError(f"weights can be downloaded from https:// or http:// and a file name, not from {url}")
    if path.is_file() and checksum(path, "sha256") == sha256.lower():
        return path
    with whole(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, temporary.open("wb") as file:  # noqa: S310 - checked above
                shutil.copyfileobj(answer, file)
        except (OSError, http.client.HTTPException) as error:
            raise ShapPruneError(f"{url} could not be downloaded ({error})") from error
        if (found := checksum(temporary, "sha256")) != sha256.lower():
            raise ShapPruneError(f"{url} was refused: its SHA-256 is {found}, not {sha256}")
    return path

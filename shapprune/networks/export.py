"""Export of networks to ONNX, with a comparison in onnxruntime."""

from __future__ import annotations

import copy
import importlib
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.core.files import whole

OPSET = 17  # of ONNX 1.12 (2022): every release of torch from 2.6 on writes it, and most runtimes read it
TOLERANCE = 1e-4  # between the outputs of the network and of the file, as a share of the largest output
INPUT, OUTPUT = "images", "outputs"
_LARGEST = 2**31  # bytes; beyond, ONNX needs several files


def export_onnx(model: nn.Module, path: str | Path, example: Tensor) -> None:
    """Write a network in eval mode as an ONNX file of opset 17.

    The input ``images`` and the output ``outputs`` have any number of images. The file is only put in place if
    onnxruntime computes the same from it, for the example and for one image more: outputs may differ by 1e-4 of the
    largest.

    Args:
        model: a network of one input and one output. Its mode, device and gradients are unchanged.
        path: the file.
        example: images, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: onnx or onnxruntime is not installed; the network cannot be exported or is larger than 2 GB; or
            the file computes something else.

    Examples:
        With the packages onnx and onnxruntime:

            shapprune.export_onnx(model, "small.onnx", images[:8])
    """
    path, name = Path(path), type(model).__name__
    runtime = require_onnx()
    network = copy.deepcopy(model).cpu().eval()  # a copy, so that the network stays on its device
    if (size := sum(each.numel() * each.element_size() for each in network.state_dict().values())) >= _LARGEST:
        raise ShapPruneError(f"{name} has {size:,} bytes of weights, and an ONNX file can hold less than {_LARGEST:,}")
    images = example.detach().cpu()
    with whole(path) as temporary:
        try:
            _write(network, temporary, images)
            difference = max(_difference(runtime, network, temporary, some) for some in (images, _one_more(images)))
        except Exception as error:  # exporter and runtime raise errors of many types
            raise ShapPruneError(f"{name} cannot be exported to ONNX: {first_line(error)}") from error
        if not difference <= TOLERANCE:
            raise ShapPruneError(
                f"{name} was not exported to {path}: in onnxruntime its outputs differ by {difference:.2g} of the"
                f" largest, more than {TOLERANCE:g}"
            )


def require_onnx() -> ModuleType:
    """Import onnxruntime.

    Raises:
        ShapPruneError: onnxruntime, or onnx, by which torch writes the files, is not installed.
    """
    try:
        importlib.import_module("onnx")
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ShapPruneError(f"export to ONNX needs the package {error.name}: pip install 'shapprune[onnx]'") from error


def _write(network: nn.Module, path: Path, images: Tensor) -> None:
    with warnings.catch_warnings():
        # torch warns that the TorchScript exporter is the older one. The newer needs a further package, and not every
        # release of torch lets it leave the number of images open.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )


def _difference(runtime: ModuleType, network: nn.Module, path: Path, images: Tensor) -> float:
    """The largest difference between the outputs of network and file, as a share of the largest output."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (outputs,) = session.run([OUTPUT], {INPUT: images.numpy()})
    with torch.inference_mode():
        expected = network(images)
    found = torch.from_numpy(outputs)
    if found.shape != expected.shape:
        raise ShapPruneError(f"the file puts out {list(found.shape)} for {list(images.shape)}")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny))


def _one_more(images: Tensor) -> Tensor:
    return torch.cat([images, images[:1]])

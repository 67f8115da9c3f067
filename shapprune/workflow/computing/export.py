"""ONNX files of networks that fit budgets."""

from __future__ import annotations

from typing import Any

import numpy as np

from shapprune.core.files import read_json
from shapprune.data.prepared import read_prepared, tensors
from shapprune.networks.builders import builder_of
from shapprune.networks.export import export_onnx
from shapprune.networks.storage import load
from shapprune.workflow.store.work import Work

_EXAMPLES = 4  # images on which the file is compared with the network


def keep_exported(job: Any, work: Work) -> None:
    """Write each network that is missing as an ONNX file, and keep it.

    Args:
        job: the ``snakemake`` object of its script: ``input`` has ``data``.
        work: has the tasks.

    Raises:
        ShapPruneError: onnx is not installed, or a network cannot be exported.
    """
    image_set = read_prepared(job.input.data)
    images, _ = tensors(image_set, "test", np.arange(_EXAMPLES))
    for label in list(work.missing):
        stem, path = work.consumed(label, "fitted"), work.path(label, ".onnx")
        network = read_json(f"{stem}.json")["network"]
        export_onnx(load(f"{stem}.safetensors", builder_of(network, image_set.info)), path, images)
        work.keep(label, {"file_bytes": path.stat().st_size}, {".onnx": path})

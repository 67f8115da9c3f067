"""Photographs of 50 kinds of birds, and the EfficientNet-Lite0 that is fine-tuned to tell them apart.

They are the first 50 of the 200 classes of CUB-200-2011 (Wah et al. 2011), 1,500 photographs for training and 1,389 for
testing by the official split, made smaller to 160 pixels on the short side. Results on them are not results on
CUB-200. `studies/ancona-figure3-birds.yaml` takes both from here; planning it imports no torch.
"""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from shapprune.core.errors import ShapPruneError
from shapprune.data.sets import searched_folders

if TYPE_CHECKING:
    from torch import nn

PHOTOGRAPHS = "cub50/cub200-2011-first50-160px.npz"
_SHA256 = "ab7a58e3f9dc67a88c45aae3d666f40a3c9f7b611d0c748232b33fe9e519935a"
WEIGHTS = Path("data/efficientnet-lite0-57934424.pth")
SIDE = 160
# Standard deviation of the training photographs' colours, which a data set of one's own is divided by.
STD = (0.2369, 0.2345, 0.2688)


def load_photographs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test photographs with their labels: the centre, uint8 [N, 3, 160, 160], and [N] from 0 to 49.

    Raises:
        ShapPruneError: the file is in none of the folders that are searched for data sets, or is another one.
    """
    folders = searched_folders()
    found = [path for folder in folders if (path := folder / PHOTOGRAPHS).is_file()]
    if not found:
        raise ShapPruneError(f"{PHOTOGRAPHS} is in none of {', '.join(map(str, folders))}; put it there")
    content = found[0].read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ShapPruneError(f"{found[0]} is not the file whose SHA-256 is {_SHA256}")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        blob, offset, labels, train = (stored[name] for name in ("blob", "offset", "label", "is_train"))
    files = (io.BytesIO(blob[start:end].tobytes()) for start, end in pairwise(offset))
    images = np.stack([_centre(Image.open(file)) for file in files])
    train, labels = train.astype(bool), labels.astype(np.int64)
    return images[train], labels[train], images[~train], labels[~train]


def _centre(photograph: Image.Image) -> np.ndarray:
    """The middle square of a photograph, [3, 160, 160]."""
    pixels = np.asarray(photograph.convert("RGB"))
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1))


def build(classes: int = 50) -> nn.Module:
    """EfficientNet-Lite0 with its public weights for ImageNet and a new last layer.

    The first convolution is scaled for images that are normalised by `STD` and not as TensorFlow does; what is left of
    the difference, a constant for each of its channels, the BatchNorm behind it learns.
    """
    import torch

    from shapprune.networks.builders import build as build_network
    from shapprune.networks.weights import load_weights

    pretrained = build_network("efficientnet_lite0", shape=(3, 224, 224), classes=1000)
    load_weights(pretrained, WEIGHTS)
    network = build_network("efficientnet_lite0", shape=(3, SIDE, SIDE), classes=classes)
    fresh = network.state_dict()
    network.load_state_dict(
        {
            name: weight if weight.shape == fresh[name].shape else fresh[name]
            for name, weight in pretrained.state_dict().items()
        }
    )
    with torch.no_grad():
        network.get_submodule("_conv_stem").get_parameter("weight").mul_(torch.tensor(STD)[:, None, None] * 255 / 128)
    return network

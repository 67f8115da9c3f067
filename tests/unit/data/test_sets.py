"""Image sets: named ones and one's own."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY
from shapprune.data import prepared, sources
from shapprune.data import sets as data


@pytest.fixture(scope="module")
def sample() -> prepared.ImageSet:
    return data.load("fashion-mnist-sample")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Loads the arrays it is given by way of a function in a module of the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def load(*arrays) -> prepared.ImageSet:
        monkeypatch.setattr(sys, "own_arrays", arrays, raising=False)
        (tmp_path / "own_data_module.py").write_text("import sys\ndef load():\n    return sys.own_arrays\n")
        return data.load_own("own_data_module:load", "mine")

    return load


def check_counts(image_set: prepared.ImageSet) -> None:
    info = image_set.info
    for images, labels, count in (
        (image_set.train_images, image_set.train_labels, info.train),
        (image_set.test_images, image_set.test_labels, info.test),
    ):
        assert images.shape == (count, *info.shape)
        assert images.dtype == np.uint8
        assert labels.shape == (count,)
        assert labels.dtype == np.int64
        assert set(np.unique(labels)) == set(range(info.classes))


def test_no_torch_is_imported():
    code = "import sys, shapprune.data.sets, shapprune.networks.builders, shapprune.networks.recipe;"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_the_sample_is_balanced(sample):
    check_counts(sample)
    assert set(np.bincount(sample.train_labels)) == {1200}
    assert set(np.bincount(sample.test_labels)) == {200}


def test_the_digits_are_split_by_class_and_span_the_bytes():
    digits = data.load("digits")
    check_counts(digits)
    assert set(np.bincount(digits.test_labels)) == {36}
    assert digits.train_images.max() == 255
    pixels = digits.train_images / 255
    assert digits.info.mean == pytest.approx((pixels.mean(),), abs=1e-4)
    assert digits.info.std == pytest.approx((pixels.std(),), abs=1e-4)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ShapPruneError, match="did you mean 'fashion-mnist'"):
        data.load("fashion_mnist")


def test_a_set_that_is_nowhere_is_refused_with_the_folder(tmp_path):
    with pytest.raises(ShapPruneError, match=f"mnist is not in {tmp_path}; .*SHAPPRUNE_DATA"):
        data.load("mnist", root=tmp_path, download=False)
    with pytest.raises(ShapPruneError, match=f"is not in {tmp_path}"):
        data.load("fashion-mnist-sample", root=tmp_path)


def test_a_set_that_nobody_offers_is_not_downloaded(tmp_path):
    with pytest.raises(ShapPruneError, match=f"imagenet-sample is not in {tmp_path}; .*SHAPPRUNE_DATA"):
        data.load("imagenet-sample", root=tmp_path)


def test_a_set_is_found_in_the_second_folder(tmp_path, monkeypatch, sample):
    arrays = sample.train_images, sample.train_labels, sample.test_images, sample.test_labels
    monkeypatch.setenv("SHAPPRUNE_DATA", str(tmp_path / "b"))
    monkeypatch.setattr(data, "REPOSITORY", tmp_path / "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "pyproject.toml").touch()
    asked = []
    monkeypatch.setattr(sources, "read", lambda name, folder: asked.append(folder) or (len(asked) == 2 and arrays))
    with pytest.raises(ShapPruneError, match=r"should be 60000 labelled images \[1, 28, 28\], not \[12000, 1"):
        data.load("fashion-mnist")
    assert asked == [tmp_path / "a" / "data" / "raw", tmp_path / "b"]


def test_a_damaged_sample_is_refused(tmp_path, sample):
    path = tmp_path / "fashion-mnist-sample.npz"
    content = bytearray((REPOSITORY / "data" / path.name).read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShapPruneError, match=f"{path} is damaged"):
        data.load("fashion-mnist-sample", root=tmp_path)
    changed = {name: getattr(sample, name) for name in prepared.ARRAYS} | {"test_labels": sample.test_labels[::-1]}
    np.savez(path, **changed)
    with pytest.raises(ShapPruneError, match=f"{path} is damaged; get it again with: git checkout"):
        data.load("fashion-mnist-sample", root=tmp_path)


def test_own_arrays_are_measured(own):
    images = np.zeros((4, 2, 2), np.uint8)
    images[:2] = 255
    mine = own(images, [0, 1, 0, 1], images[:2], np.array([1, 0], np.uint8))
    check_counts(mine)
    assert mine.info == prepared.DataInfo("mine", (1, 2, 2), 2, 4, 2, (0.5,), (0.5,))


def test_a_channel_of_one_value_is_only_shifted(own):
    mine = own(*2 * (np.full((2, 3, 2, 2), 51, np.uint8), [0, 1]))
    assert mine.info.mean == pytest.approx((0.2, 0.2, 0.2))
    assert mine.info.std == (1.0, 1.0, 1.0)


IMAGES = np.zeros((4, 1, 2, 2), np.uint8)


def test_two_pairs_are_four_arrays(own):
    pair = IMAGES, np.array([0, 1, 0, 1], np.uint8)
    for pairs in ((pair, pair), [pair, list(pair)], 2 * ((torch.from_numpy(IMAGES), torch.tensor([0, 1, 0, 1])),)):
        assert own(*pairs).info == prepared.DataInfo("mine", (1, 2, 2), 2, 4, 4, (0.0,), (1.0,))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("X", "--data of mine must return arrays or tensors, not a ndarray"),
        ("{'train': X}", "not a dict"),
        ("(TensorDataset(torch.tensor(X)), 1)", "must return arrays or tensors, not a TensorDataset"),
        ("([X[0], X[:, 0]], Y)", "returns what is no array: .*inhomogeneous"),
        ("open('gone.npz')", r"'data_module:load' failed in .*data_module.py, line 5, with FileNotFoundError: .*gone"),
    ],
)
def test_what_a_function_returns_instead_is_told(tmp_path, monkeypatch, result, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "data_module", raising=False)
    lines = ["import numpy as np, torch", "from torch.utils.data import TensorDataset"]
    lines += ["X, Y = np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, int)", "def load():", f"    return {result}"]
    (tmp_path / "data_module.py").write_text("\n".join(lines))
    with pytest.raises(ShapPruneError, match=message):
        data.own_arrays("data_module:load", "--data", "--data of mine")
    monkeypatch.delitem(sys.modules, "data_module")


def test_numbers_that_numpy_does_not_know_become_floats(monkeypatch):
    module = types.ModuleType("half_data")
    module.load = lambda: (torch.ones(2, 3).bfloat16().requires_grad_(), torch.tensor([0, 1], dtype=torch.int16))
    monkeypatch.setitem(sys.modules, "half_data", module)
    images, labels = data.own_arrays("half_data:load", "--data", "--data of mine")
    assert (images.dtype, labels.dtype) == (np.float32, np.int16)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((IMAGES, [0, 1, 0, 1]), "must return four arrays"),
        (
            (IMAGES / 255, [0, 1, 0, 1], IMAGES, [0, 1, 0, 1]),
            r"train_images must be uint8 .* not float64 \[4, 1, 2, 2\]",
        ),
        ((IMAGES, [0, 1, 0, 1], IMAGES[0, 0], [0, 1]), r"test_images must be uint8 .* not uint8 \[2, 2\]"),
        ((IMAGES, [0, 1, 0], IMAGES, [0, 1, 0, 1]), r"train_labels must be 4 integers, .* not int64 \[3\]"),
        ((IMAGES, [0, 1, 0, 1], IMAGES, [0.0, 1.0, 0.0, 1.0]), "test_labels must be 4 integers"),
        ((IMAGES, [0, 1, 0, 1], IMAGES[..., 1:], [0, 1, 0, 1]), r"are \[1, 2, 2\], but test images \[1, 2, 1\]"),
        ((IMAGES, [1, 2, 1, 2], IMAGES, [1, 2, 1, 2]), r"0 to classes - 1, each there, not \[1, 2\]"),
        ((IMAGES, [0, 1, 0, 1], IMAGES, [0, 1, 2, 1]), "test labels must be 0 to 1"),
    ],
)
def test_own_arrays_that_do_not_fit_are_refused(own, arrays, message):
    with pytest.raises(ShapPruneError, match=message):
        own(*arrays)

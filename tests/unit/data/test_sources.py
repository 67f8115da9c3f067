"""The public data sets as files: damage, absence, and the real ones."""

from __future__ import annotations

import gzip
import importlib.util

import numpy as np
import pytest
from PIL import Image

from shapprune.core.errors import ShapPruneError
from shapprune.data import sets as data
from shapprune.data import sources


def test_a_folder_without_the_files_holds_nothing(tmp_path):
    for name in ("mnist", "fashion-mnist", "cifar10", "imagenet-sample"):
        assert sources.read(name, tmp_path) is None


def test_a_packed_file_is_checked_by_its_sum(tmp_path):
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"no images"))
    with pytest.raises(ShapPruneError, match=f"{path} is damaged: its MD5 is"):
        sources.read("mnist", tmp_path)


def test_an_unpacked_file_is_checked_by_its_header_and_length(tmp_path):
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes([0, 0, 8, 3]) + np.array([60000, 28, 28], ">u4").tobytes() + bytes(28 * 28))
    with pytest.raises(ShapPruneError, match=f"{path} is damaged: it does not hold 60000 items"):
        sources.read("fashion-mnist", tmp_path)


def test_the_binary_cifar_is_checked_by_its_sums(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in sources._CIFAR_FILES:
        (folder / name).write_bytes(b"no images")
    with pytest.raises(ShapPruneError, match=f"{folder / 'data_batch_1.bin'} is damaged"):
        sources.read("cifar10", tmp_path)


def test_a_python_cifar_with_files_missing_is_refused(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(ShapPruneError, match="cifar-10-batches-py is damaged or not complete"):
        sources.read("cifar10", tmp_path)


def test_pictures_of_another_number_are_refused(tmp_path):
    for name in ("n01440764_tench", "n01443537_goldfish"):
        (tmp_path / "imagenet-sample" / name).mkdir(parents=True)
        Image.new("RGB", (256, 256)).save(tmp_path / "imagenet-sample" / name / "0.png")
    with pytest.raises(ShapPruneError, match=r"holds 2 pictures of 2 classes, not one of each of the 1,000 classes"):
        sources.read("imagenet-sample", tmp_path)


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    from shapprune.data.vision import torchvision

    def refuse(root, download):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)
    with pytest.raises(ShapPruneError, match=f"mnist could not be downloaded into {tmp_path} .no route to host"):
        data.load("mnist", root=tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_the_full_sets_have_their_shapes_and_means(name, data_folder):
    full = data.load(name, root=data_folder, download=False)
    assert full.train_images.shape == (full.info.train, *full.info.shape)
    assert full.test_images.shape == (full.info.test, *full.info.shape)
    assert set(np.bincount(full.test_labels)) == {1000} or name == "mnist"
    if name != "cifar10":  # which goes by the numbers of ImageNet
        pixels = full.train_images / 255
        assert full.info.mean == pytest.approx((pixels.mean(),), abs=1e-3)
        assert full.info.std == pytest.approx((pixels.std(),), abs=1e-3)


@pytest.mark.data
def test_the_pictures_are_one_a_class_in_two_halves(data_folder):
    pictures = data.load("imagenet-sample", root=data_folder, download=False)
    assert pictures.train_images.shape == pictures.test_images.shape == (500, 3, 224, 224)
    labels = np.concatenate([pictures.train_labels, pictures.test_labels])
    assert np.array_equal(np.sort(labels), np.arange(1000))
    files = sorted(data_folder.glob(f"imagenet-sample/*/{pictures.test_labels[0]:04}.*"))  # named by their labels
    expected = np.asarray(Image.open(files[0]).convert("RGB"))[16:240, 16:240].transpose(2, 0, 1)
    assert np.array_equal(pictures.test_images[0], expected)


@pytest.mark.data
def test_packed_and_unpacked_files_hold_the_same(data_folder, tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in sources._IDX_FILES:
        packed = data_folder / "FashionMNIST" / "raw" / f"{name}.gz"
        (raw / name).write_bytes(gzip.decompress(packed.read_bytes()))
    unpacked = sources.read("fashion-mnist", tmp_path)
    packed = sources.read("fashion-mnist", data_folder)
    assert all(np.array_equal(a, b) for a, b in zip(unpacked, packed, strict=True))


@pytest.mark.data
def test_the_sample_is_what_its_script_cuts(data_folder):
    spec = importlib.util.spec_from_file_location("make_sample", data.REPOSITORY / "data" / "make_sample.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    full = data.load("fashion-mnist", root=data_folder, download=False)
    sample = data.load("fashion-mnist-sample")
    rng = np.random.default_rng(script.SEED)
    train = script.choose(full.train_labels, script.TRAIN, rng)
    test = script.choose(full.test_labels, script.TEST, rng)
    assert np.array_equal(full.train_images[train], sample.train_images)
    assert np.array_equal(full.test_images[test], sample.test_images)
    assert np.array_equal(full.test_labels[test], sample.test_labels)

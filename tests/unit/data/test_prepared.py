"""What all stages read of a data set: splits, draws, prepared files and tensors."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.data import prepared


@pytest.fixture
def tiny() -> prepared.ImageSet:
    rng = np.random.default_rng(0)
    info = prepared.DataInfo("tiny", (2, 3, 4), 3, 6, 3, (0.5, 0.25), (0.5, 1.0))
    images = rng.integers(0, 256, (9, 2, 3, 4), dtype=np.uint8)
    labels = np.arange(9) % 3
    return prepared.ImageSet(info, images[:6], labels[:6], images[6:], labels[6:])


def test_splits_are_disjoint_sorted_whole_and_seeded():
    train, validation = prepared.splits(100, 30, seed=3)
    assert (len(train), len(validation)) == (70, 30)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(100))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(validation) > 0)
    assert np.array_equal(prepared.splits(100, 30, seed=3)[1], validation)
    assert not np.array_equal(prepared.splits(100, 30, seed=4)[1], validation)
    with pytest.raises(ShapPruneError, match="hold back 100 images for validation of 100"):
        prepared.splits(100, 100)


def test_draws_differ_by_trial_and_leave_the_rest():
    pool = np.arange(50, 100)
    first, second = (prepared.draw_images(pool, 10, trial) for trial in (0, 1))
    assert len(np.unique(first)) == 10
    assert np.isin(first, pool).all()
    assert not np.array_equal(first, second)
    assert np.array_equal(first, prepared.draw_images(pool, 10, 0))
    assert np.array_equal(np.sort(np.concatenate([first, prepared.rest(pool, first)])), pool)
    assert len(prepared.draw_images(pool, 50, 0)) == 50
    with pytest.raises(ShapPruneError, match="cannot draw 51 images from 50"):
        prepared.draw_images(pool, 51, 0)


def test_a_prepared_file_comes_back_equal(tiny, tmp_path):
    path = tmp_path / "new" / "tiny.npz"
    prepared.write_prepared(path, tiny)
    back = prepared.read_prepared(path)
    assert back.info == tiny.info
    for name in prepared.ARRAYS:
        assert np.array_equal(getattr(back, name), getattr(tiny, name))
    assert sorted(each.name for each in path.parent.iterdir()) == ["tiny.json", "tiny.npz"]
    before = path.read_bytes()
    prepared.write_prepared(path, tiny)
    assert path.read_bytes() == before


def test_a_damaged_prepared_file_is_refused(tiny, tmp_path):
    path, manifest = tmp_path / "tiny.npz", tmp_path / "tiny.json"
    with pytest.raises(ShapPruneError, match="does not exist"):
        prepared.read_prepared(path)
    prepared.write_prepared(path, tiny)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(ShapPruneError, match=f"{path} is damaged"):
        prepared.read_prepared(path)
    prepared.write_prepared(path, replace(tiny, test_labels=tiny.test_labels[::-1]))
    path.write_bytes(whole)
    with pytest.raises(ShapPruneError, match=r"does not hold the images that tiny\.json was written for"):
        prepared.read_prepared(path)
    manifest.write_text(json.dumps({"md5": "0", "name": "tiny"}))
    with pytest.raises(ShapPruneError, match=f"{manifest} is missing or damaged"):
        prepared.read_prepared(path)


def test_tensors_are_normalised_by_channel(tiny):
    torch = pytest.importorskip("torch")
    images, labels = prepared.tensors(tiny, "train", np.array([4, 1]))
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, 1]
    mean, std = np.array(tiny.info.mean)[:, None, None], np.array(tiny.info.std)[:, None, None]
    expected = (tiny.train_images[[4, 1]] / 255 - mean) / std
    assert np.allclose(images.numpy(), expected, atol=1e-6)  # a few units in the last place of float32
    assert len(prepared.tensors(tiny, "test")[0]) == 3
    with pytest.raises(ShapPruneError, match="unknown part of the data 'tset'"):
        prepared.tensors(tiny, "tset")

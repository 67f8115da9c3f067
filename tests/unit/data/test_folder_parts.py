"""Which folders are parts and not classes."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from shapprune.core.errors import ShapPruneError
from shapprune.data.folder_parts import find_parts
from shapprune.data.folders import open_folder


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            (root / file).mkdir(exist_ok=True)
        elif file.endswith(".png"):
            Image.new("L", (4, 6)).save(root / file)
        else:
            (root / file).touch()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("trainData", "valData"),
        ("train2017", "val2017"),
        ("train", "eval"),
        ("Train", "dev"),
        ("train", "Evaluation"),
        ("valid", "test"),
        ("traindata", "devset"),
    ],
)
def test_parts_are_known_by_a_word_of_their_name(tmp_path, first, second):
    for part in (first, second):
        make(tmp_path, f"{part}/b/0.png", f"{part}/a/0.png")
    one, other = open_folder(tmp_path)
    assert (one.root.name, other.root.name) == (first, second)
    assert one.classes == other.classes == ("a", "b")


@pytest.mark.parametrize(
    "beside",
    ["unlabeled/0.png", "test/0.png", "__MACOSX/train/a/._0.png", ".cache/x/0.png", "results/table.csv", "labels/"],
)
def test_what_lies_beside_parts_and_has_no_folders_of_images_is_left_out(tmp_path, beside):
    make(tmp_path, "train/a/0.png", "train/b/0.png", "val/b/0.png", beside)
    assert [part.root.name for part in open_folder(tmp_path)] == ["train", "val"]


def test_networks_among_images_are_neither_part_nor_class(tmp_path):
    make(tmp_path, "cat/0.png", "dog/0.png", "small/tradeoff.png", "small/macs-50-percent/model.safetensors")
    make(tmp_path, "smaller/model.safetensors", "smaller/seen/0.png", "@eaDir/cat/0.png")
    (part,) = open_folder(tmp_path)
    assert part.classes == ("cat", "dog")


@pytest.mark.parametrize("classes", [("train", "bus"), ("test_tube", "train_station"), ("protest", "contest")])
def test_classes_may_be_called_like_parts(tmp_path, classes):
    make(tmp_path, *(f"{name}/0.png" for name in classes))
    (part,) = open_folder(tmp_path)
    assert part.classes == tuple(sorted(classes))
    assert find_parts(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["train/a/0.png", "val/a/0.png", "fold/a/0.png"],
            "has train and val with folders of images, and .* fold with",
        ),
        (["Training/a/0.png", "bus/a/0.png"], "has Training with folders of images, and beside them bus"),
        (["train/a/0.png", "Training/a/0.png"], "has two parts for training, train and Training"),
        (
            ["train/0.png", "test/1.png"],
            r"has the parts test and train, but no folders of classes .*given, as in .*test",
        ),
        (["train/0.png"], "has the parts train, but no folders of classes"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, files, message):
    make(tmp_path, *files)
    with pytest.raises(ShapPruneError, match=re.escape(tmp_path.name) + f" {message}"):
        open_folder(tmp_path)

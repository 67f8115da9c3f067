"""Images in folders by class."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shapprune import ShapPruneError
from shapprune.data.folders import open_flat_folder, open_folder, open_more
from shapprune.data.vision import torchvision


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def grey(seed, size=(6, 4)):
    return np.random.default_rng(seed).integers(0, 256, size)


@pytest.fixture
def folder(tmp_path):
    for name, count in (("cat", 3), ("ant", 2)):
        for number in range(count):
            write(tmp_path / name / f"{number}.png", grey(number))
    write(tmp_path / "cat" / "deep" / "3.BMP", grey(3))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_classes_and_labels_are_those_of_torchvision(folder):
    (part,) = open_folder(folder)
    (folder / ".cache").rmdir()
    theirs = torchvision.datasets.ImageFolder(folder)
    assert list(part.classes) == theirs.classes == ["ant", "cat"]
    assert {str(file): label for file, label in zip(part.files, part.labels, strict=True)} == dict(theirs.samples)
    for place in range(len(theirs)):
        file, label = theirs.samples[place]
        (ours,) = part.read(np.array([[str(each) for each in part.files].index(file)]), 3, part.size())
        np.testing.assert_array_equal(ours, np.asarray(theirs[place][0]).transpose(2, 0, 1))
        assert theirs[place][1] == label


def test_only_what_is_asked_for_is_read(folder):
    (part,) = open_folder(folder)
    part.files[4].write_bytes(b"damaged")
    pixels = part.read(np.array([5, 0]), channels=1, size=(6, 4))
    assert pixels.shape == (2, 1, 6, 4)
    np.testing.assert_array_equal(pixels[1, 0], grey(0))
    with pytest.raises(ShapPruneError, match=f"{part.files[4].name} cannot be read as an image"):
        part.read(np.array([4]), channels=1, size=(6, 4))


@pytest.mark.parametrize("names", [("train", "val"), ("train", "test"), ("train", "test", "validation")])
def test_two_parts(tmp_path, names):
    for part in names:
        for name in ("b", "a"):
            write(tmp_path / part / name / "0.png", grey(0))
    (tmp_path / names[-1] / "a" / "0.png").unlink()  # a class without images in the second part keeps the labels
    first, second = open_folder(tmp_path)
    assert first.root.name == "train"
    assert second.root.name == names[-1]
    assert (first.labels.tolist(), second.labels.tolist()) == ([0, 1], [1])


def test_train_may_be_a_class(tmp_path):
    for name in ("train", "bus"):
        write(tmp_path / name / "0.png", grey(0))
    (part,) = open_folder(tmp_path)
    assert part.classes == ("bus", "train")


def test_resize_covers_and_crops(tmp_path):
    for name, size in (("a", (10, 30, 3)), ("b", (30, 10, 3))):
        write(tmp_path / name / "0.png", grey(0, size))
    (part,) = open_folder(tmp_path)
    pixels = part.read(np.array([0, 1]), 3, (5, 5), resize=True)
    transforms = torchvision.transforms
    for found, file in zip(pixels, part.files, strict=True):
        theirs = transforms.CenterCrop(5)(transforms.Resize(5)(Image.open(file)))
        np.testing.assert_allclose(found.transpose(1, 2, 0), np.asarray(theirs), atol=1)


def test_colours_and_greys_become_each_other(tmp_path):
    write(tmp_path / "a" / "0.png", grey(0))
    write(tmp_path / "b" / "0.png", np.full((6, 4, 4), (200, 200, 200, 7)))  # and alpha is dropped
    (part,) = open_folder(tmp_path)
    both = np.array([0, 1])
    np.testing.assert_array_equal(part.read(both, 3, (6, 4))[0], np.stack([grey(0)] * 3))
    assert (part.read(both, 1, (6, 4))[1] == 200).all()


def test_classes_that_are_known_keep_their_labels(folder, tmp_path):
    (part,) = open_folder(folder, ("bee", "cat", "ant"))
    assert part.classes == ("bee", "cat", "ant")
    assert part.labels.tolist() == [1] * 4 + [2] * 2
    write(tmp_path / "one" / "ant" / "0.png", grey(0))
    assert open_folder(tmp_path / "one", part.classes)[0].labels.tolist() == [2]
    with pytest.raises(ShapPruneError, match=r"has a class 'ant' that the network has not: its classes are bee, cat$"):
        open_folder(folder, ("bee", "cat"))


def test_links_and_names_beyond_ascii(folder, tmp_path):
    write(tmp_path / "apart" / "grün" / "bär 1.png", grey(7))
    write(tmp_path / "apart" / "9.png", grey(9))
    photos = tmp_path / "写真 d'été"
    (photos / "ärger").mkdir(parents=True)
    (photos / "ärger" / "linked").symlink_to(tmp_path / "apart" / "grün")
    (photos / "ärger" / "circle").symlink_to(photos / "ärger")
    (photos / "猫").symlink_to(folder / "cat")
    (photos / "猫" / "9.png").symlink_to(tmp_path / "apart" / "9.png")
    (photos / "猫" / "folder.png").mkdir()
    (part,) = open_folder(photos)
    assert part.classes == ("ärger", "猫")
    assert part.labels.tolist() == [0] + [1] * 5
    np.testing.assert_array_equal(part.read(np.array([0]), 1, (6, 4))[0, 0], grey(7))


@pytest.mark.parametrize(
    ("mode", "ending", "grey_is", "colour_is"),
    [
        ("RGBA", "png", 76, (255, 0, 0)),
        ("P", "png", 76, (255, 0, 0)),
        ("CMYK", "tif", 76, (255, 0, 0)),
        ("LA", "png", 76, (76, 76, 76)),
        ("1", "png", 0, (0, 0, 0)),
    ],
)
def test_files_of_other_modes_are_converted(tmp_path, mode, ending, grey_is, colour_is):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4), (255, 0, 0)).convert(mode, dither=Image.Dither.NONE).save(
            tmp_path / name / f"0.{ending}"
        )
    (part,) = open_folder(tmp_path)
    assert (part.read(np.array([0]), 1, (4, 4)) == grey_is).all()
    assert (part.read(np.array([1]), 3, (4, 4))[0] == np.reshape(colour_is, (3, 1, 1))).all()


def test_differing_sizes(folder):
    write(folder / "cat" / "2.png", grey(0, (5, 5)))
    (part,) = open_folder(folder)
    with pytest.raises(ShapPruneError, match=r"2\.png has 5 x 5 pixels, but .*0\.png 6 x 4; .*--size HEIGHT WIDTH"):
        part.read(np.arange(6), 1, part.size())


def test_images_of_16_bits_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / name / "0.png")
    with pytest.raises(ShapPruneError, match=r"0\.png has more than 8 bits a channel"):
        open_folder(tmp_path)[0].size()


def test_bad_folders(tmp_path):
    with pytest.raises(ShapPruneError, match="missing is not a folder"):
        open_folder(tmp_path / "missing")
    with pytest.raises(ShapPruneError, match=f"{tmp_path.name} holds no images"):
        open_folder(tmp_path)
    write(tmp_path / "0.png", grey(0))
    with pytest.raises(ShapPruneError, match="has 0 folders of classes, two or more are needed"):
        open_folder(tmp_path)
    (tmp_path / "0.png").unlink()
    write(tmp_path / "train" / "a" / "0.png", grey(0))
    with pytest.raises(ShapPruneError, match="train has 1 folders of classes"):
        open_folder(tmp_path)
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(ShapPruneError, match=r"b holds no images; they are known by \.bmp, "):
        open_folder(tmp_path)
    write(tmp_path / "train" / "b" / "0.png", grey(0))
    (tmp_path / "val").mkdir()
    with pytest.raises(ShapPruneError, match="val holds no images"):
        open_folder(tmp_path)
    write(tmp_path / "val" / "dog" / "0.png", grey(0))
    with pytest.raises(ShapPruneError, match=r"val has a class 'dog' that .*train has not"):
        open_folder(tmp_path)


def test_images_without_classes(tmp_path):
    assert open_flat_folder(tmp_path) is None
    for number in (2, 1):
        write(tmp_path / f"{number}.png", grey(number))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    part = open_flat_folder(tmp_path)
    assert [file.name for file in part.files] == ["1.png", "2.png"]
    np.testing.assert_array_equal(part.read(np.array([1]), 1, part.size())[0, 0], grey(2))
    (tmp_path / "class").mkdir()
    assert open_flat_folder(tmp_path) is None
    assert open_flat_folder(tmp_path / "missing") is None


def test_more_images_of_the_same_classes(folder, tmp_path):
    (part,) = open_folder(folder)
    write(tmp_path / "more" / "cat" / "0.png", grey(0))
    assert open_more(tmp_path / "more", part).labels.tolist() == [1]
    write(tmp_path / "more" / "dog" / "0.png", grey(0))
    with pytest.raises(ShapPruneError, match=r"more has a class 'dog' that .* has not"):
        open_more(tmp_path / "more", part)

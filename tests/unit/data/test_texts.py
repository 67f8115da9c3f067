"""Texts: read, cut into sequences, and refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import sys

import numpy as np
import pytest
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY
from shapprune.data.prepared import read_prepared, splits, tensors, write_prepared
from shapprune.data.sets import load, load_own
from shapprune.data.texts import characters_of, make_text_set, make_token_set, read_text

TEXT = "Was ihr wollt, ärgert euch.\r\n" * 20  # 580 characters, one of them of two bytes


def settings(source: object, length: int = 7) -> dict:
    return {"kind": "text", "source": str(source), "tokenizer": "characters", "length": length}


def test_a_label_is_what_follows_and_no_character_is_in_two_sequences():
    text_set = make_text_set(TEXT, "want", 7)
    known = characters_of(TEXT)
    assert text_set.info.shape == (7,)
    assert text_set.info.classes == len(known) == len(set(TEXT))
    for part, text in (("train", TEXT[:522]), ("test", TEXT[522:])):
        tokens, labels = getattr(text_set, f"{part}_images"), getattr(text_set, f"{part}_labels")
        assert tokens.shape == labels.shape == (len(text) // 8, 7)
        for place, (some, after) in enumerate(zip(tokens, labels, strict=True)):
            piece = text[8 * place : 8 * place + 8]
            assert "".join(known[each] for each in some) == piece[:-1]
            assert "".join(known[each] for each in after) == piece[1:]


def test_parts_have_no_sequence_in_common():
    text_set = make_text_set("".join(map(chr, range(300, 1300))), "all differ", 7)
    training, held = (set(text_set.train_images[some].flat) for some in splits(text_set.info.train, 20))
    assert not training & held
    assert not (training | held) & set(text_set.test_images.flat)
    assert text_set.train_images.dtype == np.uint16


def test_a_network_gets_tokens_as_they_are(tmp_path):
    text_set = make_text_set(TEXT, "want", 7)
    tokens, labels = tensors(text_set, "test", np.array([1, 0]))
    assert tokens.dtype == labels.dtype == torch.int64
    assert tokens.tolist() == text_set.test_images[[1, 0]].tolist()
    write_prepared(tmp_path / "want.npz", text_set)
    again = read_prepared(tmp_path / "want.npz")
    assert again.info == text_set.info
    assert np.array_equal(again.test_labels, text_set.test_labels)


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz"])
def test_files_may_be_packed(tmp_path, ending):
    path = tmp_path / f"want.txt{ending}"
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[ending]
    path.write_bytes(pack(TEXT.encode()))
    assert read_text(str(path), []) == TEXT
    assert load_own(settings(path), "want").info == make_text_set(TEXT, "want", 7).info
    path.write_bytes(pack(TEXT.encode())[: -9 if ending else None] + (b"" if ending else b"\xff"))
    with pytest.raises(ShapPruneError, match=r"want\.txt.* cannot be read|is no text in UTF-8: .* at byte 600"):
        read_text(str(path), [])


def test_the_text_that_comes_with_the_package():
    whole = load("tiny-shakespeare")
    assert (whole.info.train, whole.info.test, whole.info.classes) == (7781, 864, 65)
    known = characters_of(read_text("tiny-shakespeare", [REPOSITORY / "data"]))
    assert "".join(known[each] for each in whole.train_images[0]).startswith("First Citizen:\nBefore we proceed")
    assert load_own(settings("tiny-shakespeare", 20), "short").info.shape == (20,)


def test_a_text_of_that_name_elsewhere_must_be_that_text(tmp_path):
    with pytest.raises(ShapPruneError, match=f"tiny-shakespeare is not in {tmp_path}; it comes with the repository"):
        load("tiny-shakespeare", root=tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "tinyshakespeare.txt").write_text("To be or not to be")
    with pytest.raises(ShapPruneError, match=r"tinyshakespeare.txt is not tiny-shakespeare: its MD5 is [0-9a-f]{32}"):
        load("tiny-shakespeare", root=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 tokens in one of its parts are too few, a sequence of 7 takes 8"),
        ("a" * 70, "7 tokens in one of its parts are too few"),
    ],
)
def test_a_text_that_is_too_short_is_refused(text, message):
    with pytest.raises(ShapPruneError, match=f"text 'want': {message}"):
        make_text_set(text, "want", 7)
    assert make_text_set("a" * 80, "want", 7).info.test == 1


def test_a_function_returns_tokens(tmp_path, monkeypatch):
    (tmp_path / "own_tokens.py").write_text(
        "import numpy as np\n"
        "def streams():\n    return np.arange(40) % 9, np.arange(9)\n"
        "def pairs():\n    return [[1, 2], [3, 4]], [[-100, 5], [4, -100]], [[0, 1]], [[1, 2]]\n"
        "def images():\n    return np.zeros((4, 2, 2), np.uint8), [0, 1, 0, 1], *pairs()[:2]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    streams = load_own(settings("own_tokens:streams", 3), "mine")
    assert (streams.info.train, streams.info.test, streams.info.classes) == (10, 2, 9)
    assert streams.test_labels.tolist() == [[1, 2, 3], [5, 6, 7]]
    pairs = load_own(settings("own_tokens:pairs", 2), "mine")
    assert (pairs.info.shape, pairs.info.classes) == ((2,), 6)
    assert pairs.train_labels.tolist() == [[-100, 5], [4, -100]]
    with pytest.raises(ShapPruneError, match=r"'mine' \(own_tokens:images\): tokens must be whole numbers"):
        load_own(settings("own_tokens:images", 2), "mine")


TOKENS = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((TOKENS,), "must return two arrays of tokens or four with labels, not 1"),
        ((TOKENS, TOKENS), r"must be whole numbers, \[M\] for training .* not int64 \[3, 4\]"),
        ((TOKENS / 2, TOKENS, TOKENS, TOKENS), r"not float64 \[3, 4\]"),
        ((TOKENS, TOKENS[:2], TOKENS, TOKENS), r"train part: tokens and labels must be \[N, 4\], not \[3, 4\] and \[2"),
        (
            (TOKENS, TOKENS, TOKENS[:, :3], TOKENS[:, :3]),
            r"test part: tokens and labels must be \[N, 4\], not \[3, 3\]",
        ),
        ((TOKENS, TOKENS, TOKENS[:0], TOKENS[:0]), r"test part: tokens and labels must be .*, not \[0, 4\]"),
        ((TOKENS - 1, TOKENS, TOKENS, TOKENS), "train part: tokens are 0 and up, .*, not -1"),
        ((TOKENS, TOKENS, TOKENS, TOKENS - 3), "test part: .* and so are labels that are not -100, not -3"),
        ((TOKENS, TOKENS, TOKENS, TOKENS * 0 - 100), "test part: sequence 0 has no label that counts"),
        ((TOKENS.ravel(), TOKENS[0, :0]), "0 tokens in one of its parts are too few, a sequence of 4 takes 5"),
        ((TOKENS[0] - 1, TOKENS.ravel()), "4 tokens in one of its parts are too few"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(ShapPruneError, match=f"mine.*{message}"):
        make_token_set(arrays, "mine", 4, "mine")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ShapPruneError, match=re.escape(f"there is no text {tmp_path / 'gone.txt'}")):
        read_text(str(tmp_path / "gone.txt"), [])
    with pytest.raises(ShapPruneError, match=r"cannot be read: .*directory"):
        read_text(str(tmp_path), [])

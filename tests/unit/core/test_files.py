"""Files are whole or not there."""

from __future__ import annotations

import numpy as np
import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import checksum, read_json, whole, write_json


def test_a_file_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole(path) as temporary:
        temporary.write_text("abc")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "abc"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]
    assert checksum(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"


def test_after_an_error_the_old_file_stands_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), whole(path) as temporary:
        temporary.write_text("half \N{EURO SIGN}", encoding="ascii")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1.0, "loss": float("nan")}, "loss is nan"),
        ({"history": [{"loss": 1.0}, {"loss": float("inf")}]}, r"history\[1\].loss is inf"),
        ({"values": (0.5, np.float64("-inf"))}, r"values\[1\] is -inf"),
    ],
)
def test_json_holds_no_number_that_is_not_finite(tmp_path, content, message):
    path = tmp_path / "facts.json"
    write_json(path, {"loss": None, "nan": "nan"})
    with pytest.raises(ShapPruneError, match=f"facts.json: {message}, not a finite number"):
        write_json(path, content)
    assert read_json(path) == {"loss": None, "nan": "nan"}
    assert list(tmp_path.iterdir()) == [path]

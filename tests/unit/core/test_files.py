"""Files are whole or not there."""

from __future__ import annotations

import pytest

from shapprune.core.files import checksum, whole


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

"""Keys: which code counts, and how."""

from __future__ import annotations

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.store import keys
from shapprune.workflow.store.keys import Task, code_of, fingerprint, from_description

CODE = '''
"""A module."""
import os

LIMIT = 3


def twice(x: int) -> int:
    """Twice."""
    # a comment
    return 2 * x
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a comment", "# another", True),
        ('"""Twice."""', '"""Two times."""', True),
        ('    """Twice."""\n', "", True),
        ('"""A module."""\n', "", True),
        ("2 * x", "(2 * x)", True),
        ("2 * x", "(\n        2\n        * x\n    )", True),
        ("2 * x", "x * 2", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("LIMIT = 3", 'LIMIT = "3"', False),
        ("import os", "import sys", False),
        ("def twice", "def thrice", False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old, new, same, tmp_path):
    assert old in CODE
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(CODE)
    other.write_text(CODE.replace(old, new))
    assert (fingerprint(one) == fingerprint(other)) is same


def test_code_of_the_user_counts_with_what_it_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "mine"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts" / "__init__.py").write_text("")
    (package / "models.py").write_text("from .parts import blocks\nfrom mine.other import width\nimport torch\n")
    (package / "parts" / "blocks.py").write_text("from .. import far\nfrom . import models\n")
    (package / "parts" / "models.py").write_text("depth = 2\n")
    (package / "far.py").write_text("")
    (package / "other.py").write_text("width = 3\n")
    (package / "unused.py").write_text("")
    keys._module_file.cache_clear()
    found = code_of(ROOT / "scripts" / "plot.py", ("mine.models:build",))
    names = {name for name in found if not name.startswith(("scripts/", "shapprune/"))}
    assert names == {"mine/models.py", "mine/other.py", "mine/parts/blocks.py", "mine/far.py", "mine/parts/models.py"}
    for path in (package / "models.py", package / "parts" / "models.py"):  # of one name, and both count
        assert found[path.relative_to(tmp_path).as_posix()] == fingerprint(path)
    assert code_of(ROOT / "scripts" / "plot.py", ("not.there:build",)).keys() < found.keys()


def test_code_that_was_edited_since_is_refused(monkeypatch):
    unit = Task("measure_curves", {"images": 3})
    assert from_description(unit.describe()).key == unit.key
    told = unit.describe() | {"key": "0" * 32}
    with pytest.raises(ShapPruneError, match="the code of measure_curves was edited after the run had been planned"):
        from_description(told)


def test_a_package_beside_this_one_counts_with_what_it_imports_of_both():
    found = code_of(ROOT / "scripts" / "plot.py", ("benchmarks.draw:main",))
    assert {"benchmarks/draw.py", "benchmarks/draw_speed.py", "benchmarks/quality.py"} <= found.keys()
    assert "shapprune/graph/prunable.py" in found

"""Options: what a declaration says, and which values it allows."""

from __future__ import annotations

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.options import Option, descriptions, option, settle

WIDTHS = Option(list, None, each=Option(int, minimum=1), length=2)


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        ("bool", False, Option(bool, False)),
        ("int", 3, Option(int, 3, minimum=0)),
        ("Literal['a', 'b']", "a", Option(str, "a", choices=("a", "b"))),
        ("Sequence[float]", (), Option(list, [], each=Option(float, minimum=0))),
        ("tuple[Literal['a'], ...]", (), Option(list, [], each=Option(str, choices=("a",)))),
        ("Mapping[str, Any]", {}, Option(dict, {})),
        ("np.ndarray | None", None, None),
    ],
)
def test_a_declaration(annotation, default, expected):
    numbers = {"minimum": 0} if "int" in annotation or "float" in annotation else {}
    assert option(annotation, default, limits=numbers) == expected


@pytest.mark.parametrize(
    ("known", "value", "problem"),
    [
        (Option(int, minimum=1), 1, None),
        (Option(int, minimum=1), 0, "0 is not at least 1"),
        (Option(int), 1.0, "1.0 is not a whole number"),
        (Option(int), True, "True is not a whole number"),
        (Option(float, above=0, below=1), 1, "1 is not strictly between 0 and 1"),
        (Option(float, minimum=0, maximum=1), 2, "2 is not between 0 and 1"),
        (Option(float, above=0), float("nan"), "nan is not above 0"),
        (Option(bool), True, None),
        (Option(bool), 1, "1 is not true or false"),
        (Option(str, choices=("full", "empty")), "ful", "'ful' is unknown; did you mean 'full'? allowed: empty, full"),
        (Option(list, each=Option(float)), "ab", "'ab' is not a list"),
        (Option(list, each=Option(float)), (1, "b"), "'b' is not a number"),
        (WIDTHS, [1, 2], None),
        (WIDTHS, [1], "[1] is not a list of 2"),
        (WIDTHS, [1, 0], "0 is not at least 1"),
        (Option(dict), {}, None),
    ],
)
def test_a_value(known, value, problem):
    assert known.check(value) == problem


def test_what_is_allowed_in_words():
    assert WIDTHS.allowed == "a list of 2, each a whole number, at least 1"
    assert Option(str, choices=("a", "b")).allowed == "one of a, b"
    assert Option(float, above=0, maximum=1).allowed == "a number, above 0 and at most 1"


def test_descriptions_are_those_of_the_docstring():
    docstring = """What it does.

    Args:
        one: the first, which
            has two lines: here. More.
        two: ``code``.

    Returns:
        other: nothing.
    """
    assert descriptions(docstring, "Args") == {"one": "the first, which has two lines: here. More.", "two": "`code`."}
    assert descriptions(None, "Args") == {}


def test_values_are_checked_and_defaults_filled_in():
    options = {"size": Option(int, 1, minimum=1), "name": Option(str)}
    assert settle(options, {"name": "x"}, "a thing") == {"size": 1, "name": "x"}
    for given, problem in (
        ({}, "option 'name' of a thing is missing"),
        ({"name": "x", "size": 0}, "option 'size' of a thing: 0 is not at least 1"),
        ({"nam": "x"}, "unknown option of a thing 'nam'; did you mean 'name'"),
    ):
        with pytest.raises(ShapPruneError, match=problem):
            settle(options, given, "a thing")

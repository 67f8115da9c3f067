"""Options of criteria, recipes and architectures: their types, defaults and bounds, each stated once.

An option is declared where it is used: its type and default are those of a parameter or field, its description is the
one in the docstring, and its bounds stand beside them. `option` makes an `Option` of these.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from shapprune.core.errors import ShapPruneError, suggestion, unknown

# What a value of each type is called, and what counts as one.
TYPES: dict[type, tuple[str, type]] = {
    bool: ("true or false", bool),
    int: ("a whole number", Integral),
    float: ("a number", Real),
    str: ("text", str),
    list: ("a list", Sequence),
    dict: ("a mapping", Mapping),
}
_NAMES = {"bool": bool, "int": int, "float": float, "str": str, "Mapping": dict}


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        kind: its type, one of `TYPES`.
        default: its value where it is not given; `...` if it must be given.
        about: what it is for.
        choices: the texts that are allowed; any if empty.
        minimum: the least number that is allowed.
        maximum: the greatest number that is allowed.
        above: a number that it must exceed.
        below: a number that it must not reach.
        each: what the items of a list must be.
        length: the number of items that a list must have.
    """

    kind: type
    default: object = ...
    about: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    each: Option | None = None
    length: int | None = None

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        words = [TYPES[self.kind][0]]
        if self.choices:
            words = [f"one of {', '.join(self.choices)}"]
        elif limits := limits_in_words(self.minimum, self.maximum, self.above, self.below):
            words.append(limits)
        if self.length is not None:
            words[0] += f" of {self.length}"
        if self.each is not None:
            words.append(f"each {self.each.allowed}")
        return ", ".join(words)

    def check(self, value: object) -> str | None:
        """What is wrong with a value, as the end of a sentence, or None."""
        name, accepted = TYPES[self.kind]
        other = {bool: (), list: str}.get(self.kind, bool)  # Python counts True as a number and a text as a sequence
        if not isinstance(value, accepted) or isinstance(value, other):  # type: ignore[arg-type]
            return f"{value!r} is not {name}"
        if self.kind is list:
            return self._check_items(value)  # type: ignore[arg-type]
        if self.choices and value not in self.choices:
            return f"{value!r} is unknown{suggestion(value, self.choices)}"
        within = (
            (self.minimum is None or value >= self.minimum)  # type: ignore[operator]
            and (self.maximum is None or value <= self.maximum)  # type: ignore[operator]
            and (self.above is None or value > self.above)  # type: ignore[operator]
            and (self.below is None or value < self.below)  # type: ignore[operator]
        )
        limits = limits_in_words(self.minimum, self.maximum, self.above, self.below)
        return None if within else f"{value!r} is not {limits}"

    def _check_items(self, values: Sequence[object]) -> str | None:
        if self.length not in (None, len(values)):
            return f"{values!r} is not {TYPES[self.kind][0]} of {self.length}"
        if self.each is None:
            return None
        return next((problem for item in values if (problem := self.each.check(item))), None)


def limits_in_words(minimum: float | None, maximum: float | None, above: float | None, below: float | None) -> str:
    """The limits of a number in words; empty where there are none."""
    if minimum is not None and maximum is not None:
        return f"between {minimum} and {maximum}"
    if above is not None and below is not None:
        return f"strictly between {above} and {below}"
    limits = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    return " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)


def option(annotation: str, default: object = ..., about: str = "", limits: Mapping[str, Any] = {}) -> Option | None:
    """The option that a parameter or field declares.

    Args:
        annotation: its type as in the source: bool, int, float, str, Literal, Sequence, tuple or Mapping.
        default: its default.
        about: its description.
        limits: minimum, maximum, above and below; of a list, those of its items.

    Returns:
        The option, or None for any other type, of which a configuration cannot hold a value.
    """
    name, _, inner = annotation.partition("[")
    inner = inner.removesuffix("]")
    if name in ("Sequence", "tuple"):
        items = option(inner.removesuffix(", ..."), limits=limits)
        return Option(list, list(default) if isinstance(default, tuple) else default, about, each=items)
    if name == "Literal":
        return Option(str, default, about, choices=ast.literal_eval(f"({inner},)"))
    return Option(_NAMES[name], default, about, **limits) if name in _NAMES else None


def descriptions(docstring: str | None, heading: str) -> dict[str, str]:
    """What a docstring says of each name below a heading.

    Args:
        docstring: in Google's style.
        heading: ``Args`` or ``Attributes``.
    """
    section = re.search(rf"^{heading}:\n((?: +.*\n?|\n(?= ))*)", inspect.cleandoc(docstring or ""), re.MULTILINE)
    items = re.findall(r"^    (\w+): ((?:.|\n(?! {4}\w))*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.replace("``", "`").split()) for name, text in items}


def settle(options: Mapping[str, Option], given: Mapping[str, object], owner: str) -> dict[str, Any]:
    """Check the options that were given, and fill in the defaults of the others.

    Args:
        options: those that the owner has.
        given: values by name.
        owner: what has the options, as error messages name it.

    Raises:
        ShapPruneError: an option that the owner does not have, a value that is not allowed, or none where one is
            needed.
    """
    for name, value in given.items():
        if name not in options:
            raise unknown(f"option of {owner}", name, options or ["none"])
        if problem := options[name].check(value):
            raise ShapPruneError(f"option {name!r} of {owner}: {problem}")
    values = {name: given.get(name, each.default) for name, each in options.items()}
    for name, value in values.items():
        if value is ...:
            raise ShapPruneError(f"option {name!r} of {owner} is missing, and there is no default for it")
    return values

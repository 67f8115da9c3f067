"""The structure of a configuration: check it against ``config.schema.yaml`` and fill in the defaults.

jsonschema finds the mistakes. The sentences about them are made here, because a person who mistyped a key wants the key
and the nearest valid one, not the schema.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from shapprune.core.errors import suggestion
from shapprune.core.options import TYPES, Option, limits_in_words
from shapprune.core.strict_yaml import parse_yaml
from shapprune.networks.recipe import recipe_options

SCHEMA = Path(__file__).with_name("config.schema.yaml")

# Mappings whose keys are names of the user's own.
FREE_MAPS = (
    *("datasets", "networks", "criteria", "estimators.compared", "untrained.networks", "compress.sizes"),
    *("budgets.methods", "quantisation.methods", "selective_tuning.data"),
)

_TYPES = {list: "array", bool: "boolean", int: "integer", float: "number", dict: "object", str: "string"}
# Limits of an option -> of a rule.
_LIMITS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "above": "exclusiveMinimum",
    "below": "exclusiveMaximum",
}
_NAMES = {name: TYPES[kind][0] for kind, name in _TYPES.items()}

Problem = tuple[str, str]  # the dotted key of a mistake, and the rest of the sentence about it


@functools.cache
def schema() -> dict[str, Any]:
    """The schema of the configuration, with the rule of recipes."""
    content = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    options = recipe_options()
    content["$defs"]["recipe"] = {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, each in options.items() if each.default is ...],
        "properties": {name: _rule_of(each) for name, each in options.items()},
    }
    return content


def _rule_of(known: Option) -> dict[str, Any]:
    """An option as a rule of the schema."""
    rule: dict[str, Any] = {"type": _TYPES[known.kind]}
    rule |= {key: getattr(known, name) for name, key in _LIMITS.items() if getattr(known, name) is not None}
    rule |= {"description": known.about} if known.about else {}
    rule |= {"default": known.default} if known.default is not ... else {}
    rule |= {"enum": list(known.choices)} if known.choices else {}
    return rule | ({"uniqueItems": True, "items": _rule_of(known.each)} if known.each else {})


def check_structure(config: Mapping[str, Any]) -> tuple[list[Problem], dict[str, Any]]:
    """Check each key for itself, and fill in the schema's defaults.

    Returns:
        The mistakes, and a copy of the configuration with all defaults. The copy has no faulty values, so that rules
        about several keys can be checked in it. It may lack required keys.
    """
    problems = list(_check_plain(config))
    plain = json.loads(json.dumps(config, default=str, skipkeys=True))
    errors = list(_validator().iter_errors(plain))
    problems = join(problems, itertools.chain.from_iterable(map(_translate, errors)))
    return problems, _fill({"networks": {}, "criteria": {}} | _mend(plain, errors), schema())


def resolve(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the schema with its reference (``$ref``) replaced by what that refers to."""
    return schema()["$defs"][rule["$ref"].rpartition("/")[2]] | rule if "$ref" in rule else rule


def join(problems: list[Problem], more: Iterable[Problem]) -> list[Problem]:
    """Add problems, except of keys that have one already: further ones usually follow from the first."""
    faulty = {key for key, _ in problems}
    return problems + [problem for problem in dict.fromkeys(more) if problem[0] not in faulty]


def allowed(rule: Mapping[str, Any]) -> str:
    """What the schema of a single value allows, in words; empty if any value of its type."""
    if "enum" in rule:
        return ", ".join(rule["enum"])
    if "pattern" in rule:
        return rule["title"]
    return limits_in_words(*(rule.get(name) for name in _LIMITS.values()))


def show(value: object) -> str:
    """A value as messages quote it: in YAML's words, and shortened."""
    text = {"None": "an empty value", "True": "true", "False": "false"}.get(repr(value), repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


@functools.cache
def _validator() -> Any:
    # The standard accepts 3.0 as an integer, and Python's `$` accepts a line break before the end.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return validators.extend(Draft202012Validator, {"pattern": _match_pattern}, type_checker=types)(schema())


def _match_pattern(_: Any, pattern: str, value: object, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield ValidationError("no match")


def _check_plain(value: object, key: str = "") -> Iterator[Problem]:
    """Find what YAML can express and JSON cannot: keys that are not text, dates, infinities."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            inner = f"{key}.{name if isinstance(name, str) else json.dumps(name, default=str)}".lstrip(".")
            if not isinstance(name, str):
                yield inner, f"a key is text, not {show(name)}; put it in quotes"
            yield from _check_plain(item, inner)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _check_plain(item, f"{key}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield key, f"{value} is not a finite number"
    elif not isinstance(value, str | int | float | None):
        yield key, f"{value} is a {type(value).__name__}; put it in quotes if it is meant as text"


def _translate(error: ValidationError) -> Iterator[Problem]:
    """Word one error of jsonschema."""
    key, value, rule = _dotted(error.absolute_path), error.instance, error.validator_value
    names = error.schema.get("properties", {})
    strangers = [name for name in value if name not in names] if isinstance(value, dict) else []
    match error.validator:
        case "additionalProperties":
            for name in strangers:
                yield _dotted([key, name]), f"unknown key{suggestion(name, names)}"
        case "required":
            for name in rule:  # a misspelt one is reported as unknown
                if name not in value and not difflib.get_close_matches(name, strangers):
                    yield _dotted([key, name]), "missing, and there is no default for it"
        case "oneOf" if isinstance(value, dict):
            choices = [each["required"][0] for each in rule]
            either = f"give either {' or '.join(map(repr, choices))}"
            if any(name in value for name in choices):
                yield key, f"{either}, not both"
            elif not any(difflib.get_close_matches(name, strangers) for name in choices):
                yield key, either
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            yield key, f"{show(value)} is not {' or '.join(_NAMES[kind] for kind in kinds)}{_hint(value, kinds)}"
        case "enum" if isinstance(value, str):
            yield key, f"{show(value)} is unknown{suggestion(value, rule)}"
        case "pattern" if "propertyNames" in error.absolute_schema_path:
            yield _dotted([key, value]), f"{show(value)} is not {allowed(error.schema)}"
        case "pattern" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            yield key, f"{show(value)} is not {allowed(error.schema)}"
        case "uniqueItems":
            for index, item in enumerate(value):
                if item in value[:index]:
                    yield key, f"{show(item)} is there twice"
        case "minItems" | "minProperties" | "minLength":
            yield key, "is empty, but at least one entry is needed"
        case "maxProperties":
            yield key, f"has the entries {', '.join(value)}, but one is allowed"


def _dotted(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _hint(value: object, kinds: list[str]) -> str:
    """How to write a value that YAML reads as another type than was meant; empty if the type is right."""
    if value is None and kinds == ["object"]:
        return "; write {} for one without keys"
    try:
        meant = isinstance(value, str) and {"integer", "number"} & {*kinds} and math.isfinite(float(value))
    except ValueError:
        return ""
    return "; numbers are written without quotes, and as 0.001 or 1.0e-3, not as 1e-3" if meant else ""


def _mend(config: dict[str, Any], errors: Iterable[ValidationError]) -> dict[str, Any]:
    """Remove the faulty values, so that their defaults take their place."""
    config = deepcopy(config)
    for error in errors:
        path = list(itertools.takewhile(lambda part: isinstance(part, str), error.absolute_path))
        if error.validator == "additionalProperties":
            faulty = [[*path, name] for name in error.instance if name not in error.schema["properties"]]
        elif "propertyNames" in error.absolute_schema_path or error.validator in ("required", "oneOf", "minProperties"):
            faulty = []
        else:
            faulty = [path]
        for *parents, name in faulty:
            holder = functools.reduce(lambda each, parent: each.get(parent, {}), parents, config)
            holder.pop(name, None)
            if ".".join(parents) in FREE_MAPS:
                holder[name] = {}  # other keys may refer to it
    return config


def as_written(value: Any, rule: Mapping[str, Any], source: str) -> Any:
    """A copy of a value whose text is read as YAML, except where its rule allows nothing but text.

    Raises:
        ShapPruneError: it is not YAML; the sentence begins with the source.
    """
    rule = resolve(rule)
    if isinstance(value, Mapping):
        known, other = rule.get("properties", {}), rule.get("additionalProperties") or {}
        return {name: as_written(item, known.get(name, other), source) for name, item in value.items()}
    if isinstance(value, list):
        return [as_written(item, rule.get("items", {}), source) for item in value]
    return parse_yaml(value, source) if isinstance(value, str) and rule.get("type") != "string" else value


def _fill(value: Any, rule: Mapping[str, Any]) -> Any:
    """A copy of the value with its schema's defaults; values of type number become floats."""
    rule = resolve(rule)
    if isinstance(value, dict):
        known, other = rule.get("properties", {}), rule.get("additionalProperties", {})
        known = {name: resolve(each) for name, each in known.items()}
        absent = {name: each["default"] for name, each in known.items() if "default" in each and name not in value}
        return {name: _fill(item, known.get(name, other)) for name, item in (value | absent).items()}
    if isinstance(value, list):
        return [_fill(item, rule.get("items", {})) for item in value]
    return float(value) if rule.get("type") == "number" else value

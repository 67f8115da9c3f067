"""The configuration of a study: read it, check it and fill in the defaults.

`shapprune.workflow.study.schema` checks each key for itself. `shapprune.workflow.study.checks` checks keys against each
other and against data sets, networks and criteria. Nothing here imports torch, since every Snakemake process reads the
configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.strict_yaml import parse_yaml
from shapprune.criteria.catalog import check_options, lookup, options_of
from shapprune.workflow.stages.estimators import SETTINGS_KEYS
from shapprune.workflow.store import keys
from shapprune.workflow.study.checks import CHECKS
from shapprune.workflow.study.schema import as_written, check_structure, join, schema, show


class ConfigError(ShapPruneError):
    """All mistakes of a configuration.

    Attributes:
        problems: a sentence for each, which starts with the dotted key.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n  ".join([f"config: {len(self.problems)} mistakes", *self.problems])


def read(path: str | Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        ShapPruneError: the file does not exist, is not YAML, does not hold a mapping, or holds what
            `shapprune.core.strict_yaml.parse_yaml` refuses.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ShapPruneError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ShapPruneError(f"{path}: {error.reason}") from error
    content = parse_yaml(text, path)
    if not isinstance(content, dict):
        raise ShapPruneError(f"{path}, line 1: {show(content)} is not a mapping of keys to values")
    return content


def check_files(paths: Iterable[Path]) -> None:
    """Raise for what `read` refuses in YAML files that Snakemake has read by rules of its own.

    Raises:
        ShapPruneError: as `read`.
    """
    for path in paths:
        if path.suffix != ".json" and path.is_file():
            read(path)


def typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of ``--config 'section={key: 12}'``, all of which Snakemake takes for text, as YAML reads them.

    Where only text is allowed they stay text.
    """
    return {
        name: as_written(value, schema()["properties"].get(name, {}), f"--config {name}")
        for name, value in given.items()
    }


def validate(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration, and return a copy with all defaults, also those of the criteria's options.

    Raises:
        ConfigError: with every mistake that was found.
    """
    if config.get("tracking") is False:
        config = {**config, "tracking": "off"}  # YAML reads a bare `off` as false
    problems, full = check_structure(config)
    problems = join(problems, (problem for check in CHECKS for problem in check(full)))
    if problems:
        raise ConfigError(f"{key}: {text}" for key, text in problems)
    for name, settings in full["criteria"].items():
        method = settings.setdefault("method", name)
        settings.setdefault("trials", full["scoring"]["trials"] if lookup(method).random else 1)
        settings |= check_options(method, options_of(settings))
    for name, settings in full["estimators"]["compared"].items():
        method = settings.setdefault("method", name)
        options = {key: value for key, value in settings.items() if key not in SETTINGS_KEYS}
        settings |= check_options(method, options)
        for option in settings.get("over", {}):
            del settings[option]
    for name, settings in full["budgets"]["methods"].items():
        criterion = settings.setdefault("criterion", name)
        settings["options"] = check_options(criterion, settings["options"])
    for name, settings in full["quantisation"]["methods"].items():
        settings.setdefault("method", name)
    full["low_data"].setdefault("criteria", list(full["criteria"]))
    for key in ("ratios", "trials"):
        full["fine_tune"].setdefault(key, full["low_data"][key])
    return full


def digest(config: Mapping[str, Any]) -> str:
    """A digest of the configuration, 12 hexadecimal digits; the order of keys does not matter."""
    return keys.digest(config)[:12]

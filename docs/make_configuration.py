"""Write docs/configuration.md from the schema and the tables of architectures and data sets, and the table of all
criteria in docs/criteria.md from the catalog.

python docs/make_configuration.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shapprune.core.options import Option
from shapprune.criteria.catalog import CATALOG
from shapprune.data.sets import DATASETS
from shapprune.networks.tables import ARCHITECTURES, layer_table
from shapprune.workflow.study.schema import allowed, resolve, schema

PAGE = Path(__file__).with_name("configuration.md")
CRITERIA = Path(__file__).with_name("criteria.md")
BEGIN, END = "<!-- Made by docs/make_configuration.py from the criteria's declarations. -->\n", "<!-- End -->\n"

TYPES = {"array": "list", "boolean": "true or false", "object": "mapping"}

HEAD = """\
# Configuration

<!-- Made by docs/make_configuration.py; change shapprune/workflow/study/config.schema.yaml instead. -->

All keys of `config.yaml`, and of a study laid over it with `--configfile`. In a study, `networks`, `datasets` and
`criteria` replace those of `config.yaml`; where it has networks or criteria of its own, `estimators`, `fine_tune`,
`untrained`, `compress`, `budgets`, `deactivation`, `quantisation`, `selective_tuning` and `probe` of `config.yaml` do
not count, nor, where it has criteria, `low_data.criteria`; all other mappings are merged key by key. With `scale:
reduced` its section `reduced` is laid over all of it. `NAME` stands for a name of your own. A configuration is checked
before anything runs: unknown keys and values that are not allowed are refused, and, with the line, a key that is there
twice and numbers that YAML reads as others (`010`, `1:30`, `1_000`). Values can be given on the command line too:
`--config 'scoring={images: 12}'`.
"""


def page() -> str:
    """The text of docs/configuration.md."""
    sections, seen = [HEAD], dict[str, str]()
    for name, rule in schema()["properties"].items():
        required = name in schema()["required"]
        rows = _rows(name, rule, seen, required)
        table = _table(("key", "type", "default", "allowed", "description"), rows)
        sections.append(f"## {name}\n\n{table}")
    sections += [
        f"## Architectures\n\n{_table(('architecture', 'images', 'layers', 'options'), _architectures())}",
        f"## Data sets\n\n{_table(('data', 'image', 'classes', 'training images', 'test images'), _datasets())}",
        "## Methods of criteria\n\nThey and their options are listed in [criteria.md](criteria.md#all-criteria).\n",
    ]
    return "\n".join(sections)


def criteria_page() -> str:
    """The text of docs/criteria.md, with the table of the present catalog."""
    before, _, rest = CRITERIA.read_text(encoding="utf-8").partition(BEGIN)
    table = _table(("criterion", "score", "options"), _criteria())
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def _architectures() -> Iterator[tuple[str, ...]]:
    for name, architecture in ARCHITECTURES.items():
        images = "sequences of tokens" if architecture.tokens else architecture.image
        yield f"`{name}`", images, ", ".join(layer_table(name, {})), _options(architecture.options)


def _datasets() -> Iterator[tuple[str, ...]]:
    for name, info in DATASETS.items():
        size = f"{info.shape[0]} tokens" if info.tokens else " × ".join(map(str, info.shape))
        yield f"`{name}`", size, str(info.classes), str(info.train), str(info.test)


def _criteria() -> Iterator[tuple[str, ...]]:
    for name, criterion in CATALOG.items():
        yield f"`{name}`", criterion.about, _options(criterion.options)


def _options(options: Mapping[str, Option]) -> str:
    return "<br>".join(
        f"`{name}`: {each.about}; {each.allowed} (`{json.dumps(each.default)}`)" for name, each in options.items()
    )


def _rows(key: str, rule: Mapping[str, Any], seen: dict[str, str], required: bool = False) -> Iterator[tuple[str, ...]]:
    """A row for the key, and one for each key below it, but for keys that are those of another (`seen`)."""
    reference, rule = rule.get("$ref"), resolve(rule)
    items = resolve(rule.get("items", {}))
    kind = _kind(rule["type"], items.get("type"))
    default = "required" if required else f"`{json.dumps(rule['default'])}`" if rule.get("default", {}) != {} else ""
    below = {
        f"{key}.{name}": (each, name in rule.get("required", [])) for name, each in rule.get("properties", {}).items()
    }
    if isinstance(other := rule.get("additionalProperties"), dict):
        below[f"{key}.NAME"] = other, False
    like = seen.setdefault(reference, key) if reference and below else key
    told = "" if like == key else f" The keys are those of `{like}`."
    yield f"`{key}`", kind, default, allowed(items or rule), rule["description"] + told
    if like == key:
        for name, (each, needed) in below.items():
            yield from _rows(name, each, seen, needed)


def _kind(types: str | list[str], items: str | list[str] | None) -> str:
    """The types of a key, and of what a list of it holds, in words."""
    names = " or ".join(TYPES.get(each, each) for each in ([types] if isinstance(types, str) else types))
    if items is None:
        return names
    each = f"{items}s" if isinstance(items, str) else " or ".join(f"{one}s" for one in items)
    return names.replace("list", f"list of {each}")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CRITERIA.write_text(criteria_page(), encoding="utf-8")

"""YAML as people mean it: a key that is given twice, and numbers that YAML 1.1 reads as others, are refused."""

from __future__ import annotations

import re
from typing import Any

import yaml

from shapprune.core.errors import ShapPruneError

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
# As everyone reads them. YAML 1.1 also takes 010 for 8, 1:30 for 90 and 1_000 for 1000.
_NUMBERS = {
    _INT: re.compile(r"[-+]?(0|[1-9]\d*)"),
    _FLOAT: re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
}


class _Loader(yaml.SafeLoader):
    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.style is None and node.tag in _NUMBERS and not _NUMBERS[node.tag].fullmatch(node.value):
            number = self.construct_object(node)
            raise _problem(node, f"{node.value} is {number} to YAML; write {number}, or put it in quotes if it is text")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in lines:
                    raise _problem(key, f"the key {key.value!r} is there already, in line {lines[name]}")
                lines[name] = line
        return node


def parse_yaml(text: str, source: object) -> Any:
    """Read YAML.

    Args:
        text: the YAML.
        source: where it is from; sentences about mistakes begin with it.

    Raises:
        ShapPruneError: it is not YAML, a key is there twice, or a number is not written as people read it; with the
            line.

    Examples:
        >>> from shapprune.core.strict_yaml import parse_yaml
        >>> parse_yaml("images: 12", "study.yaml")
        {'images': 12}
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise ShapPruneError(f"{source}{f', line {mark.line + 1}' if mark else ''}: {reason}") from error


def _problem(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)

"""Keys: what the result of a task depends on, known before anything runs and without importing torch.

A task's key is a hash of its stage, the values it reads, the keys of the tasks it consumes and a fingerprint of its
code. A result is found by it again, wherever it was made and whatever was run in between.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY, repository_file

SCHEMA = 1  # raised when records of the store change their form

# Modules that plan, find, move or report results but do not make them: what they decide is in the other parts of a key.
# The catalog of criteria gives a key the options of a criterion and the function to follow.
_WITHOUT_EFFECT = tuple(
    f"shapprune.{name}."
    for name in (
        *("core", "gpu", "criteria.catalog"),
        *("workflow.jobs", "workflow.store", "workflow.stages", "workflow.study"),
    )
)


@dataclass(frozen=True)
class Task:
    """One result, which is made once and found again.

    Attributes:
        stage: what is done; the rule and the script of that name do it.
        parts: the values that the result depends on, as JSON can hold them; tasks that it consumes by their keys.
        functions: entry points of the code beside the script, as ``package.module:function``.
    """

    stage: str
    parts: Mapping[str, Any]
    functions: tuple[str, ...] = ()

    @cached_property
    def code(self) -> Mapping[str, str]:
        """The fingerprint of each file of its code."""
        return code_of(repository_file(f"scripts/{self.stage}.py"), self.functions)

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits."""
        return digest({"schema": SCHEMA, "stage": self.stage, "code": self.code, "parts": self.parts})

    def describe(self) -> dict[str, Any]:
        """What jobs and manifests know of the task."""
        return {"stage": self.stage, "key": self.key, "parts": self.parts, "functions": list(self.functions)}


def from_description(description: Mapping[str, Any]) -> Task:
    """The task that was described.

    Raises:
        ShapPruneError: its code has changed since.
    """
    task = Task(description["stage"], description["parts"], tuple(description["functions"]))
    if task.key != description["key"]:
        raise ShapPruneError(
            f"the code of {task.stage} was edited after the run had been planned; run again, so that results are kept"
            " under the keys of the code that made them"
        )
    return task


def digest(content: object) -> str:
    """32 hexadecimal digits of something JSON can hold; the order of its keys does not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def code_of(script: Path, functions: tuple[str, ...] = ()) -> Mapping[str, str]:
    """The fingerprint of every file that a script's result depends on.

    They are the script, the files of this package that it imports, at whatever depth, and those of the functions, with
    what they import from their own package and this one. Comments, docstrings and layout do not count; nor do the
    package's modules that only report, find and move results.

    Args:
        script: the file a job runs.
        functions: more entry points, as ``package.module:function``; one whose file cannot be found is left out.

    Returns:
        Path -> 12 hexadecimal digits; paths are relative to the repository, or to the folder of the user's own package.
    """
    waiting = [script, *filter(None, (_module_file(name.partition(":")[0]) for name in functions))]
    found: dict[Path, str] = {}
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = fingerprint(path)
            waiting.extend(_imports(path))
    names = {path.relative_to(_root(path)).as_posix(): value for path, value in found.items()}
    return dict(sorted(names.items()))


@cache
def fingerprint(path: Path) -> str:
    """12 hexadecimal digits that change with what the code of a file does."""
    return hashlib.sha256("\n".join(_outline(_parse(path), [])).encode()).hexdigest()[:12]


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def _outline(node: ast.AST, lines: list[str]) -> list[str]:
    """Append a syntax tree, without docstrings and places; what is empty is left out, as Python versions differ."""
    lines.append(type(node).__name__)
    for name, value in ast.iter_fields(node):
        if name in ("type_comment", "type_ignores", "kind"):
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)):  # a docstring or the like
                    lines.append(f"{name}(")
                    _outline(one, lines)
                    lines.append(")")
            elif one is not None:
                lines.append(f"{name}={one!r}")
    return lines


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """The files of a file's own top-level package, and of this one, that it imports, but for type checking.

    A package names for type checking what it loads when that is first used, so of an ``__init__`` these count.
    """
    within = path.relative_to(_root(path))
    own = ("shapprune", within.with_suffix("").parts[0])
    package = within.parent.parts
    files = []
    for level, module, names in _imported(_parse(path), path.name == "__init__.py"):
        base = [*package[: len(package) + 1 - level], *filter(None, [module])] if level else [str(module)]
        if base[0].partition(".")[0] in own:
            for name in [".".join([*base, each]) for each in names] or [".".join(base)]:
                file = _module_file(name) or _module_file(".".join(base))
                module_name = name if _module_file(name) else ".".join(base)
                if file and not f"{module_name}.".startswith(_WITHOUT_EFFECT):
                    files.append(file)
    return tuple(files)


def _root(path: Path) -> Path:
    """The repository, or the folder that the top-level package of a file lies in."""
    if path.is_relative_to(REPOSITORY):
        return REPOSITORY
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _imported(node: ast.AST, for_types: bool) -> Iterator[tuple[int, str | None, list[str]]]:
    """Of each import: the level of a relative one, the module, and the names taken from it."""
    for child in ast.iter_child_nodes(node):
        if not for_types and isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import):
            yield from ((0, alias.name, []) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.level, child.module, [alias.name for alias in child.names]
        elif not isinstance(child, ast.expr):  # nothing is imported within an expression
            yield from _imported(child, for_types)


@cache
def _module_file(name: str) -> Path | None:
    """The source file of a module, found without importing it."""
    parts = name.split(".")
    for folder in (REPOSITORY, Path.cwd(), *map(Path, sys.path)):
        for path in (folder.joinpath(*parts, "__init__.py"), folder.joinpath(*parts).with_suffix(".py")):
            if path.is_file():
                return path.resolve()
    return None

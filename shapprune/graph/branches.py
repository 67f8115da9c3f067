"""The residual branches of a network: what is added to a shortcut, and can be skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from torch import fx, nn

from shapprune.graph.exporting import scope_of
from shapprune.graph.operations import LAYERS, Meaning, meaning_of_function, meaning_of_module, name_of, works_in_place
from shapprune.graph.unit_graph import UnitGraph

_ADDITIONS = ("add", "iadd", "add_")
# What hands on the numbers that it is given.
SAME = ("to", "contiguous", "clone", "detach")
_VIEWS = (
    *("view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "permute"),
    *(
        "transpose",
        "t",
        "movedim",
        "select",
        "slice",
        "narrow",
        "getitem",
        "chunk",
        "split",
        "unbind",
        "detach",
        "alias",
    ),
)
# What a shortcut may do to a value so that the sizes fit: nothing that bends it.
_PROJECTS = (Meaning.MIXES, Meaning.NORM, Meaning.POOLING, Meaning.DEPTHWISE)


@dataclass(frozen=True)
class Branch:
    """A residual branch of a network's graph.

    Attributes:
        name: the path of the module that has its layers.
        addition: where it is added to its shortcut.
        shortcut: the value it is added to; the addition hands it on where the branch is skipped.
        value: what the branch puts out.
        own: the operations of the branch alone, which need not run where it is skipped.
        begin: the first of them that images go through.
    """

    name: str
    addition: fx.Node
    shortcut: fx.Node
    value: fx.Node
    own: frozenset[fx.Node]
    begin: fx.Node


def find_branches(graph: UnitGraph) -> list[Branch]:
    """Find the residual branches of a network, in the order they begin.

    Of the two values of an addition, one is the shortcut: the other is made of it, or of the value that it is a
    projection of, as by the convolution of a shortcut that halves the size. What only the other one needs is the
    branch, if it has parameters.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.branches import find_branches
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> class Residual(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        ...     def forward(self, x):
        ...         return x + self.two(self.one(x).relu())
        >>> [each.name for each in find_branches(UnitGraph(nn.Sequential(Residual(), Residual()), torch.rand(2, 4)))]
        ['0', '1']
    """
    return _Search(graph).run()


def left_out(graph: UnitGraph, branches: Iterable[Branch]) -> frozenset[fx.Node]:
    """Find the operations that nothing needs where branches are skipped.

    An operation that changes, in place, a value that is used elsewhere is needed.
    """
    shortcut_of = {each.addition: each.shortcut for each in branches}
    return _unneeded(graph, shortcut_of)


def _unneeded(graph: UnitGraph, shortcut_of: Mapping[fx.Node, fx.Node]) -> frozenset[fx.Node]:
    needed: set[fx.Node] = set()
    while True:
        found: set[fx.Node] = set()
        for node in reversed(graph.traced.graph.nodes):
            if node.op in ("placeholder", "output") or node in needed:
                continue
            if all(user in found or shortcut_of.get(user, node) is not node for user in node.users):
                found.add(node)
        changing = {node for node in found if works_in_place(node, graph.modules) and _changed_by(node) not in found}
        if not changing:
            return frozenset(found)
        needed |= changing


def _changed_by(node: fx.Node) -> object:
    """The value that an operation changes in place, or of which it changes a view."""
    changed = node.args[0] if node.args else None
    while isinstance(changed, fx.Node) and name_of(changed) in _VIEWS:
        changed = changed.args[0]
    return changed


class _Search:
    """A search for the branches of a network."""

    def __init__(self, graph: UnitGraph):
        self._graph = graph
        # Each node is a bit; what a value is made of, itself among it, is a number with these bits.
        self._bit: dict[fx.Node, int] = {}
        self._made_of: dict[fx.Node, int] = {}
        self._images = 0
        for place, node in enumerate(graph.traced.graph.nodes):
            self._bit[node] = 1 << place
            self._made_of[node] = self._bit[node]
            for each in node.all_input_nodes:
                self._made_of[node] |= self._made_of[each]
            if node.op == "placeholder":
                self._images |= self._bit[node]
        self._shortcut_of: dict[fx.Node, fx.Node] = {}

    def run(self) -> list[Branch]:
        found: list[Branch] = []
        for node in self._graph.traced.graph.nodes:
            branch = self._branch_of(node)
            if branch is not None:
                self._shortcut_of[node] = branch.shortcut
                found += [branch] if self._with_parameters(branch.own) else []
        found.sort(key=lambda branch: (self._bit[branch.begin], -len(branch.own)))
        names = self._name(found)
        return [replace(branch, name=name) for branch, name in zip(found, names, strict=True)]

    def _branch_of(self, node: fx.Node) -> Branch | None:
        """The branch that an operation adds to its shortcut, still without a name, or None."""
        operands = [each for each in node.args if isinstance(each, fx.Node) and self._made_of[each] & self._images]
        if not is_addition(node) or len(set(operands)) != 2:
            return None
        for is_shortcut in (self._continues, self._is_projection):
            fitting = [pair for pair in (operands, operands[::-1]) if is_shortcut(node, *pair)]
            if len(fitting) == 1:
                return self._branch(node, *fitting[0])
        return None

    def _branch(self, node: fx.Node, shortcut: fx.Node, value: fx.Node) -> Branch | None:
        shape, own = self._graph.shapes.get(node), _unneeded(self._graph, {node: shortcut})
        begin = next((each for each in self._bit if each in own and self._made_of[each] & self._images), None)
        if begin is None or shape is None or self._graph.shapes.get(shortcut) != shape:
            return None
        return Branch("", node, shortcut, value, own, begin)

    def _continues(self, node: fx.Node, one: fx.Node, other: fx.Node) -> bool:
        """Whether the other value is made of one, or of that to which branches were added to make one."""
        while not self._bit[one] & self._made_of[other]:
            if one not in self._shortcut_of:
                return False
            one = self._shortcut_of[one]
        return True

    def _is_projection(self, node: fx.Node, one: fx.Node, other: fx.Node) -> bool:
        """Whether one value is a projection of another, and all that the other value is made of it is for this sum."""
        source = one
        while not self._bit[source] & self._made_of[other]:
            inputs = [each for each in source.all_input_nodes if self._made_of[each] & self._images]
            if len(inputs) != 1 or not self._is_straight(source):
                return False
            (source,) = inputs
        way = {each for each in self._bit if self._bit[each] & self._made_of[other] and each is not source}
        way = {each for each in way if self._bit[source] & self._made_of[each]}
        return way <= _unneeded(self._graph, {node: one})

    def _is_straight(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            module = self._graph.modules[str(node.target)]
            return isinstance(module, LAYERS) or meaning_of_module(module) in _PROJECTS
        return name_of(node) in ("getitem", "slice", *SAME) or meaning_of_function(node) in _PROJECTS

    def _with_parameters(self, nodes: Collection[fx.Node]) -> list[fx.Node]:
        """Those operations that have parameters, in the order they run."""
        return [each for each in self._bit if each in nodes and parameters_of(self._graph, each)]

    def _name(self, branches: Sequence[Branch]) -> list[str]:
        """Name branches by the module that has all their layers, or by the first layer where that has several."""
        layers = [self._layers(branch) for branch in branches]
        names = [common_path(paths) for paths in layers]
        several = Counter(names)
        for place, paths in enumerate(layers):
            if not names[place] or several[names[place]] > 1:
                names[place] = next(filter(None, paths), "branch")
        seen: Counter[str] = Counter()
        for place, name in enumerate(names):
            seen[name] += 1
            if seen[name] > 1:
                names[place] = f"{name}:{seen[name]}"
        return names

    def _layers(self, branch: Branch) -> list[str]:
        """The paths of the modules whose parameters a branch has, in the order they run, normalisations left out."""
        paths = list(map(path_of, self._with_parameters(branch.own)))
        others = [path for path in paths if "norm" not in type(self._graph.modules[path]).__name__.lower()]
        return others or paths


def is_addition(node: fx.Node) -> bool:
    """Whether an operation adds two values, and nothing else."""
    return name_of(node) in _ADDITIONS and len(node.args) == 2 and node.kwargs in ({}, {"alpha": 1})


def parameters_of(graph: UnitGraph, node: fx.Node) -> list[nn.Parameter]:
    """The parameters of the module that an operation calls, or the one that it reads."""
    if node.op == "call_module":
        return list(graph.modules[str(node.target)].parameters())
    if node.op != "get_attr":
        return []
    path, _, name = str(node.target).rpartition(".")
    found = vars(graph.modules[path]).get("_parameters", {}).get(name) if path in graph.modules else None
    return [] if found is None else [found]


def nodes_inside(graph: UnitGraph) -> dict[str, set[fx.Node]]:
    """The operations that run in each module of a network, and in the modules that it is made of, by its path."""
    inside: dict[str, set[fx.Node]] = {}
    for node in graph.traced.graph.nodes:
        parts = path_of(node).split(".")
        for end in range(1, len(parts) + 1):
            inside.setdefault(".".join(parts[:end]), set()).add(node)
    return {path: nodes for path, nodes in inside.items() if path and path in graph.modules}


def path_of(node: fx.Node) -> str:
    """The path of the module that an operation calls, or whose parameter it reads, or in which it runs."""
    if node.op == "call_module":
        return str(node.target)
    if node.op == "get_attr":
        return str(node.target).rpartition(".")[0]
    return scope_of(node)


def common_path(paths: Iterable[str]) -> str:
    """The path of the innermost module that has all of these in it, or is one of them.

    Examples:
        >>> from shapprune.graph.branches import common_path
        >>> common_path(["layers.1.conv1", "layers.1.conv2"])
        'layers.1'
    """
    same = takewhile(lambda parts: len(set(parts)) == 1, zip(*(path.split(".") for path in paths), strict=False))
    return ".".join(parts[0] for parts in same)

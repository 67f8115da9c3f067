"""Draw docs/images/rooms.svg: the rooms of the package on their floors, and who imports whom.

python docs/draw_architecture.py
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import grimp
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

REPOSITORY = Path(__file__).parents[1]
PICTURE = Path(__file__).parent / "images" / "rooms.svg"

GROUND = ("graph", "networks", "data", "gpu")  # side by side: they stand on the foundation, which all rooms import
FOUNDATION = "core"
ROOF = ("commands", "workflow")  # they import almost all rooms, so their arrows fall straight down
# Where the middle of a room is, so that arrows pass between the boxes; a few of them have to bend.
ACROSS = {
    "graph": -0.9,
    "criteria": 0.5,
    "game": 2.3,
    "shapley": 4.6,
    "parameters": 0.75,
    "pruning": 6.5,
    "networks": 7.9,
    "oracle": 9.4,
    "data": 10.6,
    "gpu": 13.1,
}
BENDS = {
    ("pruning", "game"): 0.2,
    ("oracle", "game"): -0.25,
    ("criteria", "game"): -0.35,
    ("parameters", "networks"): 0.12,
}
LEFT, RIGHT, WIDTH, HEIGHT, STEP = -2.0, 14.2, 2.2, 0.7, 1.35
COLOURS = {"commands": "#e08a3c", "workflow": "#4c9f70"}
BLUE = "#7781c4"


def floors() -> list[list[str]]:
    """The rooms from the top floor to the ground, without the foundation, as import-linter's contract has them."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["containers"] == ["shapprune"])
    above = [row.split(" | ") for row in layers if row not in (*GROUND, FOUNDATION)]
    return [*above, [row for row in layers if row in GROUND]]


def imports() -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """How many times modules of a room import a module of another, and how many modules each room has."""
    graph = grimp.build_graph("shapprune", exclude_type_checking_imports=True)
    arrows: Counter[tuple[str, str]] = Counter()
    modules: Counter[str] = Counter()
    for importer in graph.modules:
        room = _room(importer)
        modules[room] += 1
        for imported in graph.find_modules_directly_imported_by(importer):
            if room and _room(imported) not in ("", "__main__", room) and room != "__main__":
                arrows[room, _room(imported)] += 1
    return arrows, modules


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _box(axes: Axes, left: float, right: float, y: float, room: str, modules: int) -> None:
    style: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": "#f3f5fc", "zorder": 3}
    edge = COLOURS.get(room, "#3f51b5")
    corner = (left, y - HEIGHT / 2)
    axes.add_patch(FancyBboxPatch(corner, right - left, HEIGHT, edgecolor=edge, linewidth=1.3, **style))
    middle = (left + right) / 2
    axes.text(middle, y + 0.1, room, ha="center", va="center", fontsize=10.5, weight="bold", zorder=4)
    axes.text(middle, y - 0.18, f"{modules} modules", ha="center", va="center", fontsize=8, color="#555", zorder=4)


def _arrow(axes: Axes, pair: tuple[str, str], heights: dict[str, float], count: int) -> None:
    """An arrow from a room to one that it imports."""
    importer, imported = pair
    top, bottom = heights[importer] - HEIGHT / 2, heights[imported] + HEIGHT / 2
    if importer in ROOF:
        middle = ACROSS.get(imported, (LEFT + RIGHT) / 2) + (0.15 if importer == "workflow" else -0.15)
        begin, end = (middle, top), (middle, bottom)
    else:
        way = 1 if ACROSS[imported] > ACROSS[importer] else -1
        if heights[importer] == heights[imported]:
            begin = (ACROSS[importer] + way * WIDTH / 2, heights[importer])
            end = (ACROSS[imported] - way * WIDTH / 2, heights[imported])
        else:
            begin, end = (ACROSS[importer] + way * 0.4, top), (ACROSS[imported] - way * 0.5, bottom)
    style: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 10,
        "connectionstyle": f"arc3,rad={BENDS.get(pair, 0.0)}",
    }
    colour, width = COLOURS.get(importer, BLUE), 0.4 + 0.7 * count**0.5
    axes.add_patch(FancyArrowPatch(begin, end, shrinkA=0, shrinkB=0, linewidth=width, color=colour, zorder=1, **style))


def draw(path: Path) -> None:
    """Write the picture."""
    arrows, modules = imports()
    rows = [*floors(), [FOUNDATION]]
    heights = {room: (len(rows) - place) * STEP for place, row in enumerate(rows) for room in row}
    plt.rcParams.update({"svg.hashsalt": "rooms", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(10, 7))
    for room, y in heights.items():
        wide = room in (*ROOF, FOUNDATION)
        left, right = (LEFT, RIGHT) if wide else (ACROSS[room] - WIDTH / 2, ACROSS[room] + WIDTH / 2)
        _box(axes, left, right, y, room, modules[room])
    for pair, count in sorted(arrows.items()):
        if pair[1] != FOUNDATION:
            _arrow(axes, pair, heights, count)
    note = "All rooms import core. The wider an arrow, the more imports."
    axes.text(RIGHT, heights[FOUNDATION] - HEIGHT, note, ha="right", va="top", fontsize=8, color="#555")
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", facecolor="white", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(PICTURE)

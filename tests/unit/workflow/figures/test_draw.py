"""Every figure of the table: drawn for one layer and many, few runs and many, and the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache

import matplotlib.image
import pytest

from shapprune import ShapPruneError
from shapprune.workflow.figures.catalog import FIGURES
from shapprune.workflow.figures.draw import draw
from shapprune.workflow.figures.layout import save
from tests.unit.workflow.figures.studies import CRITERIA, STUDIES, tables


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Draw a figure of a study from the files of its tables, which are written once."""

    @cache
    def files(number):
        criteria, *sizes = [*STUDIES.values()][number]
        folder = tmp_path_factory.mktemp("tables")
        for table, rows in tables(criteria, *sizes).items():
            rows.to_csv(folder / f"{table}.csv", index=False)
        return {path.stem: path for path in folder.iterdir()}

    def draw_it(name, study):
        criteria, layers, *_ = study
        units = {f"layer{number}.conv": 2 for number in range(layers)}
        params = {"criteria": criteria, "estimators": criteria, "methods": criteria, "layers": units, "classes": 10}
        return draw(name, "net", files([*STUDIES.values()].index(study)), params)

    return draw_it


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn(name, study, drawn, tmp_path):
    save(drawn(name, STUDIES[study]), tmp_path / "figure.svg")
    assert ElementTree.parse(tmp_path / "figure.svg").getroot().tag.endswith("svg")
    pixels = matplotlib.image.imread(tmp_path / "figure.png")[..., :3]
    assert (pixels.min(2) < 0.9).mean() > 0.002  # not blank
    assert pixels[0].min() > 0.9  # nothing is cut off at the top ...
    assert pixels[:, -1].min() > 0.9  # ... at the right ...
    assert pixels[-1].min() > 0.9  # ... at the bottom ...
    assert pixels[:, 0].min() > 0.9  # ... or at the left


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_tables_give_the_same_bytes(name, drawn, tmp_path):
    for run in ("one", "two"):
        save(drawn(name, STUDIES["one layer, one run"]), tmp_path / run / "figure.png")
    for suffix in (".svg", ".png"):
        one, two = ((tmp_path / run / f"figure{suffix}").read_bytes() for run in ("one", "two"))
        assert one == two


def test_what_a_user_has_set_for_figures_does_not_change_them(drawn, tmp_path):
    name = next(iter(FIGURES))
    save(drawn(name, STUDIES["one layer, one run"]), tmp_path / "usual.svg")
    theirs = {"text.usetex": True, "font.size": 30, "font.family": "serif", "axes.grid": False, "figure.dpi": 33}
    with matplotlib.rc_context({**theirs, "savefig.bbox": "tight", "lines.linestyle": "--"}):
        save(drawn(name, STUDIES["one layer, one run"]), tmp_path / "theirs.svg")
    for suffix in (".svg", ".png"):
        assert (tmp_path / f"usual{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_a_network_without_rows_is_refused(name, tmp_path):
    row = FIGURES[name]
    files = {table: tmp_path / f"{table}.csv" for table in row.tables}
    for path in files.values():
        path.write_text("net,seed\n")
    with pytest.raises(ShapPruneError, match="no rows of network 'net', so there is nothing to draw"):
        draw(name, "net", files, {row.styles: CRITERIA, "layers": {}, "classes": None})

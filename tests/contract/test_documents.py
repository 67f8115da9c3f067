"""The documents of the project agree with it: rooms, pages, hooks, citation, changelog."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from shapprune.core.version import __version__
from shapprune.workflow.stages.registry import STAGES

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def rooms(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rooms_of_the_architecture_are_those_of_the_tree():
    assert set(re.findall(r"^\| \d \| `(\w+)` \|", ARCHITECTURE, flags=re.M)) == rooms(ROOT / "shapprune")
    table = ARCHITECTURE.partition("| room of `workflow` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.M)) == rooms(ROOT / "shapprune" / "workflow")


def test_nothing_but_rooms_at_the_top_of_the_package():
    names = {path.name for path in (ROOT / "shapprune").iterdir()} - {"__pycache__"}
    assert names - rooms(ROOT / "shapprune") == {"__init__.py", "__main__.py", "py.typed"}


def test_every_stage_that_keeps_results_is_in_the_table_of_stages():
    listed = set(re.findall(r"`(\w+)`", ARCHITECTURE.partition("| stage |")[2].partition("\n\n")[0]))
    scripts = {path.stem: path.read_text() for path in (ROOT / "scripts").glob("*.py")}
    kept = {name for name, text in scripts.items() if "stored_job" in text}
    kept |= {stage.rule for stage in STAGES if stage.outputs}
    assert kept <= listed <= kept | scripts.keys()


def test_picture_of_the_rooms_shows_the_tree(tmp_path):
    draw = script("draw_architecture")
    draw.draw(tmp_path / "rooms.svg")
    shown = [re.findall(r">([a-z]+)</text>", path.read_text()) for path in (tmp_path / "rooms.svg", draw.PICTURE)]
    assert set(shown[0]) == set(shown[1]) == rooms(ROOT / "shapprune")


def test_every_page_is_in_the_navigation():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = set(re.findall(r"[\w/-]+\.md", yaml.safe_dump(navigation)))
    outside = script("site_pages").PAGES
    inside = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages == inside | set(outside)
    assert all((ROOT / source).is_file() for source in outside.values())


def test_links_are_turned_into_those_of_the_site():
    relink = script("site_pages").relink
    assert relink("[a](docs/gpus.md), [b](docs/images/auc.png)", "index.md") == "[a](gpus.md), [b](images/auc.png)"
    assert relink("[a](../data/README.md#x)", "caching.md") == "[a](data.md#x)"
    assert relink("[a](../cluster.md), [b](speed.csv)", "results/README.md") == "[a](../cluster.md), [b](speed.csv)"
    assert relink("[a](../docs/cluster.md)", "profiles.md") == "[a](cluster.md)"
    assert (
        relink("[a](https://example.org/a.md), [b](#here)", "index.md") == "[a](https://example.org/a.md), [b](#here)"
    )


def test_examples_in_docstrings_have_the_heading_that_the_site_knows():
    files = (ROOT / "shapprune").rglob("*.py")
    assert not [path for path in files if re.search(r"^ +Example:$", path.read_text(), re.M)], "write Examples:"


@pytest.mark.slow
def test_site_is_built_without_warnings_and_needs_no_other_host(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        assert not re.search(r"<(?:script|img|iframe)[^>]*src=\"?(?:https?:)?//", text), page
        assert not re.search(r"<link[^>]*rel=\"?stylesheet[^>]*href=\"?(?:https?:)?//", text), page
        assert "&gt;&gt;&gt; " not in re.sub(r"<pre.*?</pre>", "", text, flags=re.S), f"{page}: an example is not code"


def test_hooks_run_the_tools_of_the_environment():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    pinned = {Requirement(line).name for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    assert tools == {f".venv/bin/{tool}" for tool in ("ruff", "snakefmt", "mypy")}
    assert {Path(tool).name for tool in tools} <= pinned


def test_citation_names_the_three_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert "version" not in citation  # it stands in shapprune/core/version.py
    assert [reference["year"] for reference in citation["references"]] == [2020, 2024, 2025]


def test_changelog_has_the_version():
    assert re.search(
        rf"^## \[{re.escape(__version__)}\]|^What {re.escape(__version__)}, ", (ROOT / "CHANGELOG.md").read_text(), re.M
    )

"""Pages of the site that lie outside docs/, and links between all of them; a hook of MkDocs.

Links are written for a reader of the repository, relative to the file that they stand in. `PAGES` says which files
become pages of the site under another name; the links to and from them are turned accordingly.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
PAGES = {  # page of the site -> file of the repository
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "data.md": "data/README.md",
    "examples.md": "examples/README.md",
    "profiles.md": "profiles/README.md",
}
_SITE = {source: page for page, source in PAGES.items()}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")  # what it points to, without the anchor


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for page, source in PAGES.items():
        content = (REPOSITORY / source).read_text(encoding="utf-8")
        if page == "examples.md":
            content += "".join(map(_program, sorted((REPOSITORY / "examples").glob("*.py"))))
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page into those of the site."""
    return relink(markdown, page.file.src_uri)


def relink(markdown: str, page: str) -> str:
    """The text of a page with links relative to its place in the site.

    Args:
        markdown: its text, with links relative to the file in the repository.
        page: its place in the site, e.g. ``"results/README.md"``.
    """
    folder = posixpath.dirname(PAGES.get(page, f"docs/{page}"))

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        place = _SITE.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(place, posixpath.dirname(page) or '.')}"

    return _LINK.sub(moved, markdown)


def _program(path: Path) -> str:
    """An example as a section of a page."""
    return f"\n## {path.name}\n\n```python\n{path.read_text(encoding='utf-8')}```\n"

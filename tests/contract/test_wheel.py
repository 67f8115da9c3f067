"""The wheel has what library and command line need, and works where the repository is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from shapprune.core.version import __version__

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

# What a stranger does first, and what looks for files of the repository.
INSTALLED = """
import pathlib, shapprune
from importlib import metadata
from shapprune.core.errors import ShapPruneError
from shapprune.data import sets
from shapprune.gpu import machine_facts
from shapprune.workflow.study import config
from shapprune.core.paths import repository_file

assert not pathlib.Path(shapprune.__file__).is_relative_to(REPOSITORY), shapprune.__file__
assert metadata.version("shapprune") == shapprune.__version__ == machine_facts("cpu")["versions"]["shapprune"]
for name in shapprune.__all__:
    assert getattr(shapprune, name) is not None

checked = config.validate(config.read(pathlib.Path(REPOSITORY) / "config.yaml"))
assert checked["networks"]["lenet5"]["train"]["batch"] == 64

for refused in (lambda: sets.load("fashion-mnist-sample"), lambda: repository_file("scripts/train_network.py")):
    try:
        refused()
    except ShapPruneError:
        continue
    raise AssertionError("files of the repository were found")
"""


def outside() -> dict[str, str]:
    """The environment variables, without those by which the repository would be found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SHAPPRUNE_DATA")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy, so that nothing of the build is left in the repository."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(REPOSITORY / "shapprune", source / "shapprune", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", source], check=True)
    (wheel,) = (source / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """A Python with the wheel installed; what the package needs comes from this environment, but not the package."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], env=outside(), check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # The editable installation there is a .pth file, which Python does not read in a folder that another .pth adds.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), *arguments]
    return subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, check=False)


def test_wheel_holds_the_package_and_its_data_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"shapprune", f"shapprune-{__version__}.dist-info"}
    package = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "shapprune").rglob("*.py")}
    data = {"py.typed", "workflow/study/config.schema.yaml", "workflow/figures/figures.mplstyle"}
    assert {name for name in names if name.startswith("shapprune/")} == package | {f"shapprune/{each}" for each in data}


def test_installed_command_line_works_anywhere(python, tmp_path):
    said = run(python, tmp_path, "-m", "shapprune", "--help")
    assert said.returncode == 0, said.stderr
    assert "prune" in said.stdout
    said = run(python, tmp_path, "-m", "shapprune", "layers", "--architecture", "lenet5", "--shape", "1", "28", "28")
    assert said.returncode == 0, said.stderr
    assert '"conv2": 20' in said.stdout


def test_installed_library_works_anywhere(python, tmp_path):
    said = run(python, tmp_path, "-c", f"REPOSITORY = {str(REPOSITORY)!r}\n{INSTALLED}")
    assert said.returncode == 0, said.stderr

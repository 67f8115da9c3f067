"""Records of the store that are not needed any more."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from shapprune.core.errors import ShapPruneError
from shapprune.workflow.study.plan import Plan


def unneeded(plan: Plan, revisions: Iterable[str], repository: Path) -> tuple[list[str], list[str]]:
    """The keys of the store's records that neither this configuration nor those of some git revisions need.

    Of a revision, ``config.yaml`` and every study in ``studies/`` count, at both scales, with its own code; weights and
    DVC pointers are taken as they are now. What a study needs whose weights are not here cannot be known.

    Returns:
        The keys, and a sentence for each study that was left out.

    Raises:
        ShapPruneError: a revision that does not exist, or whose keys cannot be found out.
    """
    needed, left_out = plan.keys(), list[str]()
    for revision in revisions:
        keys, sentences = _keys_of(revision, repository)
        needed |= keys
        left_out += [f"{revision}: {sentence}" for sentence in sentences]
    return [key for key in plan.store.all_keys() if key not in needed], left_out


def _keys_of(revision: str, repository: Path) -> tuple[set[str], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.tar"
        command = ["git", "-C", str(repository), "archive", "--output", str(archive), revision]
        done = _run(command)
        if done.returncode:
            raise ShapPruneError(f"revision {revision!r} is not in the repository {repository}: {done.stderr.strip()}")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        done = _run([sys.executable, "-c", _LIST_KEYS, folder], PYTHONPATH=folder)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise ShapPruneError(f"the keys of revision {revision!r} cannot be found out: {reason}")
        return set(done.stdout.split()), [line for line in done.stderr.splitlines() if " is left out: " in line]


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)  # noqa: S603


_LIST_KEYS = """
import sys
from pathlib import Path
from shapprune.workflow.study import config as study
from shapprune.workflow.study.overlay import merge
from shapprune.workflow.study.plan import Plan
root = Path(sys.argv[1])
base = study.read(root / "config.yaml")
print(*Plan(study.validate(base)).keys(), sep="\\n")
for path in sorted(root.glob("studies/*.yaml")):
    own = study.read(path)
    for scale in ("full", "reduced") if "reduced" in own else ("full",):
        try:
            print(*Plan(study.validate(merge(base, own | {"scale": scale}))).keys(), sep="\\n")
        except study.ConfigError as error:
            print(f"studies/{path.name} is left out: {error}", file=sys.stderr)
"""

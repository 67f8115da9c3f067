"""The frame of a job: its log, and errors as sentences."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(tmp_path, body):
    log = tmp_path / "logs" / "job.log"
    code = f"from shapprune.workflow.jobs.frame import job\nwith job({str(log)!r}, threads=1):\n" + "".join(
        f"    {line}\n" for line in body.splitlines()
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done, log.read_text()


def test_output_goes_into_the_log(tmp_path):
    done, log = run(tmp_path, "import os, sys\nprint('out')\nprint('err', file=sys.stderr)\nos.system('echo child')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(log.split()) == ["child", "err", "out"]


def test_threads_are_set_before_torch_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    _, log = run(tmp_path, "import torch\nprint(torch.get_num_threads())")
    assert log.strip() == "1"


def test_a_mistake_is_one_sentence(tmp_path):
    done, log = run(tmp_path, "from shapprune.core.errors import ShapPruneError\nraise ShapPruneError('no such layer')")
    assert done.returncode == 1
    assert log == "error: no such layer\n"


def test_anything_else_has_its_traceback_in_the_log(tmp_path):
    done, log = run(tmp_path, "1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in log
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "package",
    [
        "shapprune",
        "shapprune.workflow.study.config",
        "shapprune.data.sets",
        "shapprune.criteria.catalog",
        "shapprune.workflow.share.mlflow",
    ],
)
def test_planning_imports_nothing_heavy(package):
    heavy = "{'torch', 'pandas', 'matplotlib', 'mlflow', 'sklearn'}"
    code = f"import {package}, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The frame of a job: its log, and errors as sentences."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from shapprune.gpu import leases

ROOT = Path(__file__).resolve().parents[4]


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


def test_the_backend_of_a_notebook_does_not_reach_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://no_such_module.backend")
    _, log = run(tmp_path, "import matplotlib\nprint(matplotlib.get_backend())")
    assert log.strip() == "agg"


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
        "shapprune.workflow.study.plan",
        "shapprune.data.sets",
        "shapprune.criteria.catalog",
        "shapprune.workflow.figures.catalog",
        "shapprune.workflow.share.mlflow",
    ],
)
def test_planning_imports_nothing_heavy(package):
    heavy = "{'torch', 'pandas', 'matplotlib', 'mlflow', 'sklearn'}"
    code = f"import {package}, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "log"),
    [
        ("gpus=2, slots=3", "on GPU a, b\na,b\n"),
        ("gpus=1", "on GPU a\na\n"),
        ("gpus=0", "\n"),
        ("", "a,b\n"),
        ("gpus=3", "error: 3 GPUs are asked for and 2 are visible: a, b\n"),
    ],
)
def test_a_job_of_the_workflow_holds_what_its_rule_asks_for(given, log, monkeypatch, tmp_path):
    folder = tmp_path / "locks"
    monkeypatch.setenv(leases.LOCKS, str(folder))
    for name in (leases.SWITCH, "SLURM_JOB_ID", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    code = f"""
        import json, os, pathlib, sys
        from shapprune.workflow.jobs.frame import job
        with job("logs/rule/job.log", {given}):
            assert not {{"torch", "numpy"}} & set(sys.modules)
            print(os.environ["CUDA_VISIBLE_DEVICES"])
            for path in pathlib.Path({str(folder)!r}).glob("*.json"):
                assert json.loads(path.read_text())["work"] == os.path.abspath("logs/rule/job.log")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == (1 if "error" in log else 0)
    assert (tmp_path / "logs" / "rule" / "job.log").read_text() == log


def test_a_stored_job_restores_what_is_there_and_writes_its_table(tmp_path, monkeypatch):
    """What `snakemake` gives a script is played by plain objects."""
    monkeypatch.chdir(tmp_path)
    code = """
import json
from pathlib import Path
from types import SimpleNamespace
from shapprune.workflow.jobs.frame import stored_job
from shapprune.workflow.store.keys import Task

class Given(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)

def snakemake():
    task = Task("measure_curves", {"n": 1}).describe() | {"names": {"net": "one"}, "stem": None, "consumes": {}}
    params = Given(tasks={"one": task}, unfinished="unfinished", columns=("net", "loss"))
    output = Given(table="table.csv", manifest="table.json")
    return Given(log=["log"], threads=1, params=params, resources=Given(store="store"), output=output)

for missing in (["one"], []):
    with stored_job(snakemake()) as work:
        assert list(work.missing) == missing
        assert work.unfinished == Path("unfinished")
        if missing:
            work.keep("one", {"columns": {"loss": [0.5, 0.25]}})
    assert Path("table.csv").read_text() == "net,loss\\none,0.5\\none,0.25\\n"
    assert json.loads(Path("table.json").read_text())["made_of"]["one"]["names"] == {"net": "one"}
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, (tmp_path / "log").read_text()
    assert "one: restored" in (tmp_path / "log").read_text()

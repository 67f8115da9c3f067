"""Jobs of Snakemake and the GPUs they hold: on devices that do not exist, and on real ones where there are some."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from shapprune.core.paths import REPOSITORY
from tests.study import STUDY, Workflow, changed

# Six jobs of one and two GPUs, which run as those of the study do and write down which they held, and when.
SNAKEFILE = """
rule all:
    input:
        expand("held/{index}.json", index=range(6)),

rule hold:
    output:
        "held/{index}.json",
    log:
        "logs/hold/{index}.log",
    resources:
        gpu=lambda wildcards: 1 + int(wildcards.index) % 2,
    script:
        "hold.py"
"""
HOLD = """
from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu):
    import json, os, pathlib, time

    began = time.monotonic()
    time.sleep(1)
    held = [os.environ["CUDA_VISIBLE_DEVICES"].split(","), began, time.monotonic()]
    pathlib.Path(snakemake.output[0]).write_text(json.dumps(held))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch) -> list[str]:
    """Eight devices that do not exist."""
    for name in ("CUDA_DEVICE_ORDER", "SLURM_JOB_ID", "SHAPPRUNE_GPU_LEASE"):
        monkeypatch.delenv(name, raising=False)
    devices = [f"fake{index}" for index in range(8)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(devices))
    monkeypatch.setenv("SHAPPRUNE_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return devices


def test_two_runs_at_once_share_the_devices(fake, tmp_path, monkeypatch):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "hold.py").write_text(HOLD)
    where = ["--snakefile", str(tmp_path / "Snakefile"), "--cores", "4", "--resources", "gpu=8"]
    runs = []
    for name in ("one", "two"):
        command = [sys.executable, "-m", "snakemake", *where, "--directory", str(tmp_path / name)]
        runs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(reversed(fake)))  # the second counts backwards
    for run in runs:
        said, _ = run.communicate(timeout=240)
        assert run.returncode == 0, said[-3000:]
    held = [json.loads(path.read_text()) for path in tmp_path.glob("*/held/*.json")]
    assert sorted(len(names) for names, *_ in held) == [1] * 6 + [2] * 6
    assert {name for names, *_ in held for name in names} == set(fake)
    for device in fake:
        times = sorted((began, ended) for names, began, ended in held if device in names)
        assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(times))
    logs = [path.read_text() for path in tmp_path.glob("*/logs/hold/*.log")]
    assert len(logs) == 12
    assert all(log.startswith("on GPU fake") for log in logs)


def test_the_jobs_of_a_study_hold_a_device_and_the_run_says_which_there_are(fake, tmp_path):
    workflow = Workflow(tmp_path / "study", STUDY | {"gpu_slots": 2})
    workflow.folder.mkdir()
    target = "results/small/seed0/model.safetensors"
    line = f"GPUs: {', '.join(fake)}, 2 jobs on each; locks in {tmp_path / 'locks'}; up to 3 jobs at a time"
    done = workflow("--cores", "1", "--resources", "gpu=3", "--", target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count(line) == 1
    (log,) = workflow.folder.glob("results/logs/train_network/small/seed0.log")
    assert log.read_text().startswith("on GPU fake0\n")
    (manifest,) = workflow.folder.glob("results/small/seed0/model.json")
    assert json.loads(manifest.read_text())["device"] == "cpu"  # `auto`: there is none that torch could use
    shutil.rmtree(workflow.folder / "results" / "small")
    log.unlink()
    again = workflow("--cores", "1", "--resources", "gpu=3", "--quiet", "all", "--", target)
    assert again.returncode == 0
    assert "GPUs:" not in again.stdout
    assert "on GPU" not in log.read_text()  # it was restored


@pytest.mark.gpu
def test_two_layers_at_once_on_real_devices(tmp_path, monkeypatch):
    """Scores and what the manifests say of the device; on one device the two jobs share it."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setenv("SHAPPRUNE_GPU_LOCKS", str(tmp_path / "locks"))
    number = torch.cuda.device_count()
    study = changed(STUDY, scoring={"precision": "fp32"}) | {"gpu_slots": 1 if number > 1 else 2}
    on_cpu, on_cuda = (Workflow(tmp_path / name, study | {"device": name}) for name in ("cpu", "cuda"))
    layers = [f"results/small/seed0/scores/shapley/{layer}" for layer in ("fc1", "fc2")]
    for workflow in (on_cpu, on_cuda):
        workflow.folder.mkdir()
        if workflow is on_cuda:  # the network that was trained on the CPU is scored
            for path in on_cpu.folder.glob("data/store/[0-9a-f]*/*/manifest.json"):
                if json.loads(path.read_text())["stage"] == "train_network":
                    shutil.copytree(path.parent, workflow.folder / path.parent.relative_to(on_cpu.folder))
        done = workflow("--cores", "2", "--resources", "gpu=2", "--", *layers)
        assert done.returncode == 0, done.stdout[-3000:]
    logs = [path.read_text().partition("\n")[0] for path in on_cuda.folder.glob("results/logs/score_layer/**/*.log")]
    assert len(logs) == 2
    assert all(log.startswith("on GPU ") for log in logs)
    assert len(set(logs)) == min(number, 2)
    memory = torch.cuda.get_device_properties(0).total_memory / 2**20
    names = {torch.cuda.get_device_name(index) for index in range(number)}
    found = sorted(path.relative_to(on_cuda.folder) for path in on_cuda.folder.glob("results/**/shapley/*/*.npz"))
    assert len(found) == 2 * STUDY["scoring"]["trials"]
    for path in found:
        facts = json.loads((on_cuda.folder / path).with_suffix(".json").read_text())
        assert facts["device"] in names
        assert 0 < facts["peak_memory_mb"] < memory
        one, other = (np.load(workflow.folder / path)["values"] for workflow in (on_cpu, on_cuda))
        # Sums of fp32 in another order: 1e-4 of a loss, which is of the order of 1.
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)

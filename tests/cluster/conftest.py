"""A cluster for the tests, and a study small enough to run on it."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shapprune.core.paths import REPOSITORY
from tests.cluster.slurm import ENDS_WITH_THIS, MARK, PREFIX, Cluster, SlurmJob, clear_up, hindrance
from tests.study import STUDY as SMALL
from tests.study import Workflow

PROFILE = REPOSITORY / "profiles" / "slurm"

# Of the small study what runs side by side, in groups, and one after the other.
LEFT_OUT = (
    *("estimators", "fine_tune", "untrained", "compress", "budgets"),
    *("deactivation", "quantisation", "selective_tuning", "probe"),
)
STUDY = {key: value for key, value in SMALL.items() if key not in LEFT_OUT}

FIGURE = "results/figures/small/auc.svg"  # one of those that are drawn where Snakemake runs


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that is there as long as the tests run, and of which nothing is left after them."""
    if not os.environ.get("SHAPPRUNE_CLUSTER"):
        pytest.skip("it starts a Slurm cluster on this machine, which takes minutes: make test-cluster")
    clear_up()
    if reason := hindrance():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    cluster = Cluster(folder)
    os.environ[MARK] = str(folder)  # for all that is started here, so that it is ended too
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the tests in order, as Ctrl-C does
    try:
        try:
            cluster.start()
        except PermissionError as error:
            pytest.skip(f"device files cannot be made here ({error.strerror})")
        yield cluster
    finally:
        try:
            cluster.stop()
        finally:
            signal.signal(signal.SIGTERM, before)
            del os.environ[MARK]
            shutil.rmtree(folder)


class OnSlurm(Workflow):
    """A folder in which the workflow runs on the cluster."""

    def __init__(self, cluster: Cluster, folder: Path, study: dict = STUDY) -> None:
        super().__init__(folder, copy.deepcopy(study))
        self.cluster = cluster

    def start(self, *arguments: str) -> subprocess.Popen:
        """Run it with the profile; what it says goes into ``said``."""
        # There is no accounting here, and jobs take seconds.
        here = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
        command = self.command("--profile", str(PROFILE), *here, "--seconds-between-status-checks", "2", *arguments)
        with open(self.folder / "said", "w") as said:
            return subprocess.Popen(ENDS_WITH_THIS + command, cwd=self.folder, stdout=said, stderr=subprocess.STDOUT)

    def submit(self, *arguments: str) -> list[SlurmJob]:
        """Run it to its good end; the jobs that were submitted."""
        before = self.cluster.last_job()
        code = self.start(*arguments).wait()
        assert code == 0, self.said()[-5000:]
        return self.cluster.jobs(since=before)

    def said(self) -> str:
        """What the last command said."""
        return (self.folder / "said").read_text()


@dataclass(frozen=True)
class Finished:
    """The study, run on the cluster.

    Attributes:
        workflow: where.
        jobs: those that were submitted.
        local: a folder with the tables of the same study, which were made without the cluster.
    """

    workflow: OnSlurm
    jobs: list[SlurmJob]
    local: Path


@pytest.fixture(scope="session")
def finished(cluster, tmp_path_factory) -> Finished:
    """The study, run once here and there; tests read it and leave its results as they are."""
    workflow = OnSlurm(cluster, tmp_path_factory.mktemp("slurm"))
    local = Workflow(tmp_path_factory.mktemp("local"), copy.deepcopy(STUDY))
    running = workflow.start("--", "tables_all", FIGURE)
    local.run("tables_all")  # in the meantime
    assert running.wait() == 0, workflow.said()[-5000:]
    return Finished(workflow, cluster.jobs(), local.folder)

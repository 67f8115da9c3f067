"""A cluster of two nodes with four made-up GPUs each: munge and Slurm on loopback, for the time of a test.

The daemons are children of this process and are ended by their process ids. What they start has a mark in its
environment, or writes one of their logs; so the rest is found when it is over. Outside of its folder there is one link,
/etc/slurm/slurm.conf: jobs look for the configuration there and nowhere else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.templates import NODE_LINE, PROLOG, SLURM

CONFIGURATION = Path("/etc/slurm/slurm.conf")
NODES = ("one", "two")
GPUS = 8
PREFIX = "shapprune-cluster-"  # of the name of its folder
MARK = "SHAPPRUNE_TEST_CLUSTER"  # in the environment, with the folder of the cluster
ENDS_WITH_THIS = ["setpriv", "--pdeathsig", "KILL"]  # before a command: it does not outlive this process
COMMANDS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "setpriv")


def clear_up() -> None:
    """Take away the link of a test that was killed; what it had started has ended with it."""
    if not CONFIGURATION.is_symlink():
        return
    folder = CONFIGURATION.readlink().parent
    if folder.name.startswith(PREFIX) and not any(Cluster(folder).processes()):
        CONFIGURATION.unlink()


def hindrance() -> str | None:
    """Why no cluster can be started here, in a sentence; None where it can."""
    if os.geteuid() != 0:
        return "only root can make device files and start Slurm's daemons"
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        return f"{missing[0]} is not installed; on Debian `make test-cluster` installs slurm-wlm and munge"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm is not installed; `make test-cluster` installs it"
    if CONFIGURATION.exists() or CONFIGURATION.is_symlink():
        return f"{CONFIGURATION} is there: this machine has a cluster already"
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = "nothing"
    if not address.startswith("127."):
        return f"the name of this machine, {socket.gethostname()}, stands for {address} and not for 127.0.0.1"
    return None


@dataclass(frozen=True)
class SlurmJob:
    """A job as Slurm tells of it.

    Attributes:
        id: its number.
        comment: the rule and the wildcards, or the rules of a group.
        state: as ``COMPLETED``.
        gpus: how many it asked for.
        node: where it ran (last).
        devices: ``CUDA_VISIBLE_DEVICES`` in the job.
        start, end: when, as text that can be compared.
        restarts: how often Slurm started it again.
    """

    id: int
    comment: str
    state: str
    gpus: int
    node: str
    devices: str
    start: str
    end: str
    restarts: int


class Cluster:
    """Two nodes that pose as having eight processors and plenty of memory each.

    Args:
        folder: where everything of it lies; there must be nothing in it. The variable `MARK` in the environment of this
            process must name it as long as the cluster runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start it and wait until both nodes take jobs.

        Raises:
            PermissionError: device files cannot be made here.
            RuntimeError: a daemon has ended or does not answer; the message has the end of its log.
        """
        self._write_files()
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.symlink_to(self.folder / "slurm.conf")
        names = {name: self.folder / f"munge.{name}" for name in ("socket", "key", "pid", "log", "seed")}
        files = [f"--{name}{'' if name == 'socket' else '-file'}={path}" for name, path in names.items()]
        self._start("munged", "munged", "--foreground", "--force", *files)
        self._until("munged", names["socket"].exists)
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self._until("slurmctld", lambda: "UP" in self.ask("scontrol", "ping"))
        for node in NODES:
            self.revive(node)

    def stop(self) -> None:
        """End all that was started, whatever state it is in, and take the link away.

        Raises:
            RuntimeError: something could not be ended.
        """
        try:
            if "slurmctld" in self._daemons:
                self.ask("scancel", "--user", "root")
                deadline = time.monotonic() + 5
                while self.ask("squeue", "--noheader") and time.monotonic() < deadline:
                    time.sleep(0.2)
            for name in ("slurmctld", *NODES, "munged"):
                self._end(name)
            deadline = time.monotonic() + 10
            while processes := list(self.processes()):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"these could not be ended: {processes}")
                for process in processes:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                time.sleep(0.1)
        finally:
            if CONFIGURATION.is_symlink() and CONFIGURATION.readlink() == self.folder / "slurm.conf":
                CONFIGURATION.unlink()

    def kill(self, node: str, all_of_it: bool = True) -> None:
        """SIGKILL the slurmd of a node and, as when its power fails, everything that runs there."""
        daemon = self._daemons.pop(node)
        there = [process for process in self.processes() if self._node(process) == node] if all_of_it else []
        daemon.kill()
        # What runs tasks goes before the tasks, or it would tell of their end.
        for process in sorted(there, key=lambda process: process.name() != "slurmstepd"):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        daemon.wait()

    def revive(self, node: str) -> None:
        """Start a node, again, and wait until it takes jobs."""
        # It looks for gres.conf beside its configuration.
        self._start(node, "slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))
        self._until(node, lambda: self.state(node) in ("idle", "mixed", "allocated"))

    def state(self, node: str) -> str:
        """The state of a node in Slurm's words; with a star where it does not answer."""
        return self.ask("sinfo", "--noheader", "--nodes", node, "--format", "%T").strip()

    def ask(self, *command: str) -> str:
        """What a command says."""
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def jobs(self, since: int = 0) -> list[SlurmJob]:
        """All jobs with numbers above a given one."""
        lines = self.ask("scontrol", "show", "jobs", "--oneliner").splitlines()
        found = [self._job(line) for line in lines if line.startswith("JobId=")]
        return sorted((job for job in found if job.id > since), key=lambda job: job.id)

    def last_job(self) -> int:
        """The highest number so far."""
        return max((job.id for job in self.jobs()), default=0)

    def processes(self) -> Iterator[psutil.Process]:
        """All that belongs to the cluster: its daemons, what runs the steps of jobs, and what these have started."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                marked = process.environ().get(MARK) == str(self.folder) or self._log(process) is not None
                if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def listening(self) -> set[str]:
        """The addresses at which any of that listens."""
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                found |= {each.laddr.ip for each in process.net_connections("inet") if each.status == "LISTEN"}
        return found

    def _log(self, process: psutil.Process) -> Path | None:
        """The log of a node that a process writes, by which slurmstepd is known: it has no environment."""
        logs = [Path(file.path) for file in process.open_files() if file.path.startswith(f"{self.folder}/slurmd-")]
        return logs[0] if logs else None

    def _node(self, process: psutil.Process) -> str | None:
        """The node that a process runs on; None for those of the whole cluster."""
        with contextlib.suppress(psutil.Error):
            log = self._log(process)
            return log.stem.removeprefix("slurmd-") if log else process.environ().get("SLURMD_NODENAME")
        return None

    def _job(self, line: str) -> SlurmJob:
        facts = dict(re.findall(r"(\S+?)=(\S*)", line))
        tasks = [task.split("|") for task in (self.folder / "tasks").read_text().splitlines()]
        devices = {task[2] for task in tasks if task[0] == facts["JobId"] and task[1] == facts.get("NodeList")}
        return SlurmJob(
            id=int(facts["JobId"]),
            comment=facts.get("Comment", ""),
            state=facts["JobState"],
            gpus=int(facts.get("TresPerJob", "gres:gpu:0").removeprefix("gres:gpu:")),
            node=facts.get("NodeList", ""),
            devices=" ".join(devices),
            start=facts["StartTime"],
            end=facts["EndTime"],
            restarts=int(facts["Restarts"]),
        )

    def _write_files(self) -> None:
        for number in range(GPUS):
            # Slurm gives jobs a device for each of these only if they are character devices. It is that of /dev/null.
            os.mknod(self.folder / f"nvidia{number}", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        (self.folder / "state").mkdir()
        (self.folder / "tasks").touch()
        prolog = self.folder / "prolog"
        prolog.write_text(PROLOG.format(folder=self.folder))
        prolog.chmod(0o700)
        ports = iter(_free_ports(1 + len(NODES)))
        host, each = socket.gethostname().partition(".")[0], GPUS // len(NODES)
        text = SLURM.format(folder=self.folder, host=host, port=next(ports))
        gres = ""
        for place, node in enumerate(NODES):
            text += NODE_LINE.format(node=node, host=host, port=next(ports), gpus=each)
            first, last = place * each, place * each + each - 1
            gres += f"NodeName={node} Name=gpu File={self.folder}/nvidia[{first}-{last}]\n"
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(gres)

    def _start(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as said:
            self._daemons[name] = subprocess.Popen(
                [*ENDS_WITH_THIS, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the test, which ends them
            )

    def _until(self, name: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._daemons[name].poll() is not None or time.monotonic() > deadline:
                said = (self.folder / f"{name}.out").read_text(errors="replace")
                raise RuntimeError(f"{name} has ended or does not answer:\n{said[-3000:]}")
            time.sleep(0.1)

    def _end(self, name: str) -> None:
        if (daemon := self._daemons.pop(name, None)) is None:
            return
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

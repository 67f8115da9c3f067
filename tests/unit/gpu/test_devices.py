"""Which GPUs are visible, and what they are called whoever counts them; no GPU is needed."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest

from shapprune.gpu import devices

ONE, TWO, SLICE = (
    "GPU-11111111-1111-1111-1111-111111111111",
    "GPU-22222222-2222-2222-2222-222222222222",
    "MIG-33333333-3333-3333-3333-333333333333",
)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Two GPUs, the second of which has a MIG slice."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "installed", lambda: [[ONE], [TWO, SLICE]])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {ONE: ONE, SLICE: SLICE}),
        ("", {}),
        ("-1", {}),
        ("NoDevFiles", {}),
        ("0", {"0": ONE}),
        (" 1 , 0 ", {"1": TWO, "0": ONE}),
        ("0,-1,1", {"0": ONE}),
        ("0,0", {"0": ONE}),
        (f"0,{ONE}", {"0": ONE}),
        ("GPU-2222", {"GPU-2222": TWO}),
        ("GPU-", {"GPU-": "GPU-"}),
        ("7", {"7": "7"}),
        (f"{SLICE},{TWO}", {SLICE: SLICE, TWO: TWO}),
        (f"MIG-{ONE}/1/0", {f"MIG-{ONE}/1/0": f"MIG-{ONE}/1/0"}),
        ("a,b", {"a": "a", "b": "b"}),
    ],
)
def test_names_are_kept_and_known_by_the_physical_device(given, expected, monkeypatch):
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.pool() == expected
    assert list(devices.pool()) == list(expected)


def test_without_a_driver_names_stand_for_themselves(monkeypatch):
    monkeypatch.setattr(devices, "installed", list)
    assert devices.pool() == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert devices.pool() == {"1": "1", "0": "0"}


def test_nobody_is_asked_where_all_are_named_in_full(monkeypatch):
    monkeypatch.setattr(devices, "installed", lambda: pytest.fail("asked"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{TWO},{SLICE}")
    assert devices.pool() == {TWO: TWO, SLICE: SLICE}


class FakeNvml:
    """NVML as pynvml shows it, of a GPU that cannot be divided and one that is."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        pass

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.open = broken, 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise self.NVMLError
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return (ONE, TWO)[index]

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:  # noqa: N802
        if handle == ONE:
            raise self.NVMLError
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:  # noqa: N802
        if index != 2:
            raise self.NVMLError
        return SLICE


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A program that tells of two GPUs as nvidia-smi does, and no other on the path."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        f"echo 'GPU 0: NVIDIA H200 (UUID: {ONE})'\n"
        f"echo 'GPU 1: NVIDIA H200 (UUID: {TWO})'\n"
        f"echo '  MIG 1g.18gb     Device  0: (UUID: {SLICE})'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def test_nvml_is_asked(monkeypatch, smi):
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert devices.installed() == [[ONE], [TWO, SLICE]]
    assert nvml.open == 0


@pytest.mark.parametrize("nvml", [None, FakeNvml(broken=True)], ids=["not there", "broken"])
def test_else_nvidia_smi_is_asked(nvml, smi, monkeypatch):
    path = str(smi.parent)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", path)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert devices.installed() == [[ONE], [TWO, SLICE]]
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert devices.installed() == []
    smi.unlink()
    assert devices.installed() == []


def test_cuda_that_torch_has_initialised_has_started(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True)))
    assert devices.cuda_has_started()


@pytest.mark.parametrize(("answer", "started"), [(0, True), (3, False), (OSError(), False)])
def test_the_driver_tells_whether_it_has_started(answer, started, monkeypatch):
    def load(name, mode):
        if isinstance(answer, OSError):
            raise answer
        return SimpleNamespace(cuDeviceGetCount=lambda count: answer)

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert devices.cuda_has_started() is started

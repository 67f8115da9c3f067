"""The GPUs that this process may use, by the names that CUDA takes and by UUIDs, which are the same in every run.

Nothing here starts CUDA or imports torch: the driver reads ``CUDA_VISIBLE_DEVICES`` once, when it starts, so devices
are chosen before.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from itertools import takewhile

VISIBLE = "CUDA_VISIBLE_DEVICES"

_UUID = re.compile(r"(GPU|MIG)-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def pool() -> dict[str, str]:
    """The devices that this process may use, each with its physical name.

    They are the items of ``CUDA_VISIBLE_DEVICES`` (indices, UUIDs, names of MIG slices). If it is not set, they are all
    that the driver reports; without a driver there are none.

    Returns:
        name -> physical name: the UUID, or the name itself if the driver does not know it.
    """
    given = os.environ.get(VISIBLE)
    if given is None:
        return {name: name for uuid, *slices in installed() for name in slices or [uuid]}
    # As CUDA reads it: an item like -1 ends the list. (Older versions of Slurm write NoDevFiles for none.)
    visible = lambda entry: entry and entry != "NoDevFiles" and entry[0] != "-"  # noqa: E731
    names = list(takewhile(visible, map(str.strip, given.split(","))))
    there = [] if all(map(_UUID.fullmatch, names)) else installed()
    physical: dict[str, str] = {}
    for name in names:
        physical.setdefault(_physical(name, there), name)
    return {name: device for device, name in physical.items()}


def installed() -> list[list[str]]:
    """The GPUs of this machine in the order of their indices: the UUID of each, then those of its MIG slices.

    They come from NVML by the package nvidia-ml-py, or from ``nvidia-smi`` if that is not installed.
    """
    found = _from_nvml()
    return _from_nvidia_smi() if found is None else found


def cuda_has_started() -> bool:
    """Whether this process has started CUDA, so that changes of ``CUDA_VISIBLE_DEVICES`` have no effect."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        return True
    # torch.cuda.is_available() starts the driver too, without setting is_initialized().
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:  # it was never loaded
        return False
    return driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) == 0  # else CUDA_ERROR_NOT_INITIALIZED


def _physical(name: str, there: list[list[str]]) -> str:
    """The UUID of a device, from its index or the beginning of its UUID."""
    if name.isdecimal():
        return there[int(name)][0] if int(name) < len(there) else name
    same = [uuid for gpu in there for uuid in gpu if uuid.lower().startswith(name.lower())]
    return same[0] if len(same) == 1 else name


def _from_nvml() -> list[list[str]] | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [[pynvml.nvmlDeviceGetUUID(device) for device in (gpu, *_slices(pynvml, gpu))] for gpu in gpus]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _slices(pynvml, gpu) -> list:  # type: ignore[no-untyped-def]  # it has no types
    """The MIG slices of a GPU; none if it is not divided."""
    found = []
    try:
        if pynvml.nvmlDeviceGetMigMode(gpu)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return []
        number = pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)
    except pynvml.NVMLError:  # a GPU that cannot be divided
        return []
    for index in range(number):
        try:
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index))
        except pynvml.NVMLError:  # a place without a slice
            continue
    return found


def _from_nvidia_smi() -> list[list[str]]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    found: list[list[str]] = []
    for uuid in re.findall(r"\(UUID: ([^)\s]+)\)", done.stdout) if done.returncode == 0 else ():
        if uuid.startswith("MIG-") and found:
            found[-1].append(uuid)
        else:
            found.append([uuid])
    return found

"""GPUs: their names, leases that jobs hold, and the choice of the device."""

from shapprune.gpu.device import DEVICES, choose_device, machine_facts
from shapprune.gpu.leases import lease

__all__ = ["DEVICES", "choose_device", "lease", "machine_facts"]

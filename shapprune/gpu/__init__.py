"""GPUs: which there are, how a job holds one, and what it runs on."""

from shapprune.gpu.device import DEVICES, choose_device, machine_facts
from shapprune.gpu.leases import lease

__all__ = ["DEVICES", "choose_device", "lease", "machine_facts"]

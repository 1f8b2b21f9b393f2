"""What a stage takes of the machine: the name of the device, peak memory, energy."""

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.files import append_text
from bmae_lightning.runtime.threads import processors

Told = Callable[[], float | None]
"""Tells what was taken since it was made, None where that is not known."""


def gpus_of(trainer: dict[str, Any]) -> list[int]:
    """Numbers of this machine's GPUs that a trainer with these options takes; none where it works on the processor."""
    from bmae_lightning.runtime.stage import device_of

    if not trainer or device_of(trainer.get("accelerator", "auto")) == "cpu":
        return []
    import torch

    wanted = trainer.get("devices", "auto")
    if isinstance(wanted, list) or "," in str(wanted):
        return [int(number) for number in (wanted if isinstance(wanted, list) else wanted.split(",")) if number != ""]
    return list(range(torch.cuda.device_count() if wanted in ("auto", -1, "-1") else int(wanted)))


def device_name(gpus: Sequence[int]) -> str:
    """The first GPU's name, or the processor's with the threads that torch uses."""
    torch = sys.modules.get("torch")
    if gpus and torch:
        return torch.cuda.get_device_name(gpus[0])
    threads = torch.get_num_threads() if torch else int(os.environ.get("OMP_NUM_THREADS") or processors())
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def watch_memory(gpus: Sequence[int]) -> Told:
    """Begin to watch the peak of memory, in GiB: what torch has allocated on the fullest of these GPUs, or without any
    what is resident of this process.

    Other processes are not counted. A peak below an earlier one of this process is not known where the
    system cannot forget that one.
    """
    if gpus:
        import torch

        for number in gpus if torch.cuda.is_initialized() else ():
            torch.cuda.reset_peak_memory_stats(number)
        return lambda: max(map(torch.cuda.max_memory_allocated, gpus)) / 2**30
    with suppress(OSError):
        append_text(Path("/proc/self/clear_refs"), "5\n")  # man 5 proc: resets the peak of resident memory
        return lambda: _resident_peak() / 2**30
    before = _resident_peak()
    return lambda: peak / 2**30 if (peak := _resident_peak()) > before else None


def _resident_peak() -> int:
    """Bytes; rusage's number would begin with the peak of the process that started this one."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def watch_energy(gpus: Sequence[int], library: str = "libnvidia-ml.so.1") -> Told:
    """Begin to watch the energy that these GPUs draw, whoever uses them, in Wh; processors do not tell it."""
    before = _millijoules(gpus, library)

    def told() -> float | None:
        after = _millijoules(gpus, library)
        return None if before is None or after is None else (after - before) / 3.6e6

    return told


def _millijoules(gpus: Sequence[int], library: str) -> int | None:
    """The sum of the counters that NVIDIA's driver keeps, None without them."""
    if not gpus:
        return None
    import torch

    total, handle, counter = 0, ctypes.c_void_p(), ctypes.c_ulonglong()
    try:
        driver = ctypes.CDLL(library)
        codes = [driver.nvmlInit_v2()]
        for number in gpus:
            name = f"GPU-{torch.cuda.get_device_properties(number).uuid}".encode()
            codes.append(driver.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)))
            codes.append(codes[-1] or driver.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(counter)))
            total += counter.value
    except (OSError, AttributeError):
        return None
    return None if any(codes) else total

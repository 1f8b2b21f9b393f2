"""Devices, memory and energy: against what is known of them otherwise."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bmae_lightning.runtime import machine
from bmae_lightning.runtime.machine import device_name, gpus_of, watch_energy, watch_memory

MIB = 2**20


@pytest.fixture
def gpus(monkeypatch):
    """As if there were four GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"u{number}"))


@pytest.mark.parametrize(
    ("trainer", "taken"),
    [
        ({}, []), ({"accelerator": "cpu", "devices": 2}, []), ({"accelerator": "gpu"}, [0, 1, 2, 3]),
        ({"accelerator": "auto", "devices": "auto"}, [0, 1, 2, 3]), ({"accelerator": "cuda", "devices": "2"}, [0, 1]),
        ({"accelerator": "gpu", "devices": -1}, [0, 1, 2, 3]), ({"accelerator": "gpu", "devices": [3]}, [3]),
        ({"accelerator": "gpu", "devices": "1,2"}, [1, 2]), ({"accelerator": "gpu", "devices": "3,"}, [3]),
    ],
)  # fmt: skip
def test_the_gpus_of_a_trainer(gpus, trainer, taken):
    assert gpus_of(trainer) == taken
    if taken:
        assert device_name(taken) == f"GPU {taken[0]}"


def test_the_processor_is_named_with_its_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert device_name([]).endswith(", 3 threads")
    assert len(device_name([])) > len(", 3 threads")


@pytest.mark.parametrize("resets", [True, False])
def test_memory_is_of_what_was_watched_and_not_of_what_was_before(monkeypatch, resets):
    """An array of 200 MiB before, one of 60 MiB meanwhile."""
    if not resets:
        monkeypatch.setattr(machine, "append_text", lambda *_: (_ for _ in ()).throw(PermissionError()))
    earlier = np.ones(200 * MIB, np.uint8)
    del earlier
    told = watch_memory([])
    before = _resident()
    held = np.ones(60 * MIB, np.uint8)
    if resets:
        assert before + 50 * MIB <= told() * 2**30 <= before + 130 * MIB
    else:
        assert told() is None, "the earlier peak hides it"
        more = np.ones(400 * MIB, np.uint8)
        assert told() * 2**30 >= before + 400 * MIB
        del more
    del held


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


DRIVER = """
#include <string.h>
static unsigned long long counted[2] = {5000000, 70000000};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strncmp(uuid, "GPU-u", 5) || uuid[5] > '1') return 2;
    *device = &counted[uuid[5] - '0'];
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy) {
    *energy = *(unsigned long long *)device;
    *(unsigned long long *)device += 7200000;
    return 0;
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="NVIDIA's driver as a shared object")
def test_energy_is_what_the_counters_of_the_driver_grew_by(gpus, tmp_path):
    """A library with NVML's functions whose counters grow by 7,200 J, 2 Wh, whenever they are read."""
    (tmp_path / "driver.c").write_text(DRIVER)
    library = str(tmp_path / "driver.so")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(tmp_path / "driver.c")], check=True)
    except OSError:
        pytest.skip("no C compiler")
    assert watch_energy([0], library)() == 2.0
    assert watch_energy([0, 1], library)() == 4.0
    assert watch_energy([0, 2], library)() is None, "one of them does not tell"
    assert watch_energy([], library)() is None
    assert watch_energy([0], str(tmp_path / "none.so"))() is None

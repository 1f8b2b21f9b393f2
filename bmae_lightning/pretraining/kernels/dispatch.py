"""Where a tensor function is replaced by its compiled twin, and how threads share a batch: the only such place.

A function marked `@compiled_twin` is plain PyTorch and serves GPUs and installations without numba. For CPU tensors the
function of the same name and arguments in `kernels/twins.py` runs instead and gives the same numbers to the last bit. A
mask per passage costs a CPU about 6 times less in a loop than in tensor operations, a mask per position about 30 times.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, wraps
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 1 << 16
"""Elements that one thread finishes sooner (about 0.2 ms) than another would start."""

PARTS = 4
"""Parts per thread, for passages of unequal lengths and busy cores."""


def compiled_twin(function: Callable) -> Callable:
    """Decorate a function of tensors and numbers, a tensor first, that has a twin in `kernels/twins.py`."""

    @wraps(function)
    def choose(first: Tensor, *rest):
        compiled = loops(first)
        return (getattr(compiled, function.__name__) if compiled else function)(first, *rest)

    return choose


def loops(tensor: Tensor) -> ModuleType | None:
    """The module of compiled twins if the tensor lies on the CPU and numba works, else None.

    The first call in a process loads numba (about half a second), the first in an installation compiles (seconds).
    """
    import torch

    if not tensor.is_cpu or torch.compiler.is_compiling():
        return None
    return twins()


@cache
def twins() -> ModuleType | None:
    """The module, or None; warns if numba is installed but does not work."""
    try:
        return import_module("bmae_lightning.pretraining.kernels.twins")
    except ImportError as error:
        if getattr(error, "name", None) != "numba":
            warnings.warn(f"numba does not work here, so masks are made 5 to 30 times slower: {error}", stacklevel=3)
        return None


_threads: ThreadPoolExecutor | None = None


def _forget_threads() -> None:
    """A forked process has none of its parent's threads."""
    global _threads
    _threads = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def spread(loop: Callable[..., None], rows: int, elements: int, *arguments) -> None:
    """loop(first, last, *arguments) over all rows, by as many threads as torch uses; elements says how much work it is.

    The loops let go of the interpreter. Plain threads are used because numba's own abort in a forked process.
    """
    import torch

    global _threads
    threads = min(torch.get_num_threads(), rows, 1 + elements // SMALL)
    if threads < 2:
        loop(0, rows, *arguments)
        return
    if _threads is None:
        _threads = ThreadPoolExecutor(os.cpu_count(), "masks")
    step = -(-rows // (threads * PARTS))
    starts = iter(range(0, rows, step))

    def work() -> None:
        for first in starts:
            loop(first, min(first + step, rows), *arguments)

    others = []
    with suppress(RuntimeError):  # the interpreter is about to end and starts no threads
        others = [_threads.submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()

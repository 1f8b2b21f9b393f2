"""Loops compiled by numba when their module is imported, kept on disk for the next process."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

inlined = numba.njit(inline="always", error_model="numpy")


def compiler(*sources: str) -> Callable[[str], Callable[[Callable], Any]]:
    """A decorator `compiled(signature)` for loops that let go of the interpreter.

    sources: files, besides that of the loop, whose functions the loop calls. numba's cache watches only the file of a
        loop; with their content in the loop's name it notices their changes too.
    """
    content = b"".join(Path(source).read_bytes() for source in sources)
    digest = hashlib.blake2b(content, digest_size=4).hexdigest()

    def compiled(signature: str) -> Callable[[Callable], Any]:
        def decorate(function: Callable) -> Any:
            function.__qualname__ = f"{function.__name__}_{digest}"
            try:
                return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(function)
            except Exception:  # no writable directory, a full disk, a damaged file; a true error is raised again below
                return numba.njit(signature, nogil=True, error_model="numpy")(function)

        return decorate

    return compiled

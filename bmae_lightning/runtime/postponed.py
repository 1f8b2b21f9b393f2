"""Build first what needs no library that takes seconds to load, so that most mistakes are told at once.

Inside `postponing` an import of such a library raises `Postponed`. `build` then puts `Unbuilt` in the place of a part,
and whoever looks at that is postponed in turn.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SLOW = ("bm25s", "pytorch_lightning", "torchmetrics", "sentence_transformers", "transformers", "torch")
"""Libraries that take long to load, half a second (bm25s) to four (pytorch_lightning)."""


class Postponed(BaseException):
    """What is being done needs a library that is not loaded yet.

    Not an Exception, so that nobody takes the library for one that is not installed.
    """


class _Gate:
    """A finder of modules that finds none."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, *_: Any) -> None:
        if name in self.names:
            raise Postponed(name)


def waves() -> list[tuple[str, ...]]:
    """What to postpone, one time after the other: all of them, all but torch, nothing; less where they are loaded."""
    return [names for names in (SLOW, SLOW[:-1]) if not all(name in sys.modules for name in names)] + [()]


@contextmanager
def postponing(names: tuple[str, ...]) -> Iterator[None]:
    """Raise `Postponed` inside the block at the import of one of these libraries that is not loaded yet."""
    gate = _Gate(names)
    sys.meta_path.insert(0, gate)
    try:
        yield
    finally:
        sys.meta_path.remove(gate)


class Unbuilt:
    """Stands for a part that could not be built yet; any look at it raises `Postponed`."""

    def _postpone(self, *_: Any) -> NoReturn:
        raise Postponed

    __getattr__ = __call__ = __iter__ = __len__ = __bool__ = __getitem__ = __contains__ = _postpone

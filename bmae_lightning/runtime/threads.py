"""Threads that share an amount of memory, for numpy's sorts and loops over large arrays, which run in parallel."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LEAST = 48 * 2**20
"""Bytes below which a thread is not worth having."""


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """threads: wanted, at least 1; as many run as have `LEAST` bytes each.  memory: bytes of all of them together."""

    def __init__(self, threads: int, memory: int):
        self.threads = max(1, min(threads, memory // LEAST))
        self.memory = memory
        self.share = memory // self.threads

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results in the order of the items; after an error no further item is begun."""
        if self.threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.threads) as pool:
            futures: list[Future[Any]] = [pool.submit(function, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """The results in the order of the items; at most `threads` + 1 items are drawn ahead of the results taken."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def in_turn(function: Callable[[int], None]) -> Callable[[int], None]:
    """The function, called by one thread at a time."""
    lock = threading.Lock()

    def call(number: int) -> None:
        with lock:
            function(number)

    return call

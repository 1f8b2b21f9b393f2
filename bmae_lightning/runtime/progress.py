"""Progress of a long loop on standard error: a bar on a terminal, otherwise a plain line at most every ten seconds.

    with track("encoding", total=len(passages)) as advance:
        for batch in batches:
            ...
            advance(len(batch))

ends with `encoding: 2,083/2,083 passages  41/s  in 0:50`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from bmae_lightning.runtime.process import process_rank

QUIET = 1.0  # seconds before anything is shown: what ends sooner leaves only its final line
EVERY = 10.0  # seconds between two plain lines

_bars: list[Any] = []  # the one live display; nested loops add their bar to it


@contextmanager
def track(
    label: str,
    total: int,
    unit: str = "passages",
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)`, to be called whenever n more of `total` units are done. Silent on ranks above 0.

    Nested use is fine. A loop that ends early or raises still gets its final line, with what was done.
    """
    if process_rank() > 0:
        yield lambda n=1: None
        return
    loop = _Loop(label, total, unit, stream or sys.stderr, clock)
    try:
        yield loop.advance
    finally:
        loop.finish()


class _Loop:
    def __init__(self, label: str, total: int, unit: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self.label, self.total, self.unit, self.stream, self.clock = label, total, unit, stream, clock
        self.terminal = stream.isatty()
        self.done = 0
        self.start = self.shown = clock()
        self.bar: _Bar | None = None

    def advance(self, n: int = 1) -> None:
        self.done += n
        now = self.clock()
        if self.terminal:
            if self.bar is None and now - self.start >= QUIET:
                self.bar = _Bar(self)
            if self.bar is not None:
                self.bar.update()
        elif now - self.shown >= EVERY:
            self.shown = now
            self.print(f"ETA {_clock_time(self.left(now))}")

    def finish(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.print(f"in {_clock_time(self.clock() - self.start)}")

    def rate(self) -> str:
        seconds = self.clock() - self.start
        per_second = self.done / seconds if seconds > 0 else 0.0
        return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.2g}/s"

    def left(self, now: float) -> float:
        return (self.total - self.done) * (now - self.start) / self.done if self.done else float("inf")

    def print(self, end: str) -> None:
        text = f"{self.label}: {self.done:,}/{self.total:,} {self.unit}  {self.rate()}  {end}"
        if self.terminal and _bars:
            _bars[0].console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)


class _Bar:
    """One bar in the shared live display, which lives as long as it has bars."""

    def __init__(self, loop: _Loop) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.loop = loop
        if not _bars:
            count = TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}")
            speed = TextColumn("{task.fields[rate]}  ETA {task.fields[eta]}")
            columns = (TextColumn("{task.description}:"), BarColumn(), count, speed)
            console = Console(file=loop.stream)
            _bars.append(
                Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
            )
            _bars[0].start()
        self.display = _bars[0]
        self.task = self.display.add_task(loop.label, total=loop.total, unit=loop.unit, rate="", eta="")

    def update(self) -> None:
        eta = _clock_time(self.loop.left(self.loop.clock()))
        self.display.update(self.task, completed=self.loop.done, rate=self.loop.rate(), eta=eta)

    def close(self) -> None:
        self.display.remove_task(self.task)
        if not self.display.tasks:
            self.display.stop()
            _bars.clear()


def _clock_time(seconds: float) -> str:
    """0:21, 12:05, 1:02:03; `?` when unknown."""
    if seconds == float("inf"):
        return "?"
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"

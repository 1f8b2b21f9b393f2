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
from typing import TYPE_CHECKING, TextIO

from bmae_lightning.runtime.process import process_rank

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET = 1.0  # seconds before anything is shown: what ends sooner leaves only its final line
EVERY = 10.0  # seconds between two plain lines

_bars: list[Progress] = []  # the one live display; nested loops add their bar to it


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
    """Counts what is done and shows it as one line of text, on a terminal behind a bar in the shared live display."""

    def __init__(self, label: str, total: int, unit: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self.label, self.total, self.unit, self.stream, self.clock = label, total, unit, stream, clock
        self.terminal = stream.isatty()
        self.done = 0
        self.start = self.shown = clock()
        self.bar = None

    def advance(self, n: int = 1) -> None:
        self.done += n
        now = self.clock()
        if self.terminal and now - self.start >= QUIET:
            self.show_bar()
        elif not self.terminal and now - self.shown >= EVERY:
            self.shown = now
            print(self.text(), file=self.stream, flush=True)

    def show_bar(self) -> None:
        if not _bars:
            _bars.append(_display(self.stream))
        if self.bar is None:
            self.bar = _bars[0].add_task("", total=self.total)
        _bars[0].update(self.bar, completed=self.done, description=self.text())

    def finish(self) -> None:
        if self.bar is not None:
            _bars[0].remove_task(self.bar)
            if not _bars[0].tasks:
                _bars.pop().stop()
        text = self.text(ended=True)
        if self.terminal and _bars:
            _bars[0].console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def text(self, ended: bool = False) -> str:
        """`encoding: 1,024/2,083 passages  41/s  ETA 0:26`; ended: with the time taken instead of the time left."""
        seconds = self.clock() - self.start
        rate = self.done / seconds if seconds > 0 else 0.0
        per_second = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        left = _clock_time((self.total - self.done) * seconds / self.done) if self.done else "?"
        end = f"in {_clock_time(seconds)}" if ended else f"ETA {left}"
        return f"{self.label}: {self.done:,}/{self.total:,} {self.unit}  {per_second}/s  {end}"


def _display(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = BarColumn(), TextColumn("{task.description}", markup=False)
    display = Progress(
        *columns, console=Console(file=stream), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    display.start()
    return display


def _clock_time(seconds: float) -> str:
    """0:21, 12:05, 1:02:03."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration(seconds: float) -> str:
    """4.2 s, 12 min 5 s, 3 h 20 min."""
    minutes, second = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {second} s"

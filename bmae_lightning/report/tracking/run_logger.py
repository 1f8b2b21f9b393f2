"""A Lightning logger of one W&B run, whose history only grows and whose troubles never reach the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from bmae_lightning.report.tracking.parts import ONCE, STEP, Logged
from bmae_lightning.runtime.process import print_once

_told: set[str] = set()
"""Troubles that this process has told."""


class RunLogger(Logger):
    """Logs to an open run.

    A continued stage trains some steps again; keys that are logged for a step already are not logged for it twice, and
    what has no step (a table) is logged once.

    Args:
        run: of W&B.
        logged: what its history holds.
        prefix: what all keys begin with.
        again: whether what has no step is a further row each time, as in the comparison of a sweep that is continued.
    """

    def __init__(self, run: Any, logged: Logged, prefix: str = "", again: bool = False) -> None:
        super().__init__()
        self.run, self.logged, self.prefix, self.again = run, logged, prefix, again
        self.broken: set[str] = set()

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str:
        return self.run.id

    def under(self, name: str) -> "RunLogger":
        """The same run with `name/` before the keys."""
        made = RunLogger(self.run, self.logged, f"{self.prefix}{name}/", self.again)
        made.broken = self.broken
        return made

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: the run has its configuration from the beginning."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None, kind: str = "values") -> None:
        """Log values for a step of training, or for none, those that are new; kind: as in `safely`."""
        values = {f"{self.prefix}{key}": value for key, value in metrics.items()}
        if step is not None or not self.again:
            reached, last = ONCE if step is None else step, self.logged.last
            values = {key: value for key, value in values.items() if key not in last or last[key] < reached}
        if values:
            row = max(self.logged.next, step or 0)
            self.logged.add(row, list(values), step)
            row_step = {} if step is None else {STEP: step}
            self.safely(self.run.log, values | row_step, step=row, commit=True, kind=kind)

    def log_table(self, key: str, columns: list[str], data: list[list]) -> None:
        """A table as one more row."""
        import wandb

        options: dict[str, Any] = {"columns": columns, "data": data, "allow_mixed_types": True}
        self.safely(lambda: self.log_metrics({key: wandb.Table(**options)}, kind="tables"), kind="tables")

    def log_page(self, key: str, path: Path) -> None:
        """A page as it is, and where it lies."""
        import wandb

        self.safely(lambda: self.log_metrics({key: wandb.Html(str(path), False)}, kind="pages"), kind="pages")
        self.safely(self.run.summary.update, {f"{key}_path": str(path.absolute())})

    def safely(self, call: Callable, *args: Any, kind: str = "values", **options: Any) -> None:
        """Do something with the run; the first failure of a kind is told, and after it no more of it is tried."""
        if kind in self.broken:
            return
        try:
            call(*args, **options)
        except Exception as error:  # noqa: BLE001  tracking must never stop the work
            self.broken.add(kind)
            _tell(f"W&B: {type(error).__name__} ({' '.join(str(error).split())}); {kind} may be missing there")


def _tell(trouble: str) -> None:
    """Print what is wrong with W&B, once for all runs of a process."""
    if trouble not in _told:
        print_once(trouble)
    _told.add(trouble)

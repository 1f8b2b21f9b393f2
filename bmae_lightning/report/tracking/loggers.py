"""What a tracking option offers to a stage: Lightning loggers, opened for one stage and closed at its end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import Table, first_line

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


class Tracking(ABC):
    """A choice of `logger=`. Subclasses make Lightning loggers; every stage has its own."""

    @abstractmethod
    def open(self, context: Context) -> list["Logger"]:
        """Loggers for this stage."""

    def close(self, context: Context, failed: bool) -> None:  # noqa: B027  most have nothing to close
        """End what `open` began; failed: whether the stage was left by an error."""

    def told(self, contexts: Sequence[Context]) -> str:
        """A line for the terminal about what was logged of these stages of a job, empty where there is nothing."""
        return ""

    @contextmanager
    def of(self, context: Context) -> Iterator[list["Logger"]]:
        """Loggers of a stage on rank 0, none on other ranks; closed at the end whatever happens."""
        if process_rank() != 0:
            yield []
            return
        loggers, failed = self.open(context), True
        try:
            yield loggers
            failed = False
        finally:
            for logger in loggers:
                logger.finalize("failed" if failed else "success")
            self.close(context, failed)

    def log(self, context: Context, values: dict[str, float]) -> None:
        """Write the results of a stage that has nothing else to log."""
        with self.of(context) as loggers:
            for logger in loggers:
                logger.log_metrics(values, step=0)


class Several(Tracking):
    """All of several choices, `logger=[wandb,csv]`; `logger=none` is none of them."""

    def __init__(self, choices: Sequence[Tracking]) -> None:
        self.choices = list(choices)

    def open(self, context: Context) -> list["Logger"]:
        return [logger for choice in self.choices for logger in choice.open(context)]

    def close(self, context: Context, failed: bool) -> None:
        for choice in self.choices:
            choice.close(context, failed)

    def told(self, contexts: Sequence[Context]) -> str:
        return "\n".join(filter(None, (choice.told(contexts) for choice in self.choices)))


def under(loggers: "list[Logger]", name: str) -> "list[Logger]":
    """The loggers for one of several trainings of a stage: where they can, they put its name before their keys."""
    return [logger.under(name) if hasattr(logger, "under") else logger for logger in loggers]


def log_table(loggers: "list[Logger]", key: str, columns: list[str], rows: list[list]) -> None:
    """Hand a table on to those loggers that show tables (W&B); none without rows."""
    for logger in loggers:
        if rows and hasattr(logger, "log_table"):
            logger.log_table(key=key, columns=columns, data=rows)


def log_tables(loggers: "list[Logger]", tables: Mapping[str, Table]) -> None:
    """Hand tables on to those loggers that show them, by name; empty cells are missing values there.

    Names are cut at 50 characters: W&B refuses names of more than 128, and puts that of the run in front.
    """
    for name, table in tables.items():
        rows = [[first_line(row[0]), *(None if value == "" else value for value in row[1:])] for row in table.rows]
        log_table(loggers, name[:50], [column.key for column in table.columns], rows)


def log_page(loggers: "list[Logger]", key: str, path: Path) -> None:
    """Hand a page on to those loggers that show pages (W&B), where it is there."""
    for logger in loggers:
        if path.is_file() and hasattr(logger, "log_page"):
            logger.log_page(key, path)


class NoTracking(Tracking):
    """Tracks nothing."""

    def open(self, context: Context) -> list:
        return []


class CsvTracking(Tracking):
    """`logger=csv`: csv/version_N/metrics.csv."""

    def open(self, context: Context) -> list["Logger"]:
        from pytorch_lightning.loggers import CSVLogger

        return [CSVLogger(context.directory, name="csv")]


class TensorboardTracking(Tracking):
    """`logger=tensorboard`: tensorboard/version_N; look at all stages with `tensorboard --logdir outputs/store`."""

    def open(self, context: Context) -> list["Logger"]:
        from pytorch_lightning.loggers import TensorBoardLogger

        try:
            return [TensorBoardLogger(context.directory, name="tensorboard")]
        except ModuleNotFoundError as error:
            raise BadInput("logger=tensorboard needs the package tensorboard: pip install tensorboard") from error

"""What a tracking option offers to a stage: Lightning loggers, opened for one stage and closed at its end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

    def close(self) -> None:  # noqa: B027  most have nothing to close
        """End what `open` began."""

    @contextmanager
    def of(self, context: Context) -> Iterator[list["Logger"]]:
        """Loggers of a stage on rank 0, none on other ranks; closed at the end whatever happens."""
        if process_rank() != 0:
            yield []
            return
        loggers = self.open(context)
        try:
            yield loggers
        finally:
            for logger in loggers:
                logger.finalize("success")
            self.close()

    def log(self, context: Context, values: dict[str, float]) -> None:
        """Write the results of a stage that has nothing else to log."""
        with self.of(context) as loggers:
            for logger in loggers:
                logger.log_metrics(values, step=0)


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


class NoTracking(Tracking):
    """`logger=none`."""

    def open(self, context: Context) -> list:
        return []

"""Tracking into files: Lightning's CSV and TensorBoard loggers, in the stage's directory."""

from typing import TYPE_CHECKING

from bmae_lightning.errors import BadInput
from bmae_lightning.stage.context import Context
from bmae_lightning.tracking.loggers import Tracking

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


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

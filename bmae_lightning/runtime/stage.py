"""What a running stage is told: its directory, its inputs' directories, its place in the experiment."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.errors import BadInput


@dataclass(frozen=True)
class Context:
    """Passed to `run` of every stage.

    Attributes:
        stage: name of the stage in the configuration, `retriever1`.
        arm: what is being compared, `retromae` or `none`; empty for stages that all arms share.
        directory: where the stage writes; kept while it is interrupted, complete once `done` is there.
        inputs: directories of finished stages by role; None where the arm leaves the role out.
        group: the W&B group: the experiment, or the sweep.
        output_dir: directory of all outputs.
        settings: the stage's resolved configuration, for logging only.
        pretrain_step: which snapshot of the pre-training the stage starts from, None for its end.
        job: what the job is that runs it (`command/job.py`), for logging only.
    """

    stage: str
    arm: str
    directory: Path
    inputs: dict[str, Path | None]
    group: str
    output_dir: Path
    settings: dict[str, Any] = field(default_factory=dict)
    pretrain_step: float | None = None
    job: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.stage} ({self.arm})" if self.arm else self.stage

    def input(self, role: str) -> Path:
        path = self.inputs.get(role)
        if path is None:
            raise BadInput(f"{self.stage}.inputs.{role} is empty: name the stage that makes it")
        return path


class Stage(ABC):
    """What the pipeline runs.

    A subclass is a dataclass, `@dataclass(kw_only=True)`: its fields are the keys of its YAML with their defaults, and
    `__post_init__` checks them (ValueError without the key of the stage, which `build` puts in front).

    name: its key in the configuration, for messages; no field, the pipeline sets it.
    """

    name: str = "stage"

    @classmethod
    def published_heads(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Heads in the table that it leaves for which papers print values, empty where it measures rankings."""
        return ()

    def preflight(self, splits: list[str]) -> None:  # noqa: B027  most have nothing to look at
        """Look ahead before anything runs, without work.

        Args:
            splits: judged splits of the corpus.

        Raises:
            BadInput: the stage could not run.
        """

    def check_inputs(self, inputs: Mapping[str, object]) -> None:  # noqa: B027  most need what their YAML names
        """Look at the inputs before anything runs.

        Args:
            inputs: role -> what makes it (with its `config`), None where there is none.

        Raises:
            BadInput: the options ask for an input that is missing.
        """

    def check_corpus(self, corpus: Path) -> None:  # noqa: B027  most have nothing of their own to look up
        """Look at the prepared corpus as soon as it is there, before anything is trained.

        Args:
            corpus: directory of the prepare stage.

        Raises:
            BadInput: a file of the user's does not fit it.
        """

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        """What the stage will take, for an estimate before anything runs; most take nothing that counts.

        sizes: of the collection that it works on.  inputs: as in `check_inputs`.
        """
        return Cost()

    @abstractmethod
    def run(self, context: Context) -> None:
        """Do the work; everything lies in `context.directory` afterwards."""


def require_splits(stage: str, wanted: list[str], splits: list[str]) -> None:
    """Check that the corpus has judgments for the splits a stage needs.

    Raises:
        BadInput: one is absent.
    """
    for split in wanted:
        if not splits:
            raise BadInput(
                f"{stage}: the corpus has passages alone (corpus.splits), and judged queries are needed here: choose "
                "what needs none, as stage=[pretrain]"
            )
        if split not in splits:
            raise BadInput(
                f"{stage}: the corpus has no judgments for the split {split!r}; there is {', '.join(splits)}: add its "
                "files, or choose what is measured (corpus.evaluated)"
            )


def device_of(accelerator: str) -> str:
    """What torch calls the device of a trainer's accelerator, `cpu`, `gpu` or `auto`."""
    import torch

    return "cuda" if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available() else "cpu"

"""`dashboard`: write W&B's workspace of what is finished, and load it where that is possible."""

from pathlib import Path
from typing import Any

from bmae_lightning.command.plan import named_stages
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput

DASHBOARD = "dashboard"


def shows_dashboard(config: dict[str, Any]) -> bool:
    """Whether the command is about the dashboard.

    Raises:
        BadInput: it is mixed with stages.
    """
    named = named_stages(config)
    if DASHBOARD in named and len(named) > 1:
        raise BadInput(f"the dashboard stands alone: python -m bmae_lightning {DASHBOARD}")
    return named == [DASHBOARD]


def show_dashboard(config: dict[str, Any]) -> None:
    """Write it for the finished jobs of `output_dir`."""
    build(config[DASHBOARD], DASHBOARD).run(Path(config["output_dir"]))

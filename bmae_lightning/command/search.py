"""A search such as Optuna's (`hydra/sweeper=optuna`): what it is told before its first trial."""

import copy
import sys
from contextlib import suppress
from enum import Enum
from typing import Any

from hydra.experimental.callback import Callback

from bmae_lightning.command.failure import refuse


class Search(Callback):
    """Hydra callback, called before that of the sweep."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Give the sweeper what the command does not say, and refuse a search that would have nothing to choose by.

        Measures are maximised, a failed trial ends the search where `fail_fast` says so, and the sampler has the seed
        of the jobs, so that the same command tries the same settings again and finds them finished. Of what is raised
        here Hydra lets pass only what ends the program.
        """
        from bmae_lightning.command.optimized import searching

        if not searching(config.hydra):
            return
        if "optuna" in config.hydra.sweeper._target_:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
        sweeper, typed = config.hydra.sweeper, {item.partition("=")[0] for item in config.hydra.overrides.hydra}
        if isinstance(sweeper.get("direction"), Enum):  # the plug-in's own; whoever sets it writes a word
            sweeper.direction = "maximize"
        if "max_failure_rate" in sweeper and "hydra.sweeper.max_failure_rate" not in typed:
            sweeper.max_failure_rate = 0.0 if config.fail_fast else 1.0
        if "seed" in (sampler := sweeper.get("sampler") or {}) and sampler.seed is None:
            sampler.seed = config.seed
        refuse_unmeasured(config)


def refuse_unmeasured(config: Any) -> None:
    """End the program where the command, as far as it is the same for all trials, measures nothing to choose by."""
    from bmae_lightning.command.optimized import Unmeasured
    from bmae_lightning.command.sweep import fingerprint_of

    with suppress(Exception):  # a mistake that may be of some trials alone, which are checked when they start
        try:
            fingerprint_of(copy.deepcopy(config))
        except Unmeasured as error:
            sys.exit(refuse(str(error)))

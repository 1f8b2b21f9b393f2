"""A search such as Optuna's (`hydra/sweeper=optuna`): what it is told before its first trial, and its best trial."""

from enum import Enum
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

RESULTS = "optimization_results.yaml"
"""What Optuna's sweeper leaves in the directory of the sweep."""


def searching(hydra_cfg: Any) -> bool:
    """Whether a job is a trial, whose returned measure decides what is tried next."""
    basic = hydra_cfg.sweeper._target_.endswith(".BasicSweeper")
    return getattr(hydra_cfg.mode, "name", None) == "MULTIRUN" and not basic


class Search(Callback):
    """Hydra callback."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """What the command does not say: measures are maximised, a failed trial ends the search where `fail_fast` says
        so, and the sampler has the seed of the jobs, so that the same command tries the same settings and finds them
        finished."""
        if not searching(config.hydra):
            return
        if "optuna" in config.hydra.sweeper._target_:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
        sweeper, typed = config.hydra.sweeper, {item.partition("=")[0] for item in config.hydra.overrides.hydra}
        if isinstance(sweeper.get("direction"), Enum):  # the plug-in's own; whoever sets it writes a word
            sweeper.direction = "maximize"
        if "max_failure_rate" in sweeper and "hydra.sweeper.max_failure_rate" not in typed:
            sweeper.max_failure_rate = 0.0 if config.get("fail_fast") else 1.0
        if "seed" in (sampler := sweeper.get("sampler") or {}) and sampler.seed is None:
            sampler.seed = config.seed

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Print the best trial."""
        from omegaconf import OmegaConf

        from bmae_lightning.runtime.process import print_once

        path = Path(config.hydra.sweep.dir) / RESULTS
        if searching(config.hydra) and path.is_file() and not config.check:
            print_once(best_trial(OmegaConf.to_container(OmegaConf.load(path))) + f" ({path})")


def best_trial(results: dict[str, Any]) -> str:
    """A line for what Optuna's sweeper found, or one for each solution where there are several measures."""
    solutions = results.get("solutions") or [{"params": results["best_params"], "values": [results["best_value"]]}]
    return "\n".join(
        f"best trial: {' '.join(f'{key}={value}' for key, value in found['params'].items())} -> "
        + ", ".join(f"{value:.4f}" for value in found["values"])
        for found in solutions
    )

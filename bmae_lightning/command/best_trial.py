"""What a search has found, in the last lines of its sweep."""

from pathlib import Path
from typing import Any

RESULTS = "optimization_results.yaml"
"""What Optuna's sweeper leaves in the directory of the sweep."""


def tell_best(directory: Path) -> None:
    """Print the best trial of the search in `directory`, if it was one and has one."""
    from omegaconf import OmegaConf

    from bmae_lightning.runtime.process import print_once

    if (path := directory / RESULTS).is_file():
        print_once(f"{best_trial(OmegaConf.to_container(OmegaConf.load(path)))} ({path})")


def best_trial(results: dict[str, Any]) -> str:
    """A line for what Optuna's sweeper found, or one for each solution where there are several measures."""
    solutions = results.get("solutions") or [{"params": results["best_params"], "values": [results["best_value"]]}]
    return "\n".join(
        f"best trial: {' '.join(f'{key}={value}' for key, value in found['params'].items())} -> "
        + ", ".join(f"{value:.4f}" for value in found["values"])
        for found in solutions
    )

"""Fingerprints: a stage's result is identified by a hash of everything that can change it.

That is its resolved configuration without the keys that only say how it is executed or watched, the fingerprints of its
inputs, and the version of the formats on disk (design: same hash, same result, so the stage is skipped).
"""

import hashlib
import json
from typing import Any

FORMAT = 4
"""Raised whenever a stage writes something that earlier readers would misunderstand."""

EXECUTION_KEYS = frozenset(
    {
        "logger", "workers", "threads", "memory_gb", "log_every", "checkpoint", "samples", "diagnostics",
        "enable_progress_bar", "enable_model_summary", "described", "reported",
    }
)  # fmt: skip
"""Names of options that change how a stage is executed or watched, never what it computes."""


def fingerprint(config: dict[str, Any], inputs: dict[str, str | None], extra: Any = None) -> str:
    """12 hexadecimal digits for a stage with this resolved `config` and these input fingerprints."""
    content = {"format": FORMAT, "config": _computing(config), "inputs": inputs, "extra": extra}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _computing(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _computing(value) for key, value in node.items() if key not in EXECUTION_KEYS}
    if isinstance(node, list):
        return [_computing(item) for item in node]
    return node

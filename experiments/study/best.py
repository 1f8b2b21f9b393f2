"""The best rows of the study's first part by dev, for the ladder: `best.py outputs/study/scratch/objectives`.

A row's value is the mean over its seeds; the arm without pre-training is none of them. Prints NAME,NAME,NAME.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

from bmae_lightning.runtime.ledger import DONE, Ledger

STAGE, REFERENCE = "evaluate", "none"


def values_of(sweep: Path, split: str, measure: str) -> dict[str, list[float]]:
    """Row -> its values on a split, one for each finished job of a sweep."""
    found = defaultdict(list)
    for job in Ledger(sweep).jobs().values():
        if job["state"] != DONE:
            continue
        path = sweep / job["directory"] / "result.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        row = next(o.partition("=")[2] for o in result["overrides"] if o.startswith("+study="))
        directory = Path(next(of for key, of in result["nodes"].items() if key.partition("@")[0] == STAGE))
        measured = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        if split not in measured:
            sys.exit(f"{path}: {split} was not measured: add corpus.evaluated=[…,{split}] to the study")
        if row != REFERENCE:
            found[row].append(measured[split]["mean"][measure])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="directory of the sweep, with its ledger")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--measure", default="RR@10")
    parser.add_argument("--rows", type=int, default=3, help="how many")
    options = parser.parse_args()
    found = values_of(options.sweep, options.split, options.measure)
    if not found:
        sys.exit(f"{options.sweep}: no row with pre-training has finished there")
    order = sorted(found, key=lambda row: -sum(found[row]) / len(found[row]))
    for row in order:
        values = " ".join(f"{value:.4f}" for value in found[row])
        print(f"{row}: {options.measure} on {options.split} {values}", file=sys.stderr)
    print(",".join(order[: options.rows]))


if __name__ == "__main__":
    main()

"""The number that a job returns, by which a search such as Optuna's chooses: a measure on dev, never on test.

`optimized_metric=dev/evaluate2/RR@10` names split, stage and measure. For a stage that is fine-tuned the measure is
that of its validation, so that `train/retriever1/RR@10` is of queries held out of training.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmae_lightning.command.plan import Node, named_stages, read_entries
from bmae_lightning.evaluation.measure.ranking import TRAIN, canonical, measures_of
from bmae_lightning.lit.metrics_file import VALIDATION, read_metrics
from bmae_lightning.runtime.configuration import build, locate
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage.rank import RankingStage
from bmae_lightning.stage.validation import DEV

TEST = re.compile(r"test|dl\d\d")
"""What names of splits that only report are like."""


class Unmeasured(BadInput):
    """A search has nothing to choose by."""


@dataclass(frozen=True)
class Place:
    """Where a measure of a job is written.

    Attributes:
        split, stage, measure: as in the option.
        rung: of the stage; None where no rung has it.
        directory: of the stage.
        best: whether it is a validation's, whose best look counts (True) or whose last one (False); None: a ranking's.
    """

    split: str
    stage: str
    measure: str
    rung: int | None
    directory: Path
    best: bool | None = None

    def __str__(self) -> str:
        return f"{self.split}/{self.stage}/{self.measure}"

    def value(self) -> float:
        """What the finished stage measured."""
        if self.best is None:
            return float(read_json(self.directory / "metrics.json")[self.split]["mean"][self.measure])
        lines = read_metrics(self.directory / "metrics.jsonl")
        looks = [line[VALIDATION + self.measure] for line in lines if VALIDATION + self.measure in line]
        return float(max(looks) if self.best else looks[-1])


def searching(hydra_cfg: Any) -> bool:
    """Whether a job is a trial, whose returned measure decides what is tried next."""
    basic = hydra_cfg.sweeper._target_.endswith(".BasicSweeper")
    return getattr(hydra_cfg.mode, "name", None) == "MULTIRUN" and not basic


def find_optimized(
    config: dict[str, Any], nodes: Mapping[str, Node], splits: list[str], searching: bool
) -> Place | None:  # fmt: skip
    """What `optimized_metric` names; by default the first measure of the last rung on dev, None where there is none.

    Args:
        config: resolved configuration.
        nodes: of the job, by key; of two arms the one with pre-training counts.
        splits: judged splits of the corpus.
        searching: whether somebody chooses by it, so that it must be there.

    Raises:
        Unmeasured: it is not measured, or of a split that only reports.
    """
    places, asked = list(_places(config, nodes, splits)), config["optimized_metric"]
    entries = read_entries(config)
    top = max((entries[node.stage].rung or 0 for node in nodes.values()), default=0)
    last = [place for place in places if place.best is None and place.rung == top]
    if asked is not None:
        return _named(asked, places, None if DEV in splits else _remedy(config, nodes, splits, last))
    found = next((place for place in last if place.split == DEV), None)
    if found is None and searching:
        raise Unmeasured(f"optimized_metric: {_remedy(config, nodes, splits, last)}")
    return found


def _places(config: dict[str, Any], nodes: Mapping[str, Node], splits: list[str]) -> Iterator[Place]:
    """Everything that the arm with pre-training, or the only one, measures by split."""
    entries = read_entries(config)
    for node in nodes.values():
        entry = entries[node.stage]
        if node.arm not in ("", config["name"]) or entry.arms is not None:
            continue
        if issubclass(locate(node.config["_target_"], node.stage), RankingStage):
            measures = build(node.config["measures"], "measures")
            for split in node.config["splits"]:
                for measure in canonical(measures_of(measures, split)):
                    yield Place(split, node.stage, measure, entry.rung, node.directory)
        validation = node.config.get("validation") or {}
        split = validation.get("split") or DEV
        if validation.get("every") is not None and split in splits:
            (measure,) = canonical([validation["measure"]])
            yield Place(split, node.stage, measure, entry.rung, node.directory, validation["keep"] == "best")


def _named(asked: Any, places: list[Place], remedy: str | None) -> Place:
    """The place that the option names. Raises Unmeasured where there is none; `remedy` where dev cannot be one."""
    option = f"optimized_metric={asked}"
    split, stage, measure = [*str(asked).split("/", 2), "", ""][:3]
    if not measure:
        raise Unmeasured(f"{option} must be SPLIT/STAGE/MEASURE, as dev/evaluate/RR@10")
    if TEST.match(split):
        instead = f"choose on dev, as optimized_metric=dev/{stage}/{measure} 'corpus.evaluated=[dev,{split}]'"
        raise Unmeasured(
            f"{option}: settings that are chosen on {split} are no longer tested by it; {remedy or instead}"
        )
    there = [place for place in places if (place.split, place.stage) == (split, stage)]
    named = next((place for place in there if place.measure == measure), None)
    if named or (named := next((place for place in there if [place.measure] == canonical([measure])), None)):
        return named
    measured = ", ".join(str(place) for place in places if not TEST.match(place.split))
    nothing = remedy or "there is nothing that one may choose by: add 'corpus.evaluated=[dev,test]'"
    there_is = f"there is {measured}" if measured else nothing
    raise Unmeasured(f"{option} is not measured in this job; {there_is}")


def _remedy(config: dict[str, Any], nodes: Mapping[str, Node], splits: list[str], last: list[Place]) -> str:
    """What is wrong and what to do where a search has nothing to choose by."""
    if not last:
        asked = ",".join(named_stages(config))
        return f"stage=[{asked}] ends before its last rung is measured: leave stage= out, or name the stage that ranks"
    if DEV in splits:
        measured = dict.fromkeys([DEV, *(place.split for place in last)])
        return f"a search chooses on dev, which is not measured: add 'corpus.evaluated=[{','.join(measured)}]'"
    missing = f"a search chooses on dev, and the corpus has {' and '.join(splits)} alone: "
    trained = [node for node in nodes.values() if node.config.get("validation")]
    if TRAIN not in splits:
        return missing + "give it judgments for dev that are not those of the reported queries"
    if not trained:
        return missing + "give it judgments for dev, which may be a part of train's"
    stage, (measure,) = trained[-1].stage, canonical([trained[-1].config["validation"]["measure"]])
    return (
        f"{missing}hold queries out of training, as optimized_metric=train/{stage}/{measure} "
        f"{stage}.validation.split=train {stage}.validation.every=0.5"
    )

"""What a report says, apart from how it looks: arms with their measures, tables, curves, rebuilt passages, settings.

Whatever shows it (page, figures, tables, terminal) takes one `Report`, which is one JSON file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.node_key import arm_of, stage_of
from bmae_lightning.runtime.plain import plain, restored
from bmae_lightning.runtime.table import Table

FORMAT, REPORT, PAGE = 4, "report.json", "report.html"
BASELINE = "none"
"""The arm without pre-training."""
PRINTED = "paper"
"""What stands among stages for the table of printed values that a run has not measured."""


@dataclass(frozen=True)
class Origin:
    """What one run behind a row is: how it was made and what it took.

    Attributes:
        job: what it was made from (`command/job.py`) without `config`: its command, method, encoder, masks, seed and
            so on; `masks` is empty where nothing was pre-trained, `encoder` and `seed` None where nothing was trained.
        fingerprint: of the stage that measured it.
        started: local time of the first of its stages, as ISO 8601.
        seconds: that all stages took which it depends on, shared ones included; None where it is not known.
        device_hours: of the stages on GPUs, each times its devices; where there is none, of all on processors.
        device: what these ran on, in words.
        passages_per_second: of pre-training, None without one.
        encodes_per_second: passages that were encoded in a second to be ranked, None where none were.
        peak_gib: the most memory that one of these took, on its device.
        watt_hours: drawn by the GPUs, None where they do not tell.
        versions: package -> version; several, with a comma between them, where stages had different ones.
        commit: of the code, several as for versions, None where it did not run from a checkout.
        complete: False where a killed attempt left no record, so that times are at least these.
    """

    job: dict[str, Any]
    fingerprint: str = ""
    started: str = ""
    seconds: float | None = None
    device_hours: float | None = None
    device: str = ""
    passages_per_second: float | None = None
    encodes_per_second: float | None = None
    peak_gib: float | None = None
    watt_hours: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    complete: bool = True


@dataclass(frozen=True)
class Arm:
    """One row of the comparison: a way to rank, judged on the `queries` queries of a split.

    `measures` and `paper` (the published values, if any) are keyed by names of ir_measures, in the same unit, higher is
    better; an absent or non-finite value is shown as missing. `paper_source` says where they are printed, `node` is
    the key of the stage that measured it.

    A row over several seeds has `Mean`s for measures. `interval`: measure -> the ends of its bootstrap interval over
    queries.  `origins`: a record for each run behind the row.  `state`: why it has no values, `failed` or `not run`,
    empty where it has.
    """

    name: str
    measures: dict[str, float]
    queries: int
    note: str = ""
    paper: dict[str, float] | None = None
    paper_source: str = ""
    node: str = ""
    split: str = ""
    interval: dict[str, tuple[float, float]] = field(default_factory=dict)
    origins: list[Origin] = field(default_factory=list)
    state: str = ""


@dataclass(frozen=True)
class Curve:
    """One figure of lines: `series` maps a name (an arm or a loss) to its (x, y) points in order of x.

    `dashed`: series that may lie on others.  `linear`: never on a logarithmic axis.  `marked`: every point is marked.
    """

    title: str
    series: dict[str, list[tuple[float, float]]]
    x: str = "step"
    y: str = "loss"
    dashed: list[str] = field(default_factory=list)
    linear: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Sample:
    """One passage as it is, as the encoder saw it, and as each decoder (by name) rebuilt it."""

    original: str
    masked: str
    rebuilt: dict[str, str]


@dataclass(frozen=True)
class Place:
    """Where a passage stands in a ranking: `rank` from 1, None where it is not among the `depth` that were ranked."""

    rank: int | None
    depth: int


@dataclass(frozen=True)
class Answer:
    """The passage that the arms in `values` rank first; `values` maps them to the query's value of the case's measure.

    Without a passage they found nothing. Without arms none of them ranks it first.
    `relevance` is its grade, None where it was not judged.
    `places`: of the passage that should have been found, arm -> its place; empty for all others.
    """

    values: dict[str, float]
    passage: str
    text: str
    relevance: int | None
    places: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One query, why it is shown, and what the arms answer."""

    query: str
    text: str
    chosen: str
    measure: str
    answers: list[Answer]


@dataclass(frozen=True)
class Diagnosis:
    """What the pre-training of one arm does with its bottleneck and its masks: figures and a table."""

    arm: str
    curves: list[Curve]
    table: Table


@dataclass(frozen=True)
class Report:
    """All that is reported of a set of runs; the order of every list is the order on the page.

    `arms` are those of the first split, then those of the second and so on; `tested`: split -> the measures in which
    `differences` between its arms were tested.
    `along`: the measures of a sweep's arms along an option.  `tables`: stage -> the tables that it left.  `names`: key
    of a node -> what its rows in these tables are called.  `printed`: a paper's tables, filled by a
    sweep, which stand first.
    `headline`: what was found, in sentences that stand at the top.  `reference`: the arm that the others are tested
    against, "" where all pairs are.  `single`: the runs behind rows that are means over seeds.  `verdicts`: ours
    against the paper's, value by value.  `jobs`: the jobs of a sweep, done, failed or not started.
    `behind`: arms without measures, which say what is behind the tables that stages left.
    """

    title: str
    subtitle: str = ""
    arms: list[Arm] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    tested: dict[str, list[str]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    along: list[Curve] = field(default_factory=list)
    tables: dict[str, list[Table]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    printed: list[Table] = field(default_factory=list)
    headline: list[str] = field(default_factory=list)
    reference: str = ""
    single: list[Arm] = field(default_factory=list)
    verdicts: list[Table] = field(default_factory=list)
    jobs: Table | None = None
    behind: list[Arm] = field(default_factory=list)

    def measures(self) -> list[str]:
        """Names of all measures in order of appearance, those that only the paper has behind the others."""
        return list(
            dict.fromkeys([*chain(*(arm.measures for arm in self.arms), *(arm.paper or () for arm in self.arms))])
        )

    def by_split(self) -> "dict[str, Report]":
        """The arms and differences of every split as a report of their own, which has the split in its title.

        Where all are of one split (or none is) that is called "". What is noted of an arm stands in the first.
        """
        splits = list(dict.fromkeys(arm.split for arm in self.arms))
        if len(splits) < 2:
            return {"": self}
        noted = {arm.name for arm in self.arms if arm.split == splits[0]}
        return {
            split: replace(
                self,
                title=f"{self.title}, {split}",
                arms=[
                    replace(arm, note="") if split != splits[0] and arm.name in noted else arm
                    for arm in self.arms
                    if arm.split == split
                ],
                differences=[row for row in self.differences if row.split == split],
            )
            for split in splits
        }

    def to_json(self) -> str:
        """The report as strict JSON (a non-finite number becomes null)."""
        return json.dumps({"format": FORMAT} | plain(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The inverse of `to_json` (null becomes nan).

        Raises:
            ValueError: `text` is not such a report.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise ValueError(f"not a report of format {FORMAT}")
        try:
            return restored(cls, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a complete report: {error!r}") from error


def decimals(arms: Sequence[Arm]) -> int:
    """Digits after the point: 4 where at least 1,000 queries carry them, else 3."""
    return 4 if min((arm.queries for arm in arms if not arm.state), default=0) >= 1000 else 3


def write_report(path: Path, report: Report) -> None:
    """Write `report` to `path` as JSON."""
    write_text(path, report.to_json())


def read_report(path: Path) -> Report:
    """Read what `write_report` wrote.

    Raises:
        BadInput: the file is absent or something else.
    """
    try:
        return Report.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give the report.json of a finished run") from error
    except ValueError as error:
        raise BadInput(
            f"{path}: {error}; delete {path.parent} and run the same command again, which writes it anew"
        ) from error


def row_name(arm: str, shown_as: str) -> str:
    """How the results of a stage for an arm are called: the arm, then what the stage is shown as; one may be empty."""
    return " ".join(filter(None, ["no pre-training" if arm == BASELINE else arm, shown_as]))


def pretraining_of(key: str) -> str | None:
    """What a page calls the pre-training of a node, None for another stage: its arm, `general` where all share it."""
    return {"pretrain": arm_of(key), "pretrain_general": "general"}.get(stage_of(key))

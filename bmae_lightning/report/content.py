"""What a report says, apart from how it looks: arms with their measures, curves, rebuilt passages, settings, notes.

Every writer of this package (table, figure, page, machine) takes one `Report`; it implements no equation.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.report.suite import SuiteTable, as_json

FORMAT = 1
BASELINE = "none"
"""The arm without pre-training."""
EXTERNAL = "external"
"""The stage that measures retrievers from elsewhere, each an arm by its own name."""
RUNGS = {"evaluate2": "retriever2", "rerank": "re-ranked", "evaluate_distilled": "distilled"}
"""Stages that measure a later rung -> what the rung is called; Retriever 1 goes by the name of its arm."""
FIRST_MEASURES = ("RR@10", "nDCG@10", "R@50", "R@100", "R@1000")


@dataclass(frozen=True)
class Arm:
    """One row of the comparison: a way to rank, judged on `queries` test queries.

    `measures` and `paper` (the published values, if any) are keyed by ir_measures names, in the same unit, higher is
    better; an absent or non-finite value is shown as missing. `paper_source` says where they are printed.
    """

    name: str
    measures: dict[str, float]
    queries: int
    note: str = ""
    paper: dict[str, float] | None = None
    paper_source: str = ""


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
class Scores:
    """A table beside that of the measures, of tasks with examples of their own; all values are higher-is-better.

    `columns` maps a head to the names of the values in its cells, `examples` to how many they are measured on (absent for
    a mean); `rows` maps an arm to its values by name, `paper` to published values by head.
    """

    title: str
    columns: dict[str, list[str]]
    examples: dict[str, int]
    rows: dict[str, dict[str, float]]
    paper: dict[str, dict[str, float]]
    note: str = ""

    def renamed(self, names: dict[str, str]) -> "Scores":
        """The same with other names of the arms."""
        rows, paper = ({names.get(arm, arm): of for arm, of in part.items()} for part in (self.rows, self.paper))
        return replace(self, rows=rows, paper=paper)


@dataclass(frozen=True)
class Sample:
    """One passage as it is, as the encoder saw it, and as each decoder (by name) rebuilt it."""

    original: str
    masked: str
    rebuilt: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """The passage that the arms in `values` rank first; `values` maps them to the query's value of the case's measure.

    Without a passage they found nothing. Without arms it is a relevant passage that none of them ranks first.
    `relevance` is its grade, None where nobody judged it.
    """

    values: dict[str, float]
    passage: str
    text: str
    relevance: int | None


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
    """What the pre-training of one arm does with its bottleneck and its masks: figures, and a table of step `when`.

    `rows` (one per loss) and `texts` (one per kind of text) are printed as they are: a name, then one text per column.
    """

    arm: str
    when: str
    curves: list[Curve]
    columns: list[str]
    rows: list[list[str]]
    texts: list[list[str]]


@dataclass(frozen=True)
class Report:
    """All that is reported of a set of runs; the order of every list is the order on the page.

    `split` is the judged one, `tested` names the measures in which `differences` between the arms were tested.
    `along`: the measures of a sweep's arms along an option.  `scores`: tables of other tasks.
    """

    title: str
    subtitle: str
    arms: list[Arm]
    curves: list[Curve]
    samples: list[Sample]
    settings: dict[str, str]
    notes: list[str]
    diagnoses: list[Diagnosis] = field(default_factory=list)
    split: str = ""
    tested: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    suites: list[SuiteTable] = field(default_factory=list)
    along: list[Curve] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)

    def measures(self) -> list[str]:
        """Names of all measures, the usual ones first, the others in order of appearance."""
        seen = dict.fromkeys(name for arm in self.arms for name in (*arm.measures, *(arm.paper or {})))
        return [name for name in FIRST_MEASURES if name in seen] + [n for n in seen if n not in FIRST_MEASURES]

    def to_json(self) -> str:
        """The report as strict JSON (a non-finite number becomes null)."""
        content = {
            "format": FORMAT,
            "title": self.title,
            "subtitle": self.subtitle,
            "arms": [_arm_out(arm) for arm in self.arms],
            "curves": [_curve_out(curve) for curve in self.curves],
            "samples": [vars(sample) for sample in self.samples],
            "settings": self.settings,
            "notes": self.notes,
            "diagnoses": [vars(part) | {"curves": list(map(_curve_out, part.curves))} for part in self.diagnoses],
            "split": self.split,
            "tested": self.tested,
            "differences": [_difference_out(row) for row in self.differences],
            "cases": [asdict(case) for case in self.cases],
            "suites": as_json(self.suites),
            "along": list(map(_curve_out, self.along)),
            "scores": [vars(table) for table in self.scores],
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The inverse of `to_json` (null becomes nan); raises ValueError if `text` is not such a report."""
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"not a report of format {FORMAT}")
        try:
            return cls(
                title=content["title"],
                subtitle=content["subtitle"],
                arms=[_arm_in(arm) for arm in content["arms"]],
                curves=[_curve_in(curve) for curve in content["curves"]],
                samples=[Sample(**sample) for sample in content["samples"]],
                settings=content["settings"],
                notes=content["notes"],
                diagnoses=[
                    Diagnosis(**(part | {"curves": list(map(_curve_in, part["curves"]))}))
                    for part in content.get("diagnoses", [])
                ],
                split=content.get("split", ""),
                tested=content.get("tested", []),
                differences=[_difference_in(row) for row in content.get("differences", [])],
                cases=[
                    Case(**(case | {"answers": [Answer(**answer) for answer in case["answers"]]}))
                    for case in content.get("cases", [])
                ],
                suites=[SuiteTable.from_dict(table) for table in content.get("suites", [])],
                along=list(map(_curve_in, content.get("along", []))),
                scores=[Scores(**table) for table in content.get("scores", [])],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a complete report: {error!r}") from error


def arm_name(stage: str, arm: str) -> str:
    """How the result of a stage for an arm is called in tables and figures."""
    if stage == "bm25":
        return stage
    if stage == EXTERNAL:
        return arm
    return " ".join(filter(None, ["no pre-training" if arm == BASELINE else arm, RUNGS.get(stage)]))


def is_number(value: float | None) -> bool:
    """Whether a value can be shown."""
    return value is not None and math.isfinite(value)


def _out(value: float | None) -> float | None:
    return float(value) if is_number(value) else None


def _in(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _difference_out(row: Difference) -> dict[str, Any]:
    return {name: _out(value) if isinstance(value, float) else value for name, value in asdict(row).items()}


def _difference_in(row: dict[str, Any]) -> Difference:
    return Difference(**{name: math.nan if value is None else value for name, value in row.items()})


def _arm_out(arm: Arm) -> dict[str, Any]:
    return {
        **vars(arm),
        "measures": {name: _out(value) for name, value in arm.measures.items()},
        "paper": arm.paper and {name: _out(value) for name, value in arm.paper.items()},
    }


def _arm_in(arm: dict[str, Any]) -> Arm:
    measures = {name: _in(value) for name, value in arm["measures"].items()}
    paper = arm["paper"] and {name: _in(value) for name, value in arm["paper"].items()}
    return Arm(**{**arm, "measures": measures, "paper": paper})


def _curve_out(curve: Curve) -> dict[str, Any]:
    series = {name: [(_out(x), _out(y)) for x, y in points] for name, points in curve.series.items()}
    return {**vars(curve), "series": series}


def _curve_in(curve: dict[str, Any]) -> Curve:
    series = {name: [(_in(x), _in(y)) for x, y in points] for name, points in curve["series"].items()}
    return Curve(**{**curve, "series": series})

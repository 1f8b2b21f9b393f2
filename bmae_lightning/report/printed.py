"""What papers print, as options hold it: the values of a row, the name of the row, the columns of its table."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bmae_lightning.evaluation.measure.ranking import canonical
from bmae_lightning.report.verdict import Tolerances
from bmae_lightning.runtime.checks import at_least, choice, nearest
from bmae_lightning.runtime.configuration import build, locate
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.former import renamed_option
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import Column, Table, is_number

Results = dict[str, dict[str, dict[str, float]]]
"""collection/split -> stage -> measure, data set or task -> value."""
PLACES = {
    "msmarco/dev": "MS MARCO dev", "msmarco/dl19": "TREC DL 19", "msmarco/dl20": "TREC DL 20", "nq/dev": "NQ dev",
    "nq/test": "NQ test", "beir/test": "BEIR", "glue/dev": "GLUE dev",
}  # fmt: skip
"""How papers call a collection/split; any other is shown as it is."""
BENCHMARKS = ("beir", "glue")
"""Collections that the stages which measure them bring along, whatever the corpus of a run is."""
AVERAGE = "AVERAGE"
"""What the mean over the data sets of a benchmark is called among them."""
MILLISECONDS = "milliseconds"
UNITS = {"percent": 100, "fraction": 1, MILLISECONDS: 1}
"""Unit of a printed table -> what a value is multiplied by to be in it."""
EXAMPLE = "{msmarco/dev: {evaluate: {RR@10: 0.3553}}}"


class PrintedColumn(NamedTuple):
    """A column of a printed table, `collection/split/stage/measure`; the stage is empty where rows tell it."""

    place: str
    stage: str
    measure: str

    @classmethod
    def read(cls, key: str) -> "PrintedColumn":
        """Raises ValueError where the key has another form."""
        parts = str(key).split("/")
        if len(parts) not in (3, 4) or not all(parts):
            raise ValueError(f"columns: {key!r} must be collection/split/stage/measure, as msmarco/dev/evaluate/RR@10")
        return cls("/".join(parts[:2]), parts[2] if len(parts) == 4 else "", parts[-1])

    @property
    def collection(self) -> str:
        return self.place.partition("/")[0]

    def head(self, form: str, higher: bool | None = None, rungs: Mapping[str, str] | None = None) -> Column:
        """The column of our table; rungs: stage -> what the head calls it."""
        if self.collection in BENCHMARKS:
            return Column(self.measure, form, higher)
        group = PLACES.get(self.place, self.place) + (
            f", {(rungs or {}).get(self.stage, self.stage)}" * bool(self.stage)
        )
        return Column(self.measure.removeprefix("answer_"), form, higher, group)


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """The option `paper_row`.

    Args:
        label: as printed, or by stage where rungs are rows.
        system: the one name of the system in all papers.
        origin: the paper that its cells are copied from (`from`).
        digits: where it is printed with others than its table.
    """

    label: Any
    system: str | None = None
    origin: str | None = None
    digits: int | None = None

    def __post_init__(self) -> None:
        at_least(0, digits=self.digits)

    def labels(self) -> dict[str, str]:
        """stage -> label; the stage is empty where the row is one."""
        named = self.label if isinstance(self.label, dict) else {"": self.label}
        return {stage: str(label) for stage, label in named.items()}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A printed row that cannot be repeated here, and why; values in the order of the columns, as fractions."""

    label: str
    why: str
    values: list
    origin: str | None = None
    digits: int | None = None


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """The option `paper_table`: title, unit, digits after the point, columns in the paper's order, references.

    tolerances: how far ours may be from what is printed.
    """

    title: str
    columns: list
    unit: str = "percent"
    digits: int = 1
    references: list = field(default_factory=list)
    tolerances: Any = field(default_factory=dict)

    def __post_init__(self) -> None:
        choice(UNITS, unit=self.unit)
        at_least(0, digits=self.digits)
        object.__setattr__(self, "columns", [PrintedColumn.read(key) for key in self.columns])
        made = [_made(Reference, node, f"paper_table.references[{i}]") for i, node in enumerate(self.references)]
        object.__setattr__(self, "references", made)
        object.__setattr__(self, "tolerances", _made(Tolerances, self.tolerances, "paper_table.tolerances"))
        for row in made:
            if len(row.values) != len(self.columns):
                raise ValueError(f"references: {row.label!r} has {len(row.values)} values, not {len(self.columns)}")
            if self.unit != MILLISECONDS:
                check_shares(
                    {key.measure: value for key, value in zip(self.columns, row.values, strict=True)}, row.label
                )

    def shown(self, value: float | None) -> float | None:
        """A fraction (or milliseconds) in the unit of the table."""
        if isinstance(value, Mean):
            return value.scaled(UNITS[self.unit])
        return round(value * UNITS[self.unit], 10) if is_number(value) else None


def _made(kind: type, node: Any, key: str) -> Any:
    if not isinstance(node, dict):
        raise BadInput(
            f"{key} must have {', '.join(kind.__dataclass_fields__)} by name, got {node!r}".replace("origin", "from")
        )
    options = {"origin" if name == "from" else name: value for name, value in node.items()}
    return build({"_target_": f"{__name__}.{kind.__name__}"} | options, key)


def read_row(node: Any, name: str = "") -> PaperRow:
    """The option `paper_row`; where it is null, a row of this name."""
    return PaperRow(label=name) if node is None else _made(PaperRow, node, "paper_row")


def read_table(node: Any) -> PaperTable | None:
    return None if node is None else _made(PaperTable, node, "paper_table")


def check_options(config: Mapping[str, Any]) -> None:
    """Look at `paper_row`, `paper_results` and `paper_table` of a resolved configuration before any work.

    Raises:
        BadInput: a wrong form, an unknown stage or measure, or a column that leaves open whose values it shows.
    """
    row, table = read_row(config["paper_row"]), read_table(config["paper_table"])
    stages = {name: node for name, node in config.items() if isinstance(node, dict) and "inputs" in node}
    try:
        results = check_results({} if config["paper_results"] is None else config["paper_results"], stages)
    except ValueError as error:
        raise BadInput(str(error)) from error
    named = [("paper_row.label", stage, []) for stage in row.labels()]
    named += [
        (f"paper_results.{place}.{stage}", stage, list(values))
        for place, by_stage in results.items() for stage, values in by_stage.items()
    ]  # fmt: skip
    for column in table.columns if table and table.unit != MILLISECONDS else ():
        named.append(("paper_table.columns", column.stage, [column.measure]))
        if "" in row.labels() and not column.stage and len(found := stages_of(column, results)) > 1:
            raise BadInput(
                f"paper_table.columns: {column.place}/{column.measure} is printed for {' and '.join(found)}: name the "
                "stage in the column, or the rows by stage in paper_row.label"
            )
    for key, stage, measures in named:
        if stage:
            _check_names(key, stage, measures, stages)


def _check_names(key: str, stage: str, measures: list[str], stages: Mapping[str, Any]) -> None:
    """Whether there is such a stage, and it has these measures, or columns of its table."""
    if stage not in stages:
        raise BadInput(f"{key}: there is no stage {stage!r}{nearest(stage, stages)}")
    heads = locate(stages[stage]["_target_"], stage).published_heads(stages[stage])
    for name in measures if heads else ():
        if name not in heads:
            raise BadInput(f"{key}: no column is called {name!r}{nearest(name, heads)}")
    canonical([] if heads else measures)


def stages_of(column: PrintedColumn, results: Results) -> list[str]:
    """The stages that a row has a printed value of, in this place and measure."""
    return [stage for stage, values in results.get(column.place, {}).items() if column.measure in values]


def check_results(results: Any, stages: Collection[str]) -> Results:
    """Printed values without those that are null.

    stages: those that have rows.

    Raises:
        ValueError: another form, no such stage, or a value that is not in 0..1.
    """
    found: Results = {}
    for place, by_stage in _items(results, "paper_results", "collection/split, stage and measure"):
        if str(place).count("/") != 1 or not all(str(place).split("/")):
            key = f"paper_results.{place}"
            raise ValueError(f"{key}: {place!r} is not collection/split{renamed_option(key)}")
        for stage, values in _items(by_stage, f"paper_results.{place}", "stage and measure"):
            key = f"paper_results.{place}.{stage}"
            if stage not in stages:
                raise ValueError(f"{key}: no such stage is measured{nearest(str(stage), stages)}")
            found.setdefault(place, {})[stage] = check_shares(dict(_items(values, key, "measure")), key)
    return found


def _items(node: Any, key: str, by: str) -> Iterable[tuple[Any, Any]]:
    if not isinstance(node, dict):
        raise ValueError(f"{key} must be values by {by}, as in {EXAMPLE}, got {node!r}")
    return node.items()


def check_shares(values: Mapping[str, Any], key: str) -> dict[str, float]:
    """The values that are not null. Raises ValueError where one is not in 0..1."""
    for name, value in values.items():
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1):
            raise ValueError(f"{key}.{name} must lie in 0..1 like our own values, got {value!r}; 35.5 % is 0.355")
    return {name: float(value) for name, value in values.items() if value is not None}


def as_printed(results: Results, source: str, names: Mapping[str, str], measured: str) -> list[Table]:
    """What is printed for other collections, splits and stages than a run has measured, as a table or none.

    names: stage -> what its row is called.  measured: the collection and splits of the run.
    """
    rows: dict[str, dict[tuple[str, str], float]] = {}
    for place, by_stage in results.items():
        for stage, values in by_stage.items():
            rows.setdefault(names[stage], {}).update({(place, measure): value for measure, value in values.items()})
    places = list(dict.fromkeys((place, m) for place, of in results.items() for values in of.values() for m in values))
    if not places:
        return []
    digits = max(len(str(value).partition(".")[2]) for values in rows.values() for value in values.values())
    heads = [Column(measure, f".{digits}f", group=PLACES.get(place, place)) for place, measure in places]
    cells = [[name, *(values.get(key, "") for key in places)] for name, values in rows.items() if values]
    note = f"Printed, and not measured by this run, which is of {measured}."
    return [Table(" ".join(["As printed:", source] if source else ["As printed"]), ["", *heads], cells, notes=[note])]

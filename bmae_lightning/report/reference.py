"""Which row the others are tested against (`report.reference`)."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bmae_lightning.report.content import BASELINE, row_name
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.node_key import arm_of, stage_of

ALL = "all"
"""In place of a name: all pairs are tested."""


class Candidate(NamedTuple):
    """A row of one split: its name on this page and in its job, the key of its node, the jobs that have it."""

    name: str
    known_as: str
    node: str
    jobs: frozenset[int] = frozenset()


class Reference(NamedTuple):
    """What the rows are tested against: its name, and (row, against); None: all pairs.  `unknown`: why it is not so."""

    name: str = ""
    pairs: list[tuple[str, str]] | None = None
    unknown: str = ""


def find_reference(rows: Sequence[Candidate], wanted: str | None) -> Reference:
    """An arm stands for all of its rows: every rung, and every job of a sweep, is tested against its own.

    wanted: name of an arm or a row; None: the arm without pre-training, where there is another one.
    """
    if wanted == ALL or (wanted is None and not any(arm_of(row.node) not in ("", BASELINE) for row in rows)):
        return Reference()
    chosen = _called(rows, BASELINE if wanted is None else wanted)
    if not chosen:
        return Reference(unknown="" if wanted is None else f"{_refusal(wanted, rows)}; all pairs were tested")

    def own(row: Candidate) -> Candidate:
        return min(chosen, key=lambda other: (not row.jobs & other.jobs, stage_of(row.node) != stage_of(other.node)))

    name = chosen[0].name if len(chosen) == 1 else chosen[0].known_as
    return Reference(name, [(row.name, own(row).name) for row in rows if row not in chosen])


def check_reference(wanted: Any, keys: Iterable[str], shown_as: dict[str, str]) -> None:
    """Refuse a name that no row will have.

    keys: of the planned nodes.  shown_as: stage -> what its rows are called, of the stages that have rows.

    Raises:
        BadInput: there is no such arm and no such row.
    """
    parts = [(key, stage_of(key), arm_of(key)) for key in keys]
    names = [(key, row_name(arm, shown_as[stage])) for key, stage, arm in parts if stage in shown_as]
    rows = [Candidate(name, name, key) for key, name in names]
    if wanted not in (None, ALL) and not _called(rows, wanted):
        raise BadInput(_refusal(wanted, rows))


def _called(rows: Sequence[Candidate], wanted: Any) -> list[Candidate]:
    """The rows of the arm of this name, or the row of this name, here or in its job."""
    name = str(wanted).casefold()
    named = [(row, arm_of(row.node)) for row in rows]
    arms = [row for row, arm in named if arm and name in (arm.casefold(), row_name(arm, "").casefold())]
    here = [row for row in rows if row.name.casefold() == name]
    return arms or here or [row for row in rows if row.known_as.casefold() == name]


def _refusal(wanted: Any, rows: Sequence[Candidate]) -> str:
    near = nearest(str(wanted), [row.name for row in rows]).removesuffix("?")
    return f"report.reference={wanted}: no row is called so{near} (or {ALL}, for all pairs)"

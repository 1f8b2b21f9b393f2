"""What a reader wants to know first, in sentences: the best row against the reference, chance, BM25, what failed.

Every sentence is made from the report alone, of the first measure of the first split.
"""

from collections.abc import Sequence
from dataclasses import replace

from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.report.content import BASELINE, Arm, Report, decimals
from bmae_lightning.report.significance import LEVEL
from bmae_lightning.runtime.ledger import DONE
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import Column, cell_text, is_number, printable

SMALL = "laptop"
"""The scale at which nothing can be learnt about pre-training."""


def with_headline(report: Report) -> Report:
    """The report with its sentences, which are made from all else that it says."""
    return replace(report, headline=headline(report))


def headline(report: Report) -> list[str]:
    """The sentences, none where there is nothing to say."""
    return [*_of_measures(report), *_of_jobs(report), *_of_scale(report)]


def _of_measures(report: Report) -> list[str]:
    part = next(iter(report.by_split().values()))
    measure = next(iter(part.measures()), "")
    arms = [arm for arm in part.arms if is_number(arm.measures.get(measure))]
    if not arms:
        return []
    form = f".{decimals(part.arms)}f"

    def shown(arm: Arm, verb: str = "has") -> str:
        value = arm.measures[measure]
        spread = f" ({value.runs} seeds)" if isinstance(value, Mean) else ""
        return f"{printable(arm.name)} {verb} {cell_text(value, Column('', form))}{spread}"

    def highest(rows: Sequence[Arm]) -> Arm:
        return max(rows, key=lambda arm: arm.measures[measure])

    own = [arm for arm in arms if _is_own(arm) and arm.name != report.reference]
    best = highest(own or arms)
    split = f" on {best.split}" if best.split else ""
    counts = f"{best.queries:,} {'query' if best.queries == 1 else 'queries'}"
    told = f"the best of {len(own)} rows is {shown(best, 'with')}" if len(own) > 1 else shown(best)
    sentence = f"{measure}{split}, {counts}: {told}"
    reference = _reference(report, best, arms) if own else None
    if reference:
        sentence += f", {shown(reference)}; {_judged(part, measure, best, reference, form)}"
    elif own:
        sentence += "; no row without pre-training was measured beside it"
    sentences = [f"{sentence}."]
    if len(own) > 1:
        lowest = min(own, key=lambda arm: arm.measures[measure])
        sentences.append(f"The lowest of these rows is {shown(lowest, 'with')}.")
    lexical = [arm for arm in arms if _stage(arm) == "bm25" and arm is not best]
    sentences += [f"{shown(arm)}." for arm in lexical[:1]]
    if (top := highest(arms)) not in (best, reference, *lexical[:1]):
        sentences.append(f"The highest row of the table is {shown(top, 'with')}.")
    return sentences


def _judged(report: Report, measure: str, best: Arm, reference: Arm, form: str) -> str:
    """The difference of two rows and whether it is more than chance."""
    pair = {best.name, reference.name}
    row = next((row for row in report.differences if row.measure == measure and {row.arm, row.against} == pair), None)
    if row is None:
        less = float(best.measures[measure]) - float(reference.measures[measure])
        return f"a difference of {_signed(less, form)}, which was not tested"
    less = row.difference if row.arm == best.name else -row.difference
    adjusted = "adjusted p {} and {}".format(*(cell_text(p, Column("", "p")) for p in _adjusted(row)))
    if less == 0:
        return "no difference"
    clear = all(is_number(p) and p < LEVEL for p in _adjusted(row))
    verdict = "more than chance explains" if clear else "which the tests cannot tell from chance"
    return f"a difference of {_signed(less, form)}, {verdict} ({adjusted})"


def _adjusted(row: Difference) -> tuple[float, float]:
    return row.t_holm, row.randomisation_holm


def _signed(value: float, form: str) -> str:
    return format(value, f"+{form}").replace("-", "−")


def _reference(report: Report, best: Arm, arms: Sequence[Arm]) -> Arm | None:
    """What a row is judged against: the named reference, or the row without pre-training of the same stage.

    In a ladder each rung has its own, so a tested pair says which.
    """
    tested = {row.against for row in report.differences if row.arm == best.name}
    tested |= {row.arm for row in report.differences if row.against == best.name}
    without = [arm for arm in arms if arm.node == f"{_stage(best)}@{BASELINE}" and arm.name != best.name]
    named = [arm for arm in arms if arm.name == report.reference and arm.name != best.name]
    for wanted in ([arm for arm in [*without, *named] if arm.name in tested], named, without):
        if wanted:
            return wanted[0]
    return None


def _stage(arm: Arm) -> str:
    return arm.node.partition("@")[0]


def _is_own(arm: Arm) -> bool:
    """Whether a row was trained here with some pre-training."""
    stage, _, name = arm.node.partition("@")
    return bool(name) and name != BASELINE and stage != "external"


def _of_jobs(report: Report) -> list[str]:
    """How many jobs (or rows) have no result, and what became of them."""
    if report.jobs is None:
        what, states = "rows", list({arm.name: arm.state for arm in report.arms}.values())
    else:
        place = [column.name for column in report.jobs.columns].index("state")
        what, states = "jobs", [row[place] for row in report.jobs.rows]
    without = [state for state in states if state not in ("", DONE)]
    if not without:
        return []
    told = ", ".join(f"{without.count(state)} {state}" for state in dict.fromkeys(without))
    return [f"{len(without)} of {len(states)} {what} {'has' if len(without) == 1 else 'have'} no result: {told}."]


def _of_scale(report: Report) -> list[str]:
    scales = {origin.job.get("scale") for arm in report.arms for origin in arm.origins}
    if SMALL not in scales:
        return []
    return [f"At scale={SMALL} this shows that everything runs; it is no evidence about pre-training."]

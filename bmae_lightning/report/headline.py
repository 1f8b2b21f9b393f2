"""What a reader wants to know first, in sentences: the best row against the reference, chance, BM25, what failed.

Every sentence is made from the report alone, of the first measure of the first split.
"""

from collections.abc import Sequence
from dataclasses import replace

from bmae_lightning.evaluation.measure.power import runs_needed
from bmae_lightning.report.content import BASELINE, Arm, Report, decimals
from bmae_lightning.report.significance import ONE_SEED, PERCENT, is_clear, spread
from bmae_lightning.runtime.ledger import DONE
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.node_key import arm_of, stage_of
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

    judges = {row.against for row in report.differences if report.reference}
    own = [arm for arm in arms if _is_own(arm) and arm.name not in judges | {report.reference}]
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
    sentences = [
        f"{sentence}.",
        *(_of_seeds(part, best, reference, measure, form) if reference else []),
    ]
    lowest = min(own or [best], key=lambda arm: arm.measures[measure])
    if lowest.measures[measure] < best.measures[measure]:
        sentences.append(f"The lowest of these rows is {shown(lowest, 'with')}.")
    lexical = [arm for arm in arms if stage_of(arm.node) == "bm25" and arm not in (best, reference)]
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
    sign = 1 if row.arm == best.name else -1
    adjusted = "adjusted p {} and {}".format(
        *(cell_text(p, Column("", "p")) for p in (row.t_holm, row.randomisation_holm))
    )
    if row.difference == 0:
        return "no difference"
    ends = [_signed(end, form) for end in sorted(sign * end for end in row.interval or ())]
    interval = f" ({PERCENT} interval {' to '.join(ends)})" if ends else ""
    clear = "more than chance explains" if is_clear(row) else "which the tests cannot tell from chance"
    return f"a difference of {_signed(sign * row.difference, form)}{interval}, {clear} ({adjusted})"


def _of_seeds(report: Report, best: Arm, reference: Arm, measure: str, form: str) -> list[str]:
    """How many seeds a difference would need, or that there is one."""
    value, other = best.measures[measure], reference.measures[measure]
    if not isinstance(value, Mean) and not isinstance(other, Mean):
        return [ONE_SEED]
    if not (isinstance(value, Mean) and isinstance(other, Mean) and value != other):
        return []
    sd, groups = spread(report, best, reference, measure)
    if not sd > 0:
        return []
    needed = runs_needed(float(value) - float(other), sd, groups)
    of = "Over seeds, which both rows share, the sd of the difference is" if groups == 1 else "Over seeds the sd is"
    return [f"{of} {sd:{form}}; a difference of this size needs about {needed:,} seeds per arm."]


def _signed(value: float, form: str) -> str:
    return format(value, f"+{form}").replace("-", "−")


def _reference(report: Report, best: Arm, arms: Sequence[Arm]) -> Arm | None:
    """What a row was tested against where there is a reference, else the row without pre-training of the same stage."""
    against = {row.against for row in report.differences if row.arm == best.name} or {report.reference}
    if report.reference:
        found = [arm for arm in arms if arm.name in against]
    else:
        found = [arm for arm in arms if arm.node == f"{stage_of(best.node)}@{BASELINE}"]
    return next((arm for arm in found if arm.name != best.name), None)


def _is_own(arm: Arm) -> bool:
    """Whether a row was trained here with some pre-training."""
    return arm_of(arm.node) not in ("", BASELINE) and stage_of(arm.node) != "external"


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

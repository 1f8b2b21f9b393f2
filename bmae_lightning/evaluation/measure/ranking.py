"""Ranking measures, computed by ir_measures and nothing else, under its names (nDCG@10, RR@10, R@1000).

Every judged query counts: one that the run does not answer scores 0 (trec_eval -c).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import ir_measures

from bmae_lightning.evaluation.measure.trec import Run, read_qrels, read_run
from bmae_lightning.runtime.errors import BadInput

MEASURES = ("RR@10", "nDCG@10", "R@50", "R@100", "R@1000")
ANSWER_RECALL = "answer_R@"
"""What the answer recall at some rank is called."""
CHUNK = 1000  # queries handed to ir_measures at a time; it wants nested dictionaries


@dataclass(frozen=True)
class Measured:
    """mean: measure -> value over all judged queries.  per_query: measure -> query id -> value.

    queries: how many are judged.  answered: how many of them the run has a ranking for.
    """

    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]
    queries: int
    answered: int


def evaluate(
    qrels: str | Path | Mapping[str, Mapping[str, int]],
    run: str | Path | Run | Mapping[str, Mapping[str, float]],
    measures: Sequence["str | Measure"] = MEASURES,
) -> Measured:
    """Measure a run against judgments.

    qrels: a TREC file or query id -> passage id -> relevance.  run: a TREC file, a Run, or query id -> passage id ->
    score; files and dictionaries are ordered as trec_eval orders them, a Run keeps its order.
    measures: names of ir_measures, spelt canonically in the result, or measures of one's own.

    Raises:
        BadInput: an unknown measure, no judged query, a run none of whose queries is judged, a passage that a query
            lists twice, or a query that a measure of one's own gives no value.
    """
    found = {_name(measure): measure for measure in map(find_measure, measures)}
    own = {name: measure for name, measure in found.items() if not isinstance(measure, ir_measures.Measure)}
    qrels = read_qrels(qrels) if isinstance(qrels, str | Path) else qrels
    ranked = read_run(run) if isinstance(run, str | Path) else run if isinstance(run, Run) else Run(run)
    _check_ids(qrels, ranked)
    mean, per_query = _computed({name: measure for name, measure in found.items() if name not in own}, qrels, ranked)
    for name, measure in own.items():
        values = measure.evaluate(qrels, ranked)
        if absent := [query for query in qrels if query not in values]:
            raise BadInput(f"measures: {name} gives no value for {len(absent):,} queries, such as {absent[0]!r}")
        per_query[name] = {query: float(values[query]) for query in qrels}
        mean[name] = sum(per_query[name].values()) / len(qrels)
    answered = sum(query in ranked for query in qrels)
    return Measured({name: mean[name] for name in found}, {n: per_query[n] for n in found}, len(qrels), answered)


def _computed(
    measures: dict[str, Any], qrels: Mapping[str, Mapping[str, int]], ranked: Run
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Means and values per query of measures of ir_measures."""
    per_query: dict[str, dict[str, float]] = {name: {} for name in measures}
    means = {name: measure.aggregator() for name, measure in measures.items()}
    queries = iter(qrels if measures else ())
    while chunk := list(islice(queries, CHUNK)):
        judged = {query: dict(qrels[query]) for query in chunk}
        answers = {query: _falling(query, ranked.passages(query)) for query in chunk if query in ranked}
        values = _values(list(measures.values()), judged, answers)
        found = {(value.query_id, str(value.measure)): value.value for value in values}
        for name, mean in means.items():
            for query in chunk:
                per_query[name][query] = value = float(found.get((query, name), 0.0))
                mean.add(value)
    return {name: float(mean.result()) for name, mean in means.items()}, per_query


class Measure(Protocol):
    """A measure of one's own, as an entry of `measures` beside the names of ir_measures; higher is better.

    Attributes:
        name: head of its column.
    """

    name: str

    def evaluate(self, qrels: Mapping[str, Mapping[str, int]], run: Run) -> dict[str, float]:
        """Query id -> value, for every query of `qrels`: query id -> passage id -> relevance."""


@dataclass(frozen=True)
class AnswerRecall:
    """answer_R@k: the share of questions with a passage in the top k that holds an answer (DPR, section 4).

    This is Success@k over judgments that are made from the answers (`evaluation.measure.answers`).
    """

    k: int
    by_answers = True

    @property
    def name(self) -> str:
        return f"{ANSWER_RECALL}{self.k}"

    def evaluate(self, qrels: Mapping[str, Mapping[str, int]], run: Run) -> dict[str, float]:
        (values,) = evaluate(qrels, run, [f"Success@{self.k}"]).per_query.values()
        return values


def find_measure(measure: str | Measure) -> Any:
    """A measure of ir_measures by its name, answer_R@k as an `AnswerRecall`, or the measure itself.

    Raises:
        BadInput: ir_measures does not know the name, or the object has no `name` or no `evaluate`.
    """
    if not isinstance(measure, str):
        if isinstance(getattr(measure, "name", None), str) and callable(getattr(measure, "evaluate", None)):
            return measure
        raise BadInput(f"measures: {measure!r} is no measure: it must have a name and a method evaluate(qrels, run)")
    if not measure.startswith(ANSWER_RECALL):
        return _parse(measure)
    k = measure.removeprefix(ANSWER_RECALL)
    if not re.fullmatch("[1-9][0-9]*", k):
        raise BadInput(f"unknown measure {measure!r}: {ANSWER_RECALL} wants a number of ranks, as in {ANSWER_RECALL}20")
    return AnswerRecall(int(k))


def by_answers(measure: str | Measure) -> bool:
    """Whether a measure takes judgments that are made from the accepted answers of the questions."""
    return getattr(find_measure(measure), "by_answers", False)


def canonical(measures: Sequence[str | Measure]) -> list[str]:
    """The names as ir_measures spells them, MRR@10 as RR@10.

    Raises:
        BadInput: as `find_measure`.
    """
    return [_name(find_measure(measure)) for measure in measures]


Measures = Sequence[str | Measure | Mapping[str, Sequence[str | Measure]]]
"""The option `measures`: those of all splits but the ones that have a list of their own, {dl19: [nDCG@10]}."""


def measures_of(measures: Measures, split: str) -> list[str | Measure]:
    """What the rankings of a split are measured by.

    Raises:
        BadInput: it is no list, or there is none for this split.
    """
    entries = measures if isinstance(measures, list) else []
    own = {name: of for entry in entries if isinstance(entry, Mapping) for name, of in entry.items()}
    found = own.get(split, [entry for entry in entries if not isinstance(entry, Mapping)])
    if not isinstance(found, list) or not found:
        where = f" for the split {split!r}" if own else ""
        raise BadInput(
            f"measures must be a list of at least one{where}, as measures=[nDCG@10] or "
            f"measures=[RR@10,{{dl19: [nDCG@10]}}], got {measures!r}"
        )
    return found


def check_measures(measures: Measures, splits: Sequence[str] = ("",)) -> None:
    """Raise BadInput for a split without measures, and for an entry that is none."""
    for split in splits:
        for measure in measures_of(measures, split):
            find_measure(measure)


def _name(measure: Any) -> str:
    return str(measure) if isinstance(measure, ir_measures.Measure) else measure.name


def _values(measures: list[Any], judged: dict, answers: dict) -> Iterator[Any]:
    try:
        yield from ir_measures.iter_calc(measures, judged, answers)
    except ValueError as error:
        raise BadInput(f"measures {', '.join(map(str, measures))}: ir_measures cannot compute them: {error}") from error


def _parse(name: str) -> Any:
    try:
        return ir_measures.parse_measure(name)
    except Exception as error:  # the parser raises NameError, SyntaxError, ValueError and others
        raise BadInput(f"unknown measure {name!r}; write it as ir_measures does: {', '.join(MEASURES)}") from error


def _check_ids(qrels: Mapping[str, Mapping[str, int]], run: Run) -> None:
    if not qrels:
        raise BadInput("there is no judged query; check the path of the qrels and the split")
    if len(run) and not any(query in run for query in qrels):
        raise BadInput(
            f"none of the {len(run):,} queries of the run is judged (the run has query {next(iter(run))!r}, the qrels "
            f"have {next(iter(qrels))!r}); check that both belong to the same split"
        )


def _falling(query: str, passages: list[str]) -> dict[str, float]:
    """Scores that fall by one, so that no tie and no rounding can change the order."""
    falling = dict(zip(passages, range(len(passages), 0, -1), strict=True))
    if len(falling) < len(passages):
        twice = next(passage for place, passage in enumerate(passages) if passage in passages[:place])
        raise BadInput(f"the ranking of query {query} lists passage {twice} twice; keep one")
    return falling


TRAIN = "train"

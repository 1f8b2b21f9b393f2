"""Ranking measures, computed by ir_measures and nothing else, under its names (nDCG@10, RR@10, R@1000).

Every judged query counts: one that the run does not answer scores 0 (trec_eval -c).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ir_measures

from bmae_lightning.evaluation.measure.trec import Run, read_qrels, read_run
from bmae_lightning.runtime.errors import BadInput

MEASURES = ("RR@10", "nDCG@10", "R@50", "R@100", "R@1000")
ANSWER_RECALL = "answer_R@"
"""What the answer recall at some rank is called; `measure.answers` computes it."""
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
    measures: Sequence[str] = MEASURES,
) -> Measured:
    """Measure a run against judgments.

    qrels: a TREC file or query id -> passage id -> relevance.  run: a TREC file, a Run, or query id -> passage id ->
    score; files and dictionaries are ordered as trec_eval orders them, a Run keeps its order.
    measures: names of ir_measures; spelt canonically in the result.

    Raises:
        BadInput: an unknown measure, no judged query, a run none of whose queries is judged, or a passage that a query
            lists twice.
    """
    parsed = {measure: str(measure) for measure in (_parse(name) for name in measures)}
    qrels = read_qrels(qrels) if isinstance(qrels, str | Path) else qrels
    ranked = read_run(run) if isinstance(run, str | Path) else run if isinstance(run, Run) else Run(run)
    _check_ids(qrels, ranked)
    per_query: dict[str, dict[str, float]] = {name: {} for name in parsed.values()}
    means = {name: measure.aggregator() for measure, name in parsed.items()}
    queries = iter(qrels)
    while chunk := list(islice(queries, CHUNK)):
        judged = {query: dict(qrels[query]) for query in chunk}
        answers = {query: _falling(query, ranked.passages(query)) for query in chunk if query in ranked}
        found = {(value.query_id, str(value.measure)): value.value for value in _values(list(parsed), judged, answers)}
        for name, mean in zip(parsed.values(), means.values(), strict=True):
            for query in chunk:
                per_query[name][query] = value = float(found.get((query, name), 0.0))
                mean.add(value)
    answered = sum(query in ranked for query in qrels)
    return Measured({name: float(mean.result()) for name, mean in means.items()}, per_query, len(qrels), answered)


def check_measures(names: Sequence[str]) -> None:
    """Raise BadInput for a name that ir_measures does not know."""
    for name in names:
        if answer_cutoff(name) is None:
            _parse(name)


def answer_cutoff(measure: str) -> int | None:
    """k of answer_R@k, None for a measure of ir_measures.

    Raises:
        BadInput: k is no whole number from 1.
    """
    if not measure.startswith(ANSWER_RECALL):
        return None
    k = measure.removeprefix(ANSWER_RECALL)
    if not re.fullmatch("[1-9][0-9]*", k):
        raise BadInput(f"unknown measure {measure!r}: {ANSWER_RECALL} wants a number of ranks, as in {ANSWER_RECALL}20")
    return int(k)


def canonical(names: Sequence[str]) -> list[str]:
    """The names as ir_measures spells them, MRR@10 as RR@10; raises BadInput for one that it does not know."""
    return [name if answer_cutoff(name) else str(_parse(name)) for name in names]


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

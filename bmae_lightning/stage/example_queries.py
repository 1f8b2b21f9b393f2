"""Test queries worth reading: the best passage of every arm, where arms differ most and for some drawn at random.

The choice is a function of the values per query alone, so that a report made again shows the same ones.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bmae_lightning.evaluation.measure.trec import read_rankings
from bmae_lightning.report.content import Answer, Case, Place
from bmae_lightning.report.significance import values_per_query
from bmae_lightning.stage.prepared import Prepared

SEED = 0
LONGEST = 300
"""Characters of a passage that are shown."""


def find_cases(prepared: Prepared, arms: dict[str, Path], split: str, measure: str, count: int) -> list[Case]:
    """At most `count` queries of a split with their best passages and the one that should have been found.

    arms: name -> directory of the stage that measured it.  measure: by which arms differ.
    """
    kept = values_per_query({arm: [directory] for arm, directory in arms.items()}, split)
    values = {arm: of[measure] for arm, of in kept.items() if measure in of}
    chosen = choose(values, count)
    rankings = {arm: read_rankings(arms[arm] / f"run.{split}.trec", chosen) for arm in values}
    qrels = prepared.qrels(split)
    queries = prepared.query_texts(set(chosen))
    found: dict[str, dict[str, dict[str, float]]] = {query: {} for query in chosen}
    sought: dict[str, tuple[str, dict[str, Place]]] = {}
    for query in chosen:
        of = {arm: rankings[arm].get(query, []) for arm in values}
        for arm in values:
            found[query].setdefault(next(iter(of[arm]), ""), {})[arm] = values[arm][query]
        if any(grade > 0 for grade in qrels[query].values()):
            sought[query] = wanted(qrels[query], of)
            found[query].setdefault(sought[query][0], {})
    texts = prepared.passage_texts({passage for answers in found.values() for passage in answers} - {""})

    def answer(query: str, passage: str, by_arm: dict[str, float]) -> Answer:
        name, places = sought.get(query, ("", {}))
        shown, grade = excerpt(texts.get(passage, "")), qrels[query].get(passage)
        return Answer(by_arm, passage, shown, grade, places if passage and passage == name else {})

    return [
        Case(query, excerpt(queries[query]), why, measure, [answer(query, *item) for item in found[query].items()])
        for query, why in chosen.items()
    ]


def wanted(judged: Mapping[str, int], rankings: Mapping[str, list[str]]) -> tuple[str, dict[str, Place]]:
    """The passage that should have been found, and its place in every ranking.

    Of the most relevant passages it is the one that some arm ranks highest, the first judged one where none ranks any.
    """
    top = max(judged.values())
    places = {
        passage: {
            arm: Place(ranked.index(passage) + 1 if passage in ranked else None, len(ranked))
            for arm, ranked in rankings.items()
        }
        for passage, grade in judged.items()
        if grade == top
    }
    best = min(places, key=lambda passage: min(place.rank or math.inf for place in places[passage].values()))
    return best, places[best]


def choose(values: dict[str, dict[str, float]], count: int) -> dict[str, str]:
    """query id -> why it was chosen: those in which the arms differ most, and drawn ones for half of `count`.

    values: arm -> query id -> value; only queries of all arms are chosen. Equal differences are drawn at random too.
    """
    shared = sorted(set.intersection(*map(set, values.values()))) if values else []
    shared = [shared[row] for row in np.random.default_rng(SEED).permutation(len(shared))]
    spread = {
        query: max(of[query] for of in values.values()) - min(of[query] for of in values.values()) for query in shared
    }
    apart = [query for query in sorted(shared, key=spread.__getitem__, reverse=True) if spread[query] > 0]
    chosen = dict.fromkeys(apart[: count - count // 2], "arms differ most")
    rest = [query for query in shared if query not in chosen]
    return chosen | dict.fromkeys(rest[: count - len(chosen)], "drawn at random")


def excerpt(text: str, most: int = LONGEST) -> str:
    """The text on one line, cut after at most so many characters, between words where there are any."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    head = text[:most]
    return (head.rsplit(" ", 1)[0] if " " in head[most // 2 :] else head) + " …"

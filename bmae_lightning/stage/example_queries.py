"""Test queries worth reading: the best passage of every arm, where arms differ most and for some drawn at random.

The choice is a function of the values per query alone, so that a report made again shows the same ones.
"""

from pathlib import Path

import numpy as np

from bmae_lightning.evaluation.measure.trec import read_best
from bmae_lightning.report.content import Answer, Case
from bmae_lightning.report.significance import values_per_query
from bmae_lightning.stage.prepared import Prepared

SEED = 0
LONGEST = 300
"""Characters of a passage that are shown."""


def find_cases(prepared: Prepared, arms: dict[str, Path], split: str, measure: str, count: int) -> list[Case]:
    """At most `count` queries of a split with their best passages.

    arms: name -> directory of the stage that measured it.  measure: by which arms differ.
    """
    kept = values_per_query({arm: [directory] for arm, directory in arms.items()}, split)
    values = {arm: of[measure] for arm, of in kept.items() if measure in of}
    chosen = choose(values, count)
    best = {arm: read_best(arms[arm] / f"run.{split}.trec", chosen) for arm in values}
    qrels = prepared.qrels(split)
    queries = prepared.query_texts(set(chosen))
    found: dict[str, dict[str, dict[str, float]]] = {query: {} for query in chosen}
    for query in chosen:
        for arm in values:
            found[query].setdefault(best[arm].get(query, ""), {})[arm] = values[arm][query]
        relevant = [passage for passage, grade in qrels[query].items() if grade > 0]
        if relevant and not set(relevant) & set(found[query]):
            found[query][relevant[0]] = {}
    texts = prepared.passage_texts({passage for answers in found.values() for passage in answers} - {""})
    return [
        Case(query, excerpt(queries[query]), why, measure, [
            Answer(by_arm, passage, excerpt(texts.get(passage, "")), qrels[query].get(passage))
            for passage, by_arm in found[query].items()
        ])
        for query, why in chosen.items()
    ]  # fmt: skip


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

"""Hard negatives: from a ranking to lists per query, and from the lists to the passages of one training group.

A drawn group is a pure function of (seed, epoch, query id): a list is put into one random order per (seed, query), and
epoch after epoch takes the next window of it, so that a negative comes back only when the list is used up.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import numpy as np

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.splitmix64 import outputs


def negatives_from_run(run: Run, positives: Mapping[str, Collection[str]], depth: int) -> dict[str, list[str]]:
    """Query id -> its first `depth` passages that are not positives, in rank order.

    Every query of `positives` is in the result, with an empty list where the run has nothing for it; queries without
    positives are left out. Ids are compared as text without surrounding white space.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    negatives = {}
    for query, relevant in positives.items():
        barred = {str(passage).strip() for passage in relevant}
        ranked = run.passages(query) if query in run else []
        negatives[query] = [passage for passage in ranked if str(passage).strip() not in barred][:depth]
    return negatives


def sample(
    negatives: Sequence[str], n: int, seed: int, epoch: int, query_id: str, corpus: Sequence[str] = (),
    positives: Collection[str] = (), repeat: bool = False,
) -> list[str]:  # fmt: skip
    """n different negatives of one query for one epoch.

    A list of at least n gives its window epoch·n .. epoch·n + n - 1, modulo its length. A shorter list is taken whole
    and filled with random passages of `corpus` that are neither in it nor in `positives`, new ones every epoch; with
    `repeat` it gives its window all the same, in which a passage then stands more than once.

    Raises:
        BadInput: the list is too short and the corpus cannot fill it.
    """
    if n > len(negatives) and not (repeat and negatives):
        return [*negatives, *_fill(n - len(negatives), seed, epoch, query_id, corpus, {*negatives, *positives})]
    order = np.argsort(_bits(f"{seed}\0order\0{query_id}", len(negatives)), kind="stable")
    window = (epoch * n + np.arange(n)) % max(len(negatives), 1)
    return [negatives[row] for row in order[window]]


def group(
    positives: Sequence[str], negatives: Sequence[str], n: int, seed: int, epoch: int, query_id: str,
    corpus: Sequence[str] = (), known: Collection[str] = (), repeat: bool = False,
) -> list[str]:  # fmt: skip
    """The n passages of one query in one epoch: a positive first (they take turns), then n - 1 negatives.

    known: further positives, which are not drawn but are no negatives either.  repeat: see `sample`.
    """
    turn = int(_bits(f"{seed}\0positive\0{query_id}", 1)[0] % np.uint64(len(positives)))
    first = positives[(turn + epoch) % len(positives)]
    return [first, *sample(negatives, n - 1, seed, epoch, query_id, corpus, {*positives, *known}, repeat)]


def fill_up(
    negatives: Mapping[str, list[str]], least: int, positives: Mapping[str, Collection[str]], corpus: Sequence[str]
) -> dict[str, list[str]]:
    """Lists shorter than `least` with random passages behind that are neither in them nor in the query's positives.

    They depend on the query alone. Raises BadInput where the corpus cannot fill a list.
    """
    return {
        query: sample(listed, least, 0, 0, query, corpus, positives[query]) if len(listed) < least else listed
        for query, listed in negatives.items()
    }


def _fill(n: int, seed: int, epoch: int, query_id: str, corpus: Sequence[str], barred: set[str]) -> list[str]:
    filled: list[str] = []
    drawn = (_bits(f"{seed}\0fill\0{epoch}\0{query_id}", 20 * n) % np.uint64(max(len(corpus), 1))).tolist()
    rest = ((drawn[-1] + step) % len(corpus) for step in range(len(corpus)))  # where nearly everything is barred
    for row in chain(drawn, rest) if corpus else ():
        if corpus[row] not in barred:
            filled.append(corpus[row])
            barred.add(corpus[row])
            if len(filled) == n:
                break
    if len(filled) < n:
        raise BadInput(
            f"query {query_id} lacks {n - len(filled)} negatives and the corpus of {len(corpus):,} passages cannot "
            "fill them; use a smaller group or negatives.least, mine deeper, or drop queries without negatives"
        )
    return filled


def _bits(key: str, n: int) -> np.ndarray:
    """n uint64 that depend on the key alone."""
    return outputs(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little"), n)

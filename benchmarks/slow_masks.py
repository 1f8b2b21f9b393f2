"""Masks as the released collators make them: one passage, one word, one piece at a time in Python.

The yardstick of benchmarks/masking.py, written from the papers' definitions: whole-word masking with its skip rule,
keyword sampling by repeated weighted drawing (MASTER), scores plus noise (CDMAE), a second draw (SimLM), a pool of
masks for the rows of enhanced decoding (RetroMAE), and 80/10/10 corruption.
"""

import copy
import random
from collections.abc import Sequence

import torch

IGNORED = -100
EDGES = ("[CLS]", "[SEP]")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def group(tokens: Sequence[str], skip: Sequence[str]) -> list[list[int]]:
    """Positions of the words."""
    words: list[list[int]] = []
    for position, token in enumerate(tokens):
        if token in skip:
            continue
        if words and token.startswith("##"):
            words[-1].append(position)
        else:
            words.append([position])
    return words


def whole_words(tokens: Sequence[str], rate: float, base: int, skip: Sequence[str], draw: random.Random) -> list[int]:
    """0 or 1 for every token: shuffled words up to the budget, those too long for the rest are skipped."""
    budget = min(512, max(1, round(base * rate)))
    words = group(tokens, skip)
    draw.shuffle(words)
    covered: set[int] = set()
    for word in words:
        if len(covered) >= budget:
            break
        if len(covered) + len(word) > budget:
            continue
        for position in word:
            covered.add(position)
    return [1 if position in covered else 0 for position in range(len(tokens))]


def keywords(tokens: Sequence[str], rate: float, frequency: dict[str, int], draw: random.Random) -> list[int]:
    """Ten weighted draws with replacement at a time, repeats ignored, until the budget is covered."""
    words = group(tokens, SPECIAL)
    weights = []
    for word in words:
        key = "".join(tokens[position] for position in word)
        weights.append(1 / frequency.get(key, 1))
    budget = max(1, round(rate * sum(token not in SPECIAL for token in tokens)))
    covered: set[int] = set()
    left = list(range(len(words)))
    while len(covered) < budget and left:
        for index in draw.choices(left, [weights[index] for index in left], k=10):
            if len(covered) >= budget:
                break
            for position in words[index]:
                covered.add(position)
        left = [index for index in left if words[index][0] not in covered]
    return [1 if position in covered else 0 for position in range(len(tokens))]


def important(
    tokens: Sequence[str], values: Sequence[float], rate: float, sigma: float, draw: random.Random
) -> list[int]:
    """Words by importance plus noise, those too long for the rest are skipped."""
    words = group(tokens, SPECIAL)
    words.sort(key=lambda word: -(values[word[0]] + sigma * draw.gauss(0, 1)))
    budget = max(1, int(rate * sum(token not in SPECIAL for token in tokens)))
    covered: set[int] = set()
    for word in words:
        if len(covered) + len(word) <= budget:
            covered.update(word)
    return [1 if position in covered else 0 for position in range(len(tokens))]


def corrupt(
    ids: Sequence[int], mask: Sequence[int], special: set[int], mask_id: int, size: int, draw: random.Random
) -> tuple[list[int], list[int]]:
    """80/10/10: ids and labels."""
    changed, labels = [], []
    for token, chosen in zip(ids, mask, strict=True):
        if not chosen or token in special:
            changed.append(token)
            labels.append(IGNORED)
            continue
        labels.append(token)
        fate = draw.random()
        if fate < 0.8:
            changed.append(mask_id)
        elif fate < 0.9:
            changed.append(draw.randrange(size))
        else:
            changed.append(token)
    return changed, labels


def rows_visible(tokens: Sequence[str], rate: float, draw: random.Random) -> list[list[int]]:
    """1 where a row may look: every row deep-copies a mask from a pool, as released, and hides itself."""
    length = len(tokens)
    pool = [whole_words(tokens, rate, length, EDGES, draw) for _ in range(min(length, 256))]
    visible = []
    for row in range(length):
        mask = copy.deepcopy(pool[draw.randrange(len(pool))])
        mask[row] = 1
        visible.append([1 - hidden for hidden in mask])
    return visible


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows of unequal length as one tensor [B, L]."""
    longest = max(len(row) for row in rows)
    return torch.tensor([list(row) + [value] * (longest - len(row)) for row in rows])


def padded_squares(squares: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
    """Squares of unequal length as one tensor [B, L, L]."""
    longest = max(len(square) for square in squares)
    result = torch.zeros(len(squares), longest, longest, dtype=torch.long)
    for index, square in enumerate(squares):
        result[index, : len(square), : len(square)] = torch.tensor(square)
    return result

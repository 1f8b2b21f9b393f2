"""Words, budgets and the fill rule against the recorded originals and slow references."""

import random

import pytest
import torch
from support.masks import load

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.mask.words import Words, budget, group_words, select_words


def read(token_lists):
    """Token lists as one padded batch, with a vocabulary of exactly these tokens."""
    names = list(SPECIAL_TOKENS.values()) + sorted({token for tokens in token_lists for token in tokens})
    names = list(dict.fromkeys(names))
    length = max(map(len, token_lists))
    ids = [[names.index(token) for token in tokens] + [0] * (length - len(tokens)) for tokens in token_lists]
    real = [[True] * len(tokens) + [False] * (length - len(tokens)) for tokens in token_lists]
    return Tokens(torch.tensor(ids), torch.tensor(real)), Vocabulary.from_tokens(names)


def as_lists(words, row):
    word_L = words.word_BL[row]
    return [(word_L == w).nonzero().flatten().tolist() for w in range(int(word_L.max()) + 1)]


@pytest.mark.parametrize("skipped", ["words_skip_cls_sep", "words_skip_all_special"])
def test_word_groups_are_those_of_the_originals(skipped):
    cases = load("word_groups")
    tokens, vocabulary = read([case["tokens"] for case in cases])
    words = group_words(tokens, vocabulary, vocabulary.special_V if "special" in skipped else None)
    for row, case in enumerate(cases):
        expected = case[skipped]
        assert as_lists(words, row) == expected, case["tokens"]
        sizes = words.size_BW[row].tolist()
        assert sizes == [len(word) for word in expected] + [0] * (len(sizes) - len(expected))


def test_budgets_are_those_of_the_originals():
    table = load("budgets")
    lengths = torch.tensor(table["lengths"])
    for column in table["table"]:
        assert budget(lengths, column["rate"]).tolist() == column["n"], column["rate"]


def test_budget_counts_cls_and_sep():
    for case in load("budgets")["base_cases"]:
        assert selected(case["tokens"], case["rate"], seed=0).sum() == case["hf_count"], case


def selected(tokens, rate, seed):
    batch, vocabulary = read([tokens])
    priority = torch.rand(batch.ids_BL.shape, generator=torch.Generator().manual_seed(seed))
    words = group_words(batch, vocabulary)
    return select_words(words, priority[:, None], budget(batch.real_BL.sum(1), rate))[:, 0]


def test_fill_in_given_order_is_that_of_the_originals():
    for case in load("fill_given_order"):
        batch, vocabulary = read([case["tokens"]])
        words = group_words(batch, vocabulary, vocabulary.special_V if case["kind"] == "master" else None)
        priority = torch.full(words.size_BW.shape, 5.0)
        for place, word in enumerate(case["order"]):
            priority[0, words.word_BL[0, word[0]]] = -place
        mask = select_words(words, priority[:, None], budget(torch.tensor([len(case["tokens"])]), case["rate"]))[:, 0]
        assert mask[0].int().tolist() == case["mask"], case


def fill_reference(sizes, order, room, fill):
    taken = set()
    for word in order:
        if fill == "overshoot":
            if room <= 0:
                break
        elif sizes[word] > room:
            if fill == "prefix":
                break
            continue
        taken.add(word)
        room -= sizes[word]
    return taken


@pytest.mark.parametrize("fill", ["exact", "prefix", "overshoot"])
def test_rows_equal_a_slow_fill(fill):
    generator = random.Random(0)
    torch.manual_seed(0)
    for _ in range(40):
        sizes = [generator.choice([1, 1, 1, 2, 3, 5, 9]) for _ in range(generator.randint(1, 12))]
        length = sum(sizes) + 2
        word_L = [-1] + [w for w, size in enumerate(sizes) for _ in range(size)] + [-1]
        words = Words(torch.tensor([word_L]), torch.tensor([sizes + [0] * (length - len(sizes))]))
        room = generator.randint(1, length)
        priority = torch.rand(1, 6, length)
        mask = select_words(words, priority, torch.tensor([room]), fill)
        for row in range(6):
            order = sorted(range(len(sizes)), key=lambda w: -priority[0, row, w].item())  # noqa: B023
            taken = fill_reference(sizes, order, room, fill)
            assert mask[0, row].tolist() == [w in taken for w in word_L]
        assert torch.equal(select_words(words, priority[:, 2:3], torch.tensor([room]), fill)[:, 0], mask[:, 2])


def test_unknown_fill():
    words = Words(torch.tensor([[0]]), torch.tensor([[1]]))
    with pytest.raises(ValueError, match="fill must be one of exact, prefix, overshoot, got 'greedy'"):
        select_words(words, torch.rand(1, 1, 1), torch.tensor([1]), "greedy")

"""Every compiled loop against its twin in tensor operations: the same numbers to the last bit."""

import math
from types import SimpleNamespace

import pytest
import torch
from support.masks import select as select_masks

from bmae_lightning.corpus.statistics.words import CLOSED
from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.kernels import dispatch as native
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.importance import ImportanceMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.mask.words import (
    FILLS,
    Words,
    budget,
    draw_words,
    first_pieces,
    group_words,
    race_words,
    select_words,
)  # fmt: skip
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import half

pytest.importorskip("numba")

SIZE = 300
ROWS = (None, 1, 9)


def vocabulary(continued):
    """SIZE tokens, of which this share continue a word; where many do, nothing continues every fifth token."""
    first = SIZE - int(continued * (SIZE - 5))
    pieces = [f"{'##' if index >= first else ''}t{index}" for index in range(5, SIZE)]
    made = Vocabulary.from_tokens([*SPECIAL_TOKENS.values(), *pieces])
    made.joint_V[::5] |= CLOSED * (continued > 0.5)
    return made


def batch(seed, count=40, longest=90):
    """Texts of 0 .. longest tokens with [UNK] and inner [SEP]; keyword weights for every position."""
    draw = torch.Generator().manual_seed(seed)
    size_B1 = torch.randint(0, longest + 1, (count, 1), generator=draw)
    size_B1[0], size_B1[1], size_B1[2] = 0, 1, longest
    ids_BL = torch.randint(1, SIZE, (count, longest + 2), generator=draw)
    position_L = torch.arange(longest + 2)
    ids_BL = ids_BL.masked_fill(position_L == size_B1 + 1, 3).masked_fill(position_L == 0, 2)
    real_BL = position_L < size_B1 + 2
    weight_BL = torch.randn(count, longest + 2, generator=draw) * 3
    return Tokens(ids_BL.masked_fill(~real_BL, 0), real_BL, {"keyword_weight": weight_BL})


def noise(count, seed=3):
    number_B = torch.arange(count)
    return Noise(seed, number_B % 3, number_B * 10**12 + 7)


def both(monkeypatch, function):
    """What function returns with the loops, and without them."""
    used = []
    with monkeypatch.context() as patch:
        patch.setattr(native, "loops", lambda tensor: used.append(tensor) or native.twins())
        fast = function()
    assert used, "no loop was asked for"
    with monkeypatch.context() as patch:
        patch.setattr(native, "loops", lambda tensor: None)
        slow = function()
    return fast, slow


def same(monkeypatch, function):
    fast, slow = both(monkeypatch, function)
    assert fast.dtype == slow.dtype
    assert torch.equal(fast, slow)
    return fast


@pytest.mark.parametrize("rows", ROWS)
def test_noise(monkeypatch, rows):
    source = noise(30)
    same(monkeypatch, lambda: source.keys("a/mask"))
    same(monkeypatch, lambda: source.uniform("a/mask", 70, rows))
    same(monkeypatch, lambda: source.below("a/mask", 70, torch.arange(1, 31)))
    same(monkeypatch, lambda: Noise(-5, torch.tensor([2**40]), torch.tensor([2**62])).uniform("b", 40))


@pytest.mark.parametrize("continued", [0.0, 0.16, 0.9])
def test_words(monkeypatch, continued):
    tokens, known = batch(0), vocabulary(continued)
    for skip_V in (None, known.special_V):
        fast, slow = both(monkeypatch, lambda: group_words(tokens, known, skip_V))  # noqa: B023
        assert torch.equal(fast.word_BL, slow.word_BL)
        assert torch.equal(fast.size_BW, slow.size_BW)
        fast, slow = both(monkeypatch, lambda: first_pieces(group_words(tokens, known, skip_V), tokens.ids_BL))  # noqa: B023
        used_BW = group_words(tokens, known, skip_V).size_BW > 0
        assert torch.equal(fast[used_BW], slow[used_BW])


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("continued", [0.0, 0.16, 0.9])
def test_drawn_words(monkeypatch, fill, continued):
    """Words of up to dozens of pieces, budgets from nothing to more than there is."""
    known, selected = vocabulary(continued), 0
    for seed in range(6):
        tokens = batch(seed)
        room_B = torch.randint(0, 100, (40,), generator=torch.Generator().manual_seed(seed))
        for rows in (1, 9):
            request = MaskRequest(tokens, known, noise(40), "x", rows)
            for skip_V in (None, known.special_V):
                mask = same(monkeypatch, lambda: draw_words(request, room_B, fill, skip_V))  # noqa: B023
                selected += int(mask.sum())
    assert selected > 0


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("continued", [0.0, 0.16, 0.9])
def test_drawn_words_of_other_positions(monkeypatch, fill, continued):
    known = vocabulary(continued)
    for seed in range(3):
        tokens = batch(seed)
        room_B = torch.randint(0, 100, (40,), generator=torch.Generator().manual_seed(seed))
        request = MaskRequest(tokens, known, noise(40), "x", tokens.ids_BL.shape[1], others=True)
        for skip_V in (None, known.special_V):
            mask_BLL = same(monkeypatch, lambda: draw_words(request, room_B, fill, skip_V))  # noqa: B023
            assert mask_BLL.diagonal(dim1=1, dim2=2).all()


def odd_priorities(shape, draw):
    """Ties, zeros of both signs, infinities, not-a-number, and a few numbers far from all others."""
    value = torch.randn(shape, generator=draw, dtype=torch.float64)
    kind = torch.randint(0, 12, shape, generator=draw)
    for index, special in enumerate([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1e300, -1e300]):
        value[kind == index] = special
    return value


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("kind", ["uniform", "ties", "odd", "single", "powers"])
def test_words_by_given_priority(monkeypatch, fill, kind):
    known = vocabulary(0.3)
    for seed in range(4):
        draw = torch.Generator().manual_seed(seed)
        words = group_words(batch(seed), known)
        room_B = budget(torch.randint(0, 100, (40,), generator=draw), 0.5)
        for rows in (1, 9):
            shape = (40, rows, 92)
            priority = {
                "uniform": lambda: torch.rand(shape, generator=draw, dtype=torch.float64),  # noqa: B023
                "ties": lambda: torch.randint(0, 4, shape, generator=draw).double(),  # noqa: B023
                "odd": lambda: odd_priorities(shape, draw),  # noqa: B023
                "single": lambda: torch.rand(shape, generator=draw),  # noqa: B023
                "powers": lambda: 2.0 ** torch.randint(-900, 900, shape, generator=draw).double(),  # noqa: B023
            }[kind]()
            same(monkeypatch, lambda: select_words(words, priority, room_B, fill))  # noqa: B023


def test_words_with_more_slots_than_positions(monkeypatch):
    words = Words(torch.tensor([[-1, 0, 2, 2]]), torch.tensor([[1, 0, 2, 0, 0, 0]]))
    for fill in FILLS:
        priority = torch.tensor([[[1.0, 9, 0, 8, 7, 6], [0.0, 9, 1, 8, 7, 6]]])
        same(monkeypatch, lambda: select_words(words, priority, torch.tensor([2]), fill))  # noqa: B023


def test_words_by_weight(monkeypatch):
    tokens, known = batch(2), vocabulary(0.2)
    words = group_words(tokens, known)
    room_B = budget(tokens.real_BL.sum(1), 0.4)
    for scale in (0.0, 1.0, 5000.0):
        log_weight_BW = tokens.values["keyword_weight"].double() * scale
        for rows in (1, 9):
            request = MaskRequest(tokens, known, noise(40), "x", rows)
            for fill in FILLS:
                same(monkeypatch, lambda: race_words(request, words, log_weight_BW, room_B, fill))  # noqa: B023


@pytest.mark.parametrize("span", ["first_half", "second_half"])
def test_halves(monkeypatch, span):
    tokens, known = batch(3), vocabulary(0.2)
    fast, slow = both(monkeypatch, lambda: half(tokens, span, known))
    assert torch.equal(fast.ids_BL, slow.ids_BL)
    assert torch.equal(fast.real_BL, slow.real_BL)
    assert torch.equal(fast.values["keyword_weight"], slow.values["keyword_weight"])


@pytest.mark.parametrize("corruption", [BertCorruption(), BertCorruption(0.0, 1.0), BertCorruption(0.0, 0.0)])
def test_corruption(monkeypatch, corruption):
    tokens, known = batch(1), vocabulary(0.2)
    selected_BL = torch.rand(tokens.ids_BL.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    fast, slow = both(
        monkeypatch, lambda: corruption.corrupt(tokens.ids_BL, selected_BL, known, noise(40), "views.passage")
    )
    for name in ("ids_BL", "labels_BL", "selected_BL"):
        assert getattr(fast, name).dtype == getattr(slow, name).dtype
        assert torch.equal(getattr(fast, name), getattr(slow, name)), name
    assert fast.labels_BL.max() > 4


class LongestWords(MaskPolicy):
    """What a user would write: any priority, given to select_words."""

    def select(self, request):
        words = group_words(request.tokens, request.vocabulary)
        priority_BRW = words.size_BW[:, None] + request.uniform()
        return select_words(words, priority_BRW, budget(request.length_B, 0.5))


POLICIES = {
    "uniform": UniformMask(0.5),
    "pieces": UniformMask(0.5, unit="piece"),
    "prefix": UniformMask(0.3, "prefix", "skip"),
    "keyword": KeywordMask(0.5),
    "importance": ImportanceMask(0.5, unit="word", value="keyword_weight"),
    "superset": SupersetMask(0.5, 0.3),
    "own": LongestWords(),
}


@pytest.mark.parametrize("name", POLICIES)
def test_policies_select_the_same_whatever_the_batch_size_and_path(monkeypatch, name):
    """One batch of 32 and four of 8 cut to their own longest text, with the loops and without."""
    tokens, known, policy = batch(5, 32), vocabulary(0.16), POLICIES[name]
    reference_BL = tokens.real_BL & (tokens.ids_BL % 3 == 0) & ~known.is_special(tokens.ids_BL)

    def select(first, last, rows=None):
        length = int(tokens.real_BL[first:last].sum(1).max())
        few = tokens.map(lambda tensor: tensor[first:last, :length])
        source = noise(32).of(torch.arange(first, last))
        return select_masks(policy, few, known, source, "x", rows, reference_BL[first:last, :length])

    for rows in ROWS:
        whole = same(monkeypatch, lambda: select(0, 32, rows))  # noqa: B023
        for first in range(0, 32, 8):
            eighth = same(monkeypatch, lambda: select(first, first + 8, rows))  # noqa: B023
            assert torch.equal(whole[first : first + 8, ..., : eighth.shape[-1]], eighth)
            assert not whole[first : first + 8, ..., eighth.shape[-1] :].any()


@pytest.mark.parametrize("rows", ["others", "independent", "pooled"])
@pytest.mark.parametrize("name", [*POLICIES, "complement"])
def test_visibility_is_the_same_whatever_the_batch_size_and_path(monkeypatch, name, rows):
    tokens, known = batch(6, 70, 40), vocabulary(0.16)
    reference_BL = tokens.real_BL & (tokens.ids_BL % 3 == 0) & ~known.is_special(tokens.ids_BL)
    decoder, encoder = (
        EnhancedDecoder((POLICIES | {"complement": ComplementMask()})[name], rows=rows),
        SimpleNamespace(vocabulary=known),
    )

    def visible(first, last):
        few = tokens.map(lambda tensor: tensor[first:last])
        source = noise(70).of(torch.arange(first, last))
        return decoder.visible(encoder, few, source, "x", reference_BL[first:last])

    whole_BLL = same(monkeypatch, lambda: visible(0, 70))
    assert whole_BLL.any()
    for first in (0, 8, 64):
        last = min(first + 8, 70)
        eighth_BLL = same(monkeypatch, lambda: visible(first, last))  # noqa: B023
        assert torch.equal(whole_BLL[first:last], eighth_BLL)

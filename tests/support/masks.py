"""What the tests of masks share: recorded originals, texts, noise, and the comparison of two sets of draws."""

import json

import torch
from support.paths import GOLDEN

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.pretraining.noise import Noise


def load(name):
    return json.loads((GOLDEN / "masking" / f"{name}.json").read_text())


def wrapped(tokens):
    return ["[CLS]", *tokens, "[SEP]"]


def copies(tokens, count=1):
    """count passages of one text, with a vocabulary of its tokens."""
    names = list(dict.fromkeys(list(SPECIAL_TOKENS.values()) + tokens))
    ids_BL = torch.tensor([[names.index(token) for token in tokens]]).expand(count, -1)
    return Tokens(ids_BL, torch.ones_like(ids_BL).bool()), Vocabulary.from_tokens(names)


def texts(lengths=(30, 7, 1, 18), seed=0, unknown=True):
    """Random texts over the tiny vocabulary as `[CLS] x [SEP]`; unknown: with an [UNK] in the first."""
    vocabulary = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
    generator = torch.Generator().manual_seed(seed)
    ids_BL = torch.zeros(len(lengths), max(lengths) + 2).long()
    for row, size in enumerate(lengths):
        ids_BL[row, : size + 2] = torch.randint(104, 200, (size + 2,), generator=generator)
        ids_BL[row, 0], ids_BL[row, size + 1] = 101, 102
    if unknown:
        ids_BL[0, 4] = vocabulary.unk_id
    return Tokens(ids_BL, ids_BL != 0), vocabulary


def noise(count, seed=0):
    """The noise of passages 0 .. count - 1 in their first epoch."""
    return Noise(seed, torch.zeros(count).long(), torch.arange(count))


def select(policy, tokens, vocabulary, noise, salt, rows=None, reference_BL=None):
    """A policy's masks: bool [B, L], or [B, R, L] with R = rows draws per passage."""
    request = MaskRequest(tokens, vocabulary, noise, salt, rows or 1, reference_BL)
    mask_BRL = policy.select(request)
    assert mask_BRL.dtype == torch.bool
    assert mask_BRL.shape == (len(tokens.ids_BL), request.rows, tokens.ids_BL.shape[1])
    return mask_BRL[:, 0] if rows is None else mask_BRL


def agree(ours, our_draws, theirs, their_draws):
    """Two-sample z below 4.5 everywhere."""
    theirs = torch.as_tensor(theirs)
    pooled = (theirs + ours) / (their_draws + our_draws)
    bound = 4.5 * (pooled * (1 - pooled) * (1 / their_draws + 1 / our_draws)) ** 0.5
    assert ((ours / our_draws - theirs / their_draws).abs() <= bound + 1e-12).all()


def agree_counts(mask_BL, histogram, their_draws):
    """The same for how many positions were selected."""
    ours = torch.bincount(mask_BL.sum(1), minlength=mask_BL.shape[1] + 1)
    theirs = torch.zeros_like(ours)
    for size, times in histogram.items():
        theirs[int(size)] = times
    agree(ours, len(mask_BL), theirs, their_draws)

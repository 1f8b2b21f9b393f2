"""Drawing a token against the definition written out, and its frequencies against the probabilities."""

import numpy as np
import pytest
import torch

from bmae_lightning.pretraining.generate.sampling import Draws, Sampling


def slow_candidates(scores, top_k, top_p, temperature):
    """[(token, probability)]: the k likeliest, of these the fewest whose probabilities reach top_p, renormalised."""
    ranked = sorted(range(len(scores)), key=lambda token: -scores[token])[: top_k or len(scores)]
    weights = np.exp([scores[token] / temperature for token in ranked])
    weights /= weights.sum()
    kept, total = [], 0.0
    for token, weight in zip(ranked, weights, strict=True):
        if total >= top_p:
            break
        kept.append((token, weight))
        total += weight
    return [(token, weight / total) for token, weight in kept]


@pytest.mark.parametrize(
    ("top_k", "top_p", "temperature"), [(None, 1.0, 1.0), (3, 1.0, 0.5), (None, 0.7, 1.0), (5, 0.8, 2)]
)
def test_frequencies_are_those_of_the_candidates(top_k, top_p, temperature):
    scores = [0.3, 2.0, -1.0, 1.2, 0.9, -0.4, 1.9]
    sampling = Sampling(top_k=top_k, top_p=top_p, temperature=temperature)
    draws = 20000
    uniform_N = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    counts = np.bincount(sampling.choose(torch.tensor([scores] * draws), uniform_N).numpy(), minlength=7) / draws
    expected = dict(slow_candidates(scores, top_k, top_p, temperature))
    assert set(np.flatnonzero(counts)) == set(expected)
    for token, probability in expected.items():
        assert counts[token] == pytest.approx(probability, abs=2 / draws)


def test_the_ends_of_the_interval_and_impossible_tokens():
    scores_NV = torch.tensor([[0.0, -torch.inf, 1.0], [-torch.inf, 3.0, -torch.inf]])
    for uniform in (1e-17, 1 - 1e-16):
        chosen = Sampling().choose(scores_NV, torch.full((2,), uniform, dtype=torch.float64)).tolist()
        assert chosen[0] in (0, 2)
        assert chosen[1] == 1


def test_the_processor_leaves_one_token_and_counts_steps():
    scores_NV = torch.tensor([[1.0, 0.9, 0.8]] * 2)
    draws = Draws(Sampling(), torch.tensor([[0.01, 0.99], [0.5, 0.01]]))
    for wanted in ([0, 1], [2, 0]):
        left = draws(torch.zeros(2, 1), scores_NV)
        assert left.argmax(1).tolist() == wanted
        assert (left == -torch.inf).sum(1).tolist() == [2, 2]


@pytest.mark.parametrize(
    "options", [{"count": 0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"temperature": 0.0}, {"tokens": 0}]
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        Sampling(**options)

"""Few-shot samples: nested, of the right size, a function of seed and query id alone."""

import pytest

from bmae_lightning.retrieval.negatives.source import QueryShare
from bmae_lightning.runtime.errors import BadInput

QUERIES = {f"q{number}": {"p": 1} for number in range(4000)}
SHARES = (0.05, 0.1, 0.2, 0.5, 1.0)


@pytest.mark.parametrize("seed", [0, 7])
def test_samples_are_nested_and_of_the_right_size(seed):
    samples = [set(QueryShare(share, seed).of(QUERIES)) for share in SHARES]
    for smaller, larger in zip(samples, samples[1:], strict=False):
        assert smaller < larger
    for share, sample in zip(SHARES, samples, strict=True):
        deviation = (share * (1 - share) * len(QUERIES)) ** 0.5
        assert abs(len(sample) - share * len(QUERIES)) <= 4 * deviation


def test_other_queries_do_not_matter_and_order_is_kept():
    sample = QueryShare(0.3, 1).of(QUERIES)
    some = dict(list(reversed(QUERIES.items()))[::3])
    assert list(QueryShare(0.3, 1).of(some)) == [query for query in some if query in sample]
    assert sample["q0" if "q0" in sample else next(iter(sample))] == {"p": 1}


def test_another_seed_is_another_sample_and_one_is_everything():
    first, second = (set(QueryShare(0.2, seed).of(QUERIES)) for seed in (1, 2))
    assert 0.1 < len(first & second) / len(first) < 0.3
    assert QueryShare(1.0, 5).of(QUERIES) == QUERIES


@pytest.mark.parametrize("share", [0, -0.1, 1.5, 5])
def test_shares_that_are_none(share):
    with pytest.raises(ValueError, match=r"share must be above 0 and at most 1 \(5 % is train_share=0.05\)"):
        QueryShare(share)


def test_nothing_left_is_said():
    with pytest.raises(BadInput, match=r"train_share=1e-06 leaves none of the 3 training queries"):
        QueryShare(1e-6).of({"a": {}, "b": {}, "c": {}})

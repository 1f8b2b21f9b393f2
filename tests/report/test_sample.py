from bmae_lightning.report.content import Sample
from bmae_lightning.report.sample import hidden_words, sample_rows


def test_words_at_the_same_place():
    sample = Sample("a b c d", "a [MASK] x d", {"e": "a b z q"})
    assert hidden_words(["a", "b", "c", "d"], ["a", "[MASK]", "x", "d"]) == {1, 2}
    assert sample_rows(sample) == [
        ("original", "a b c d"),
        ("encoder saw", "a <mark>[MASK]</mark> <mark>x</mark> d"),
        ("e <small>1 of 2 hidden words</small>", "a <ins>b</ins> <del>z</del> <del>q</del>"),
    ]


def test_words_cut_into_pieces_are_aligned():
    sample = Sample("aspiration of air <x>", "[MASK] [MASK] of air <x>", {"e": "aspiration of the air <x>"})
    _, saw, rebuilt = sample_rows(sample)
    assert saw[1] == "<mark>[MASK]</mark> <mark>[MASK]</mark> of air &lt;x&gt;"
    assert rebuilt == ("e <small>1 of 1 hidden words</small>", "<ins>aspiration</ins> of <del>the</del> air &lt;x&gt;")


def test_nothing_hidden():
    assert sample_rows(Sample("a", "a", {"<e>": "a"}))[2] == ("&lt;e&gt;", "a")
    assert sample_rows(Sample("", "", {"e": ""}))[2] == ("e", "")

from bmae_lightning.report.content import Sample
from bmae_lightning.report.sample import hidden_words, sample_lines


def shown(lines):
    """Label, count and text of every line, tags around the words that have one."""
    return [
        (line.label, line.count, " ".join(f"<{tag}>{word}</{tag}>" if tag else word for word, tag in line.words))
        for line in lines
    ]


def test_words_at_the_same_place():
    sample = Sample("a b c d", "a [MASK] x d", {"e": "a b z q"})
    assert hidden_words(["a", "b", "c", "d"], ["a", "[MASK]", "x", "d"]) == {1, 2}
    assert shown(sample_lines(sample)) == [
        ("original", "", "a b c d"),
        ("encoder saw", "", "a <mark>[MASK]</mark> <mark>x</mark> d"),
        ("e", "1 of 2 hidden words", "a <ins>b</ins> <del>z</del> <del>q</del>"),
    ]


def test_words_cut_into_pieces_are_aligned():
    sample = Sample("aspiration of air <x>", "[MASK] [MASK] of air <x>", {"e": "aspiration of the air <x>"})
    _, saw, rebuilt = shown(sample_lines(sample))
    assert saw[2] == "<mark>[MASK]</mark> <mark>[MASK]</mark> of air <x>"
    assert rebuilt == ("e", "1 of 1 hidden words", "<ins>aspiration</ins> of <del>the</del> air <x>")


def test_nothing_hidden():
    assert shown(sample_lines(Sample("a", "a", {"<e>": "a"})))[2] == ("<e>", "", "a")
    assert shown(sample_lines(Sample("", "", {"e": ""})))[2] == ("e", "", "")

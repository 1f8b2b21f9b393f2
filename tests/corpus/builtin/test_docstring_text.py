import pytest

from bmae_lightning.corpus.builtin.docstring_text import clean, query_and_passage


@pytest.mark.parametrize(
    ("docstring", "query", "passage"),
    [
        ("Return the sum of it.\n\nMore text here.", "Return the sum of it", "More text here."),
        ("Return the sum\n    of all items.\n\n    More.", "Return the sum of all items", "More."),
        ("First sentence, e.g. this.  Second one.\n\nThird.", "First sentence, e.g. this", "Second one. Third."),
        ("sum(a, axis=None) -> array\n\nAdd them up.\n\nRest.", "Add them up", "Rest."),
        ("sum(\n    a,\n)\n--\n\nAdd them up.\n\nRest.", "Add them up", "Rest."),
        ("sum(a)\nAdd them up.\n\nRest.", "Add them up", "Rest."),
        ("=====\nTitle of it\n=====\n\nRest.", "Title of it", "Rest."),
        ("Do :func:`~os.path.join` of ``a``.\n- one\n- two", "Do os.path.join of a", "one two"),
        ("Only a summary.", "Only a summary", ""),
        ("", "", ""),
    ],
)
def test_summary_and_rest(docstring, query, passage):
    assert query_and_passage(docstring) == (query, passage)


def test_doctests_and_code_blocks_go():
    text = "Before.\n\n>>> f(1)\n1\n\nBetween::\n\n    code = 1\n    more\n\n```python\nx = 1\n```\nAfter."
    assert clean(text) == "Before. Between: After."


def test_directives_go_and_notes_stay():
    text = (
        ".. versionadded:: 1.2\n   Long story.\n\n.. note:: Kept text\n   goes on.\n\n"
        ".. math::\n\n   x = y\n\n.. [1] A reference.\n\nEnd."
    )
    assert clean(text) == "Kept text goes on. End."


def test_numpydoc_sections():
    text = """
Parameters
----------
a, b : array_like, optional
    Input arrays.

Returns
-------
float
    The distance.

See Also
--------
numpy.sum : Sum of elements.

Notes
-----
value : stays as it is

Examples
--------
A simple case.

>>> f(1)
1
"""
    assert clean(text) == "a, b: Input arrays. float The distance. value : stays as it is A simple case."


def test_google_and_field_parameters():
    assert clean("Args:\n    x (int, optional): A number.\n    y (Callable[[int], str]): A function.") == (
        "x: A number. y: A function."
    )
    assert clean(":param str name: The name.\n:returns: Nothing.") == "The name. Nothing."


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("Use :class:`~a.b.C` now", "Use a.b.C now"),
        ("a :ref:`title <target>` here", "a title here"),
        ("a `link <https://x.org/y>`_ here", "a link here"),
        ("**bold** and *thin* 2**3 a*b*c", "bold and thin 2**3 a*b*c"),
        ("cited [1]_ here", "cited here"),
        ("see https://x.org/a?b for it", "see for it"),
        ("the {input} is filled", "the is filled"),
        ("\\text{input} stays, x^{2} too", "\\text{input} stays, x^{2} too"),
        ("| a | b |\n+---+---+", "| a | b |"),
    ],
)
def test_inline_markup(marked, plain):
    assert clean(marked) == plain

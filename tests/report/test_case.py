from bmae_lightning.report.case import case_rows, excerpt
from bmae_lightning.report.content import Answer, Case


def test_texts_are_cut_between_words_where_there_are_any():
    assert excerpt("a \n b\tc", 5) == "a b c"
    assert excerpt("one two three", 9) == "one two …"
    assert excerpt("x" * 20, 9) == "x" * 9 + " …"
    assert excerpt("a " + "x" * 20, 9) == "a " + "x" * 7 + " …"


def test_verdicts_and_markup():
    answers = [
        Answer({"bm25": 0.5, "<b>": 0.25}, "p&1", "a <i>text</i>\x1b[31m", 3), Answer({"c": 0.0}, "p2", "two", 0),
        Answer({"d": 0.0}, "p3", "three", None), Answer({"e": 0.0}, "", "", None), Answer({}, "p4", "four", 1),
    ]  # fmt: skip
    rows = case_rows(Case("q<1>", "what is <this>?", "arms differ most", "RR@10", answers)).split("<tr>")[1:]
    assert "what is &lt;this&gt;?<small>query q&lt;1&gt;; arms differ most</small>" in rows[0]
    assert "bm25<small>RR@10 0.500</small>&lt;b&gt;<small>RR@10 0.250</small>" in rows[1]
    assert "a &lt;i&gt;text&lt;/i&gt; [31m<small>p&amp;1</small>" in rows[1]
    verdicts = [">relevant (3)<", ">not relevant<", ">not judged<", "nothing found", ">relevant<"]
    assert all(verdict in row for verdict, row in zip(verdicts, rows[1:], strict=True))
    assert '<th scope="row">judged relevant</th>' in rows[5]

"""Results with the id of their query."""

from bmae_lightning.evaluation.measure.identical import without_identical
from bmae_lightning.evaluation.measure.trec import Run


def test_only_the_query_itself_is_removed():
    run = Run({"a": [("b", 3.0), ("a", 2.0), ("c", 2.0)], "b": [("a", 1.0)], "c": [("c", 1.0)], "d": []})
    found = without_identical(run)
    assert dict(found) == {"a": [("b", 3.0), ("c", 2.0)], "b": [("a", 1.0)], "c": [], "d": []}
    assert run["a"][1] == ("a", 2.0)

"""What may stand in `compare` and `suite.models`, and how rows are called."""

import pytest

from bmae_lightning.retrieval.model_options import ModelOptions, label_models, parse_model
from bmae_lightning.runtime.errors import BadInput


def test_rows_are_called_by_the_end_of_the_name():
    entries = ["bm25", "/a/b/c", "org/model", {"name": "/x/model", "label": "mine", "query_prefix": "query: "}]
    found = label_models(entries, "compare")
    assert list(found) == ["bm25", "b/c", "org/model", "mine"]
    assert found["mine"] == ModelOptions("/x/model", label="mine", query_prefix="query: ")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, r"compare\[0\]: 3 is no retriever"),
        ({"query_prefix": "x"}, "is no retriever"),
        ({"name": "a", "poling": "cls"}, r"compare\[0\].poling'; did you mean 'pooling'"),
        ({"name": "a", "pooling": "max"}, "pooling must be one of cls, mean, got 'max'"),
        ({"name": "a", "similarity": "cosine"}, "similarity must be one of dot, cos"),
        ({"name": "a", "query_length": "long"}, "query_length must be of type int"),
        ({"name": "a", "query_length": True}, "query_length must be of type int"),
        ({"name": "a", "query_prefix": 1}, "query_prefix must be of type str"),
        ({"name": "a", "segments": "yes"}, "segments must be of type bool"),
    ],
)
def test_what_is_no_model(entry, message):
    with pytest.raises(BadInput, match=message):
        parse_model(entry, "compare[0]")


def test_two_rows_of_one_name():
    with pytest.raises(BadInput, match=r"compare\[1\]: a row is called 'x/model' already.*label: NAME"):
        label_models(["/a/x/model", "/b/x/model"], "compare")
    with pytest.raises(BadInput, match="'bm25' already"):
        label_models(["bm25"], "compare", taken=["bm25"])
    with pytest.raises(BadInput, match="compare must be a list"):
        label_models("bm25", "compare")

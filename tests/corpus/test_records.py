import pytest

from bmae_lightning.corpus.records import Passage, Query


@pytest.mark.parametrize(
    ("title", "text", "content"), [("T", "a b", "T a b"), ("", "a b", "a b"), ("T", "", "T"), ("", "", "")]
)
def test_content_joins_title_and_text(title, text, content):
    assert Passage("1", title, text, None, None).content == content


def test_records_are_immutable():
    with pytest.raises(AttributeError):
        Query("1", "text").text = "other"

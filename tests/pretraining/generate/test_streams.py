"""Generated texts as token stores: separators, empty and absent continuations, and the JSON lines beside them."""

import json

import pytest
from transformers import AutoTokenizer

from bmae_lightning.corpus.tokens.store import TokenStore, write_token_store
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest, train_wordpiece
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.pretraining.generate.streams import write_streams
from bmae_lightning.runtime.errors import BadInput

TEXTS = ["the red fox goes over the hill", "an old cat sleeps", "big dogs run"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(train_wordpiece(TEXTS * 3, 120, tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
def passages(tmp_path, tokenizer):
    return write_token_store(tmp_path / "passages", TEXTS, ["a", "b", "c"], tokenizer)


def written(tmp_path, passages, tokenizer, *records):
    done = []
    counts = write_streams(tmp_path, records, passages, tokenizer, done.append)
    assert sum(done) == len(passages)
    stores = [TokenStore(tmp_path / name, tokenizer_digest(tokenizer)) for name in ("queries", "continuation")]
    for store in stores:
        assert list(store.external_ids) == list(passages.external_ids)
        assert store.vocabulary_size == passages.vocabulary_size == Vocabulary(tokenizer).size
    return *stores, counts


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_an_empty_continuation_is_the_passage_and_k_queries_have_k_separators(tmp_path, passages, tokenizer):
    asked = ["red fox", "what goes over the hill", "the fox"]
    queries, continuation, counts = written(
        tmp_path, passages, tokenizer,
        Generated("a", asked, ""), Generated("b", ["old cat", " ", "cat"], " \n"), Generated("c", [], None),
    )  # fmt: skip
    sep = tokenizer.sep_token_id
    expected = [token for query in asked for token in [*ids(tokenizer, query), sep]]
    assert queries[0].tolist() == expected
    assert (queries[0] == sep).sum() == 3
    assert queries[1].tolist() == [*ids(tokenizer, "old cat"), sep, *ids(tokenizer, "cat"), sep]
    for row in (0, 1):
        assert continuation[row].tolist() == passages[row].tolist() == ids(tokenizer, TEXTS[row])
    assert len(queries[2]) == len(continuation[2]) == 0
    assert counts == {
        "passages_with_queries": 2, "queries": 5, "passages_with_continuation": 2, "empty_continuations": 2,
    }  # fmt: skip


def test_an_empty_row_is_only_cls_and_sep_in_a_batch(tmp_path, passages, tokenizer):
    queries, continuation, _ = written(tmp_path, passages, tokenizer, *(Generated(name, [], None) for name in "abc"))
    tokens = Vocabulary(tokenizer).pad([queries[0], continuation[1]], 16)
    assert tokens.ids_BL.tolist() == [[tokenizer.cls_token_id, tokenizer.sep_token_id]] * 2


def test_names_of_special_tokens_in_a_text_are_text(tmp_path, passages, tokenizer):
    queries, continuation, _ = written(
        tmp_path, passages, tokenizer,
        Generated("a", ["red [SEP] fox"], "[CLS] the"), Generated("b", [], None), Generated("c", [], None),
    )  # fmt: skip
    assert (queries[0] == tokenizer.sep_token_id).sum() == 1
    assert tokenizer.cls_token_id not in continuation[0]


def test_the_text_itself_is_kept(tmp_path, passages, tokenizer):
    records = [Generated("a", ["née"], "on"), Generated("b", [], ""), Generated("c", [], None)]
    written(tmp_path, passages, tokenizer, *records)
    lines = (tmp_path / "generated.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"_id": "a", "queries": ["née"], "continuation": "on"},
        {"_id": "b", "queries": [], "continuation": ""},
        {"_id": "c", "queries": [], "continuation": None},
    ]
    assert "née" in lines[0]


@pytest.mark.parametrize("names", ["ab", "abcd", "acb"])
def test_texts_of_other_passages_are_refused_and_nothing_is_left(tmp_path, passages, tokenizer, names):
    with pytest.raises(BadInput, match="generated texts of"):
        write_streams(tmp_path, (Generated(name, [], None) for name in names), passages, tokenizer, print)
    assert not (tmp_path / "generated.jsonl").exists()
    assert not list(tmp_path.glob("queries*"))
    assert not list(tmp_path.glob("continuation*"))

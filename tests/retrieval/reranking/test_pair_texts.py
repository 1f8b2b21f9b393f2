"""Pairs in the word pieces of any re-ranker are what its own tokenizer makes of them."""

import shutil

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from support import backbones
from transformers import DebertaV2Config

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.tokens.store import write_token_store
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.retrieval.reranking.pair_texts import (
    PairLayout,
    PairTexts,
    pair_layout,
    tokenise_again,
    tokenised_again,
)
from bmae_lightning.runtime.errors import BadInput

QUERIES = ["what is a hen", "who eats corn, and why?"]
PASSAGES = ["The hen eats corn in the yard all day long.", "A fox.", "Corn is what it is; nobody knows why it grows."]


@pytest.mark.parametrize("kind", list(backbones.TOKENIZERS))
@pytest.mark.parametrize("length", [40, 256])
def test_pairs_equal_those_of_transformers(kind, length, tmp_path):
    backbones.TOKENIZERS[kind](QUERIES + PASSAGES).save_pretrained(tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    stores = [
        write_token_store(tmp_path / name, texts, None, tokenizer) for name, texts in (("q", QUERIES), ("p", PASSAGES))
    ]
    texts = PairTexts(*stores, pair_layout(tokenizer, "x"))
    assert texts.layout.separators == (2 if kind == "roberta" else 1)
    rows = np.array([(q, p) for q in range(2) for p in range(3)])
    found = texts.pairs(rows, length)
    expected = tokenizer(
        [QUERIES[q] for q, _ in rows], [PASSAGES[p] for _, p in rows],
        truncation="only_second", max_length=length, padding=True, return_tensors="pt",
    )  # fmt: skip
    assert found.ids_PL.tolist() == expected["input_ids"].tolist()
    assert found.real_PL.long().tolist() == expected["attention_mask"].tolist()
    if kind != "roberta":
        assert found.types_PL.tolist() == expected["token_type_ids"].tolist()
    assert texts.sizes(rows).clip(max=length).tolist() == found.real_PL.sum(1).tolist()


def test_titles_before_a_colon(tmp_path):
    """SimLM's re-ranker reads "title: text"."""
    tokenizer = backbones.bert_tokenizer([*QUERIES, *PASSAGES, "A title :"])
    queries = write_token_store(tmp_path / "q", QUERIES, None, tokenizer)
    passages = write_token_store(tmp_path / "p", [("A title", PASSAGES[1]), ("", PASSAGES[1])], None, tokenizer)
    texts = PairTexts(queries, passages, pair_layout(tokenizer, "x"), tokenizer.get_vocab()[":"])
    found = texts.pairs([(0, 0), (0, 1)], 64).ids_PL.tolist()
    expected = tokenizer([QUERIES[0]] * 2, [f"A title: {PASSAGES[1]}", PASSAGES[1]], padding=True)["input_ids"]
    assert found == expected


def test_a_collection_in_other_word_pieces_has_the_same_rows(collection, tmp_path):
    tokenizer = backbones.deberta_tokenizer([passage.text for passage in BeirCorpus(collection).passages()])
    own = backbones.bert_tokenizer([passage.text for passage in BeirCorpus(collection).passages()])
    source = BeirCorpus(collection)
    like = (
        write_token_store(tmp_path / "q", (q.text for q in source.queries()), (q.id for q in source.queries()), own),
        write_token_store(tmp_path / "p", (p.text for p in source.passages()), (p.id for p in source.passages()), own),
    )
    queries, passages = tokenise_again(source, tokenizer, tmp_path / "tokens", like, "x")
    assert [*queries.external_ids] == [*like[0].external_ids]
    assert [*passages.external_ids] == [*like[1].external_ids]
    text = next(iter(source.passages())).content
    assert passages[0].tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
    made = (passages.directory / "manifest.json").stat().st_mtime_ns
    tokenise_again(source, tokenizer, tmp_path / "tokens", like, "x")
    assert (passages.directory / "manifest.json").stat().st_mtime_ns == made
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == ["passages", "queries"]

    other = shutil.copytree(collection, tmp_path / "other")
    (other / "corpus.jsonl").write_text("".join((collection / "corpus.jsonl").read_text().splitlines(True)[1:]))
    changed = BeirCorpus(other)
    texts = [(p.text for p in changed.passages()), (p.id for p in changed.passages())]
    fewer = write_token_store(tmp_path / "fewer", *texts, own)
    with pytest.raises(BadInput, match="tokens/passages has other ids than .*fewer, the collection has changed"):
        tokenised_again(tmp_path / "tokens", passages.tokenizer_digest, (like[0], fewer))


def test_pieces_of_sentencepiece_alone(tmp_path, monkeypatch):
    """As microsoft/deberta-v3-base has them: spm.model, no tokenizer.json."""
    SentencePieceTrainer.train(
        sentence_iterator=iter((QUERIES + PASSAGES) * 20), model_prefix=str(tmp_path / "spm"), vocab_size=60,
        hard_vocab_limit=False, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]", minloglevel=2,
    )  # fmt: skip
    DebertaV2Config(vocab_size=100).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    pieces = SentencePieceProcessor(str(tmp_path / "spm.model"))
    layout, encoded = pair_layout(tokenizer, "x"), [pieces.encode(QUERIES[0]), pieces.encode(PASSAGES[0])]
    assert layout == PairLayout(1, 2, 0)
    assert tokenizer(QUERIES[0], PASSAGES[0])["input_ids"] == [1, *encoded[0], 2, *encoded[1], 2]

    (tmp_path / "spm.model").write_bytes(b"damaged")
    with pytest.raises(BadInput, match=f"{tmp_path}: no tokenizer can be loaded from it"):
        load_tokenizer(tmp_path)
    monkeypatch.setattr("bmae_lightning.encoder.tokenizer.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="reading spm.model needs sentencepiece: pip install sentencepiece"):
        load_tokenizer(tmp_path)

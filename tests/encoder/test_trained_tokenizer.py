"""Byte-level BPE and Unigram vocabularies trained on a collection, as RoBERTa's and XLM-R's are saved."""

import random
import subprocess
import sys

import pytest
from support.paths import ROOT
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from bmae_lightning.corpus.tokens.tokenise import ContentTokenizer
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.tokenizer import TrainedTokenizer, load_tokenizer
from bmae_lightning.runtime.errors import BadInput

KINDS = {"bpe": "RobertaTokenizer", "unigram": "XLMRobertaTokenizer"}
CHINESE = "今天天气很好，我们去公园。机器学习模型检索文档。 English in 中文 text."


def sample_texts(seed=0):
    """Words of random syllables: many pieces tie, so an order that is not fixed shows."""
    draw = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(200)]
    return [" ".join(draw.choices(words, k=30)).capitalize() + f". Über (naïve)! {CHINESE}" for _ in range(40)]


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param) / "tokenizer"
    TrainedTokenizer(400, kind=request.param).make(lambda: iter(sample_texts()), directory)
    return request.param, directory


def test_it_is_what_transformers_saves(trained):
    kind, directory = trained
    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    assert type(tokenizer).__name__.removesuffix("Fast") == KINDS[kind]
    last = len(tokenizer) - 1
    assert last == 399 or (kind == "unigram" and last < 399)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, last]) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id) == (0, 1, 2)
    assert (tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (3, last, 512)
    text = sample_texts()[0]
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    assert 3 not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer("a", "b")["input_ids"].count(2) == 3
    assert tokenizer_digest(tokenizer) == tokenizer_digest(Tokenizer.from_file(str(directory / "tokenizer.json")))
    assert any(len(token.strip("▁Ġ")) > 3 for token in tokenizer.get_vocab()), "nothing was learnt"


def test_two_processes_and_any_order_of_texts_give_the_same_files(trained, tmp_path):
    kind, directory = trained
    code = (
        "import sys; from pathlib import Path; from test_trained_tokenizer import *; "
        f"TrainedTokenizer(400, kind={kind!r}).make(lambda: reversed(sample_texts()), Path(sys.argv[1]))"
    )
    path = ":".join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/encoder")))
    subprocess.run([sys.executable, "-c", code, tmp_path / "again"], check=True, env={"PYTHONPATH": path})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes(), name


def test_names_of_special_tokens_are_text(trained):
    _, directory = trained
    tokenizer = load_tokenizer(directory)
    content = ContentTokenizer(tokenizer)
    (ids,) = content.encode(["bada <s> </s><mask> <pad>badu"])
    assert not set(ids) & set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert content.encode([("bada", "badu")])[0].count(2) == 1
    assert content.encode(["bada"])[0] == tokenizer("bada", add_special_tokens=False)["input_ids"]
    assert content.vocabulary_size == len(tokenizer)
    assert content.digest == tokenizer_digest(tokenizer)


def test_rare_characters_leave_room_for_pieces(tmp_path):
    letters = "".join(chr(0x4E00 + index) for index in range(300))
    texts = [letters, *sample_texts()]
    TrainedTokenizer(200, kind="unigram").make(lambda: iter(texts), tmp_path / "made")
    tokenizer = load_tokenizer(tmp_path / "made")
    assert len(tokenizer) <= 200
    assert any(len(token) > 2 for token in tokenizer.get_vocab() if not token.startswith("<"))
    assert tokenizer.unk_token_id in tokenizer(letters)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_trained(kind, tmp_path):
    with pytest.raises(BadInput, match="no word to train the vocabulary of .*new"):
        TrainedTokenizer(400, kind=kind).make(lambda: iter(["", "  "]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_sizes_and_kinds():
    with pytest.raises(ValueError, match="size must be at least 300 word pieces, got 299"):
        TrainedTokenizer(299, kind="bpe")
    with pytest.raises(ValueError, match="kind must be one of wordpiece, bpe, unigram, got 'word'"):
        TrainedTokenizer(kind="word")

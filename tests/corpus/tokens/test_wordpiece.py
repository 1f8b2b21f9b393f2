import random
import subprocess
import sys

import pytest
from tokenizers import Tokenizer

from bmae_lightning.corpus.tokens.wordpiece import SPECIAL_TOKENS, fast_backend, tokenizer_digest, train_wordpiece
from bmae_lightning.runtime.errors import BadInput


def sample_texts(seed: int = 0) -> list[str]:
    """Words of random syllables: many merges tie, so an order that is not fixed shows."""
    draw = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(400)]
    return [" ".join(draw.choices(words, k=30)).capitalize() + ". Über (naïve)!" for _ in range(60)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return train_wordpiece(iter(sample_texts()), 300, tmp_path_factory.mktemp("tokenizer"))


def test_transformers_loads_it_as_bert(directory):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    assert type(tokenizer).__name__.startswith("BertTokenizer")
    assert len(tokenizer) == 300
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert (tokenizer.pad_token, tokenizer.mask_token, tokenizer.model_max_length) == ("[PAD]", "[MASK]", 512)
    text = sample_texts()[0]
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).split()[0] == text.split()[0].lower()
    assert tokenizer_digest(tokenizer) == tokenizer_digest(Tokenizer.from_file(str(directory / "tokenizer.json")))


def test_vocabulary_is_a_plain_list(directory):
    tokens = (directory / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert tokens[:5] == list(SPECIAL_TOKENS)
    assert len(set(tokens)) == len(tokens) == 300
    assert any(len(token.removeprefix("##")) > 2 for token in tokens), "no merge was learnt"


def test_two_processes_give_the_same_vocabulary(directory, tmp_path):
    (tmp_path / "texts").write_text("\n".join(sample_texts()), encoding="utf-8")
    code = (
        "import sys; from bmae_lightning.corpus.tokens.wordpiece import train_wordpiece; "
        "train_wordpiece(open(sys.argv[1], encoding='utf-8'), 300, sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "texts", tmp_path / "again"], check=True)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes(), name


def test_the_order_of_the_texts_does_not_matter(directory, tmp_path):
    train_wordpiece(reversed(sample_texts()), 300, tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == (directory / "vocab.txt").read_bytes()


def test_case_and_accents_are_kept_on_request(tmp_path):
    tokens = (train_wordpiece(sample_texts(), 300, tmp_path, lowercase=False) / "vocab.txt").read_text(encoding="utf-8")
    assert "Ü" in tokens
    assert "##ï" in tokens


def test_digest_tells_tokenizers_apart(directory, tmp_path):
    digest = tokenizer_digest(Tokenizer.from_file(str(directory / "tokenizer.json")))
    other_text = train_wordpiece(sample_texts(1), 300, tmp_path / "a")
    assert tokenizer_digest(Tokenizer.from_file(str(other_text / "tokenizer.json"))) != digest
    cased = Tokenizer.from_file(str(directory / "tokenizer.json"))
    cased.normalizer = None
    assert tokenizer_digest(cased) != digest
    cut = Tokenizer.from_file(str(directory / "tokenizer.json"))
    cut.enable_truncation(5)
    assert tokenizer_digest(cut) == digest, "truncation is not part of a store"


def test_a_small_size_keeps_its_bound(tmp_path):
    assert len((train_wordpiece(sample_texts(), 20, tmp_path) / "vocab.txt").read_text("utf-8").splitlines()) <= 20


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="size=5 has no room"):
        train_wordpiece(["a"], 5, tmp_path / "new")
    with pytest.raises(BadInput, match="no word to train the vocabulary of .*new"):
        train_wordpiece(["", "  "], 300, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(BadInput, match="object is not a fast tokenizer"):
        fast_backend(object())

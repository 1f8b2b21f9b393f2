"""Shards of a token store: the same bytes for any size, kept when a process dies, used for the same texts only."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bmae_lightning.corpus.tokens.store import TokenStore, write_token_store
from bmae_lightning.corpus.tokens.tokenise import ContentTokenizer
from bmae_lightning.runtime.errors import BadInput

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##b"]
TEXTS = [" ".join("abcdefghx"[(i * k) % 9] for k in range(i % 13)) for i in range(200)]
IDS = [f"p{i}" for i in range(200)]


def make_tokenizer(words=WORDS):
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return made


@pytest.fixture
def made(monkeypatch):
    """The texts that were tokenised, shard by shard, and a way to write the store."""
    calls, pieces = [], ContentTokenizer.pieces
    monkeypatch.setattr(ContentTokenizer, "pieces", lambda self, texts: calls.append(texts) or pieces(self, texts))
    return calls


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_same_bytes_for_any_shard(tmp_path):
    stores = [
        content(write_token_store(tmp_path / f"s{n}", TEXTS, IDS, make_tokenizer(), shard=n).directory)
        for n in (1, 7, 64, 199, 200, 1000)
    ]
    assert all(store == stores[0] for store in stores)
    assert [len(row) for row in map(TokenStore(tmp_path / "s7").__getitem__, range(200))] == [
        i % 13 for i in range(200)
    ]


def test_a_title_and_its_text_are_kept_apart(tmp_path):
    texts = [("a b", "c"), ("", "[SEP] d"), ("e", ""), "f", ("", "")]
    expected = [[5, 6, 3, 7], [1, 1, 1, 8], [9], [10], []]
    for kept in (None, tmp_path / "kept", tmp_path / "kept"):  # made, made and kept, read from what is kept
        store = write_token_store(tmp_path / "s", texts, IDS[:5], make_tokenizer(), shard=2, kept=kept)
        assert [store[row].tolist() for row in range(5)] == expected
    store = write_token_store(tmp_path / "s", ["a b", "c"], IDS[:2], make_tokenizer(), kept=tmp_path / "kept")
    assert [row.tolist() for row in store] == [[5, 6], [7]]
    with pytest.raises(BadInput, match="corpus.title=pair needs a tokenizer with a separator"):
        write_token_store(tmp_path / "t", texts, IDS[:5], make_tokenizer(["[PAD]", "[UNK]", *"abcdefgh"]))


def test_an_interrupted_store_continues_behind_its_finished_shards(tmp_path, made):
    def until(number):
        yield from TEXTS[:number]
        raise RuntimeError("stop")

    whole = content(write_token_store(tmp_path / "whole", TEXTS, IDS, make_tokenizer(), shard=10).directory)
    made.clear()
    with pytest.raises(RuntimeError):
        write_token_store(tmp_path / "s", until(105), IDS, make_tokenizer(), shard=10, kept=tmp_path / "kept")
    assert 7 <= len(made) <= 10
    assert not (tmp_path / "s").exists()
    first = len(made)
    told = []
    write_token_store(
        tmp_path / "s", TEXTS, IDS, make_tokenizer(), shard=10, kept=tmp_path / "kept", progress=told.append
    )
    assert len(made) == 20
    assert sorted(made[first:]) == sorted(TEXTS[start : start + 10] for start in range(10 * first, 200, 10))
    assert sum(told) == 200
    assert content(tmp_path / "s") == whole


def test_shards_are_used_for_the_same_texts_and_tokenizer_only(tmp_path, made):
    kept = tmp_path / "kept"
    write_token_store(tmp_path / "a", TEXTS, IDS, make_tokenizer(), shard=50, kept=kept)
    assert len(made) == 4
    changed = [*TEXTS[:60], "a b", *TEXTS[61:]]
    assert write_token_store(tmp_path / "b", changed, IDS, make_tokenizer(), shard=50, kept=kept)[60].tolist() == [5, 6]
    assert len(made) == 5
    split = [*TEXTS[:2], TEXTS[2] + TEXTS[3], "", *TEXTS[4:]]
    write_token_store(tmp_path / "c", split, IDS, make_tokenizer(), shard=50, kept=kept)
    assert len(made) == 6
    swapped = [*WORDS[:5], "b", "a", *WORDS[7:]]
    write_token_store(tmp_path / "d", TEXTS, IDS, make_tokenizer(swapped), shard=50, kept=kept)
    assert len(made) == 10


def test_a_damaged_shard_is_made_again(tmp_path, made):
    whole = content(
        write_token_store(tmp_path / "a", TEXTS, IDS, make_tokenizer(), shard=50, kept=tmp_path / "k").directory
    )
    damaged = sorted((tmp_path / "k").iterdir())
    damaged[0].write_bytes(damaged[0].read_bytes()[:-40])
    damaged[1].write_bytes(b"")
    flipped = bytearray(damaged[2].read_bytes())
    flipped[len(flipped) // 2] ^= 255
    damaged[2].write_bytes(bytes(flipped))
    made.clear()
    write_token_store(tmp_path / "a", TEXTS, IDS, make_tokenizer(), shard=50, kept=tmp_path / "k")
    assert len(made) == 3
    assert content(tmp_path / "a") == whole


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_tokenise import IDS, TEXTS, make_tokenizer
from bmae_lightning.corpus.tokens.store import write_token_store
from pathlib import Path

def texts():
    yield from TEXTS[:120]
    os.kill(os.getpid(), signal.SIGKILL)

here = Path(sys.argv[1])
write_token_store(here / "s", texts(), IDS, make_tokenizer(), shard=10, kept=here / "kept")
"""


def test_kill_9(tmp_path, made):
    whole = content(write_token_store(tmp_path / "whole", TEXTS, IDS, make_tokenizer(), shard=10).directory)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, Path(__file__).parent], env=os.environ, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "s").exists()
    done = len(list((tmp_path / "kept").glob("*.npz")))
    assert 9 <= done <= 12
    made.clear()
    write_token_store(tmp_path / "s", TEXTS, IDS, make_tokenizer(), shard=10, kept=tmp_path / "kept")
    assert len(made) == 20 - done
    assert content(tmp_path / "s") == whole

import errno
import json
import pickle

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from bmae_lightning.corpus.tokens.store import TokenStore, TokenStoreWriter, write_token_store
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.runtime.errors import BadInput

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "c", "[", "]", "mask"]
TEXTS = ["a b c", "", "abb x", "c " * 600, "[MASK] a"]
ROWS = [[5, 6, 8], [], [5, 7, 7, 1], [8] * 600, [9, 11, 10, 5]]
IDS = ["p1", "p2", "pé", "p4", "p5"]


@pytest.fixture
def tokenizer():
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(WORDS[:5])
    made.enable_truncation(8)
    made.enable_padding(length=8)
    return made


@pytest.fixture
def store(tmp_path, tokenizer):
    return write_token_store(tmp_path / "store", iter(TEXTS), iter(IDS), tokenizer, shard=2)


def test_rows_are_untruncated_content_ids(store, tokenizer):
    assert len(store) == 5
    assert [row.tolist() for row in (store[i] for i in range(5))] == ROWS
    assert store.lengths.tolist() == [3, 0, 4, 600, 4]
    assert store.tokens.dtype == np.uint16
    assert store.tokenizer_digest == tokenizer_digest(tokenizer)
    assert len(tokenizer.encode("a a a a a a a a a a a a").ids) == 8, "the caller's tokenizer was changed"


def test_rows_are_read_only_views(store):
    assert np.shares_memory(store[0], store.tokens)
    with pytest.raises(ValueError, match="read-only"):
        store[0][0] = 1


def test_ids_both_ways(store):
    assert [store.external_id(row) for row in range(5)] == IDS
    assert list(store.external_ids) == IDS
    assert [store.row_of(id) for id in IDS] == list(range(5))
    with pytest.raises(KeyError):
        store.row_of("p9")
    for row in (-1, 5):
        with pytest.raises(IndexError):
            store[row]
        with pytest.raises(IndexError):
            store.external_id(row)


def test_without_ids_rows_are_numbered_and_progress_is_told(tmp_path, tokenizer):
    told = []
    store = write_token_store(tmp_path / "s", iter(TEXTS), None, tokenizer, shard=2, progress=told.append)
    assert told == [2, 2, 1]
    assert store.external_id(3) == "3"


def test_pickle_carries_the_path_only(store):
    content = pickle.dumps(store)
    assert len(content) < 400
    assert pickle.loads(content)[2].tolist() == ROWS[2]


def test_an_empty_store(tmp_path, tokenizer):
    store = write_token_store(tmp_path / "s", iter([]), None, tokenizer)
    assert len(store) == 0
    assert len(store.tokens) == 0


def test_large_vocabularies_need_int32(tmp_path):
    with TokenStoreWriter(tmp_path / "s", 70_000, "digest") as writer:
        writer.append([69_999, 0], "p")
        store = writer.commit()
    assert store.tokens.dtype == np.int32
    assert store[0].tolist() == [69_999, 0]


@pytest.mark.parametrize("row", [[12], [-1]])
def test_ids_outside_the_vocabulary(tmp_path, row):
    writer = TokenStoreWriter(tmp_path / "s", 12, "digest")
    with pytest.raises(ValueError, match=r"token_ids of 'p' leave \[0, 12\)"), writer:
        writer.append(row, "p")
    assert list(tmp_path.iterdir()) == []


def test_more_ids_than_texts_writes_nothing(tmp_path, tokenizer):
    with pytest.raises(ValueError):
        write_token_store(tmp_path / "s", iter(TEXTS), iter([*IDS, "p6"]), tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_line_break_in_an_id(tmp_path, tokenizer):
    with pytest.raises(BadInput, match=r"id 'p\\n1' holds a line break"):
        write_token_store(tmp_path / "s", iter(["a"]), iter(["p\n1"]), tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_older_store_alone(store, tokenizer):
    def texts():
        yield "c"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_token_store(store.directory, texts(), None, tokenizer)
    assert [path.name for path in store.directory.parent.iterdir()] == ["store"]
    assert TokenStore(store.directory)[0].tolist() == ROWS[0]


def test_a_full_disk(store, tokenizer, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(BadInput, match=r"store cannot be written: No space left on device.*Nothing was overwritten"):
        write_token_store(store.directory, iter(["c"]), None, tokenizer)
    assert [path.name for path in store.directory.parent.iterdir()] == ["store"]
    assert TokenStore(store.directory)[0].tolist() == ROWS[0]


def test_a_new_store_replaces_an_old_one_but_nothing_else(store, tokenizer, tmp_path):
    assert write_token_store(store.directory, iter(["c"]), None, tokenizer)[0].tolist() == [8]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(BadInput, match=r"other exists and is no token store"):
        write_token_store(tmp_path / "other", iter(["c"]), None, tokenizer)
    assert (tmp_path / "other" / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.npy", "ids.txt", "manifest.json"])
def test_missing_and_damaged_files(store, name):
    path = store.directory / name
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(BadInput, match=rf"token store .*store cannot be used: {name} .*run the prepare stage again"):
        TokenStore(store.directory)
    path.unlink()
    with pytest.raises(BadInput, match=rf"token store .*store cannot be used: {name} is missing"):
        TokenStore(store.directory)


def test_another_format_or_tokenizer(store, tmp_path):
    assert len(TokenStore(store.directory, store.tokenizer_digest)) == 5
    with pytest.raises(
        BadInput, match=r"store cannot be used: it was made by tokenizer \w{12}, the encoder now has 0000"
    ):
        TokenStore(store.directory, "0" * 64)
    path = store.directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(BadInput, match=r"its format is 99, this version reads 1"):
        TokenStore(store.directory)
    with pytest.raises(BadInput, match=r"nowhere cannot be used: manifest\.json is missing"):
        TokenStore(tmp_path / "nowhere")

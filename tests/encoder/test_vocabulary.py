"""Vocabulary from token lists and tokenizers."""

import numpy as np
import pytest
import torch
from support.paths import GOLDEN
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from transformers import PreTrainedTokenizerFast

from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.runtime.errors import BadInput

TOKENS = (GOLDEN / "vocab_tiny.txt").read_text().splitlines()
NAMES = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}


def wordpiece(tokens, **names):
    model = WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **(names or NAMES))


@pytest.mark.parametrize("make", [Vocabulary.from_tokens, lambda tokens: Vocabulary(wordpiece(tokens))])
def test_ids_and_flags(make):
    vocabulary = make(TOKENS)
    assert vocabulary.size == 200
    ids = (vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id)
    assert ids == (0, 100, 101, 102, 103)
    assert vocabulary.special_V.nonzero().flatten().tolist() == [0, 100, 101, 102, 103]
    assert vocabulary.skip_V.nonzero().flatten().tolist() == [101, 102]
    assert vocabulary.continuation_V.tolist() == [token.startswith("##") for token in TOKENS]
    assert vocabulary.joint_V.tolist() == vocabulary.continuation_V.tolist()
    assert vocabulary.spelling_V.tolist() == list(range(200))
    assert vocabulary.separators == 1


def test_is_never_saved():
    vocabulary = Vocabulary.from_tokens(TOKENS)
    assert not vocabulary.state_dict()
    assert vocabulary.to("meta").skip_V.device.type == "meta"


def test_missing_special_token():
    without = [token for token in TOKENS if token != "[MASK]"]
    with pytest.raises(BadInput, match=r"has no \[MASK\]"):
        Vocabulary.from_tokens(without)
    with pytest.raises(BadInput, match=r"has no \[MASK\]"):
        Vocabulary(wordpiece(TOKENS, **{key: value for key, value in NAMES.items() if key != "mask_token"}))


def test_other_tokenizers_are_refused():
    bpe = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()), **NAMES)
    with pytest.raises(BadInput, match=r"tokenizer 'TokenizersBackend' is of a kind \(BPE\) whose words are not known"):
        Vocabulary(bpe)
    with pytest.raises(BadInput, match="object is not a fast tokenizer"):
        Vocabulary(object())


EDGES = Vocabulary.from_tokens([*SPECIAL_TOKENS.values()])


def pad_reference(rows, max_length):
    full = [[2, *row.tolist()[: max_length - 2], 3] for row in rows]
    length = max(map(len, full))
    ids = [row + [0] * (length - len(row)) for row in full]
    real = [[True] * len(row) + [False] * (length - len(row)) for row in full]
    return torch.tensor(ids), torch.tensor(real)


@pytest.mark.parametrize("max_length", [3, 5, 64])
@pytest.mark.parametrize("lengths", [(4, 0, 9), (0,), (0, 0), (7, 7), (1, 70)])
def test_padding_equals_a_slow_reference(lengths, max_length):
    generator = np.random.default_rng(0)
    rows = [generator.integers(5, 99, size).astype(np.uint16) for size in lengths]
    tokens = EDGES.pad(rows, max_length)
    ids_BL, real_BL = pad_reference(rows, max_length)
    assert tokens.ids_BL.dtype == torch.int64
    assert tokens.real_BL.dtype == torch.bool
    assert torch.equal(tokens.ids_BL, ids_BL)
    assert torch.equal(tokens.real_BL, real_BL)


@pytest.mark.parametrize("length", [3, 5, 64])
def test_pieces_of_a_long_array_are_padded_as_rows_are(length):
    generator = np.random.default_rng(1)
    flat, numbers = generator.integers(5, 99, 90).astype(np.uint16), generator.random(90, np.float32)
    start_B, size_B = np.array([0, 40, 90, 33, 86]), np.array([9, 50, 0, 1, 4]).clip(max=length - 2)
    places = [slice(start, start + size) for start, size in zip(start_B, size_B, strict=True)]
    known = Vocabulary.from_tokens(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    cut = known.cut(flat, start_B, size_B, {"x": numbers})
    ids_BL, real_BL = pad_reference([flat[place] for place in places], length)
    assert torch.equal(cut.ids_BL, ids_BL.masked_fill(~real_BL, 1))
    assert torch.equal(cut.real_BL, real_BL)
    for row, place in enumerate(places):
        expected = [0.0, *numbers[place].tolist(), *[0.0] * cut.ids_BL.shape[1]][: cut.ids_BL.shape[1]]
        assert cut.values["x"][row].tolist() == expected
    padded = known.pad([flat[p] for p in places], length, {"x": [numbers[p] for p in places]})
    assert torch.equal(padded.ids_BL, cut.ids_BL)
    assert torch.equal(padded.values["x"], cut.values["x"])


def test_pieces_of_an_empty_store():
    cut = EDGES.cut(np.empty(0, np.uint16), np.zeros(2, int), np.zeros(2, int))
    assert cut.ids_BL.tolist() == [[2, 3], [2, 3]]
    assert cut.real_BL.all()


def test_what_cannot_be_padded():
    with pytest.raises(ValueError, match="max_length"):
        EDGES.pad([np.array([1])], 2)
    with pytest.raises(ValueError, match="at least one row"):
        EDGES.pad([], 8)

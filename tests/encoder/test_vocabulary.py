"""Vocabulary from token lists and tokenizers."""

import pytest
from support.paths import GOLDEN
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from transformers import PreTrainedTokenizerFast

from bmae_lightning.encoder.vocabulary import Vocabulary
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
    with pytest.raises(BadInput, match="not a fast WordPiece tokenizer"):
        Vocabulary(bpe)
    with pytest.raises(BadInput, match="not a fast WordPiece tokenizer"):
        Vocabulary(object())

"""Words of WordPiece, byte-level BPE and SentencePiece tokenizers, in scripts with and without blanks."""

import re
from itertools import pairwise

import numpy as np
import pytest
from support.kinds import KINDS, TEXTS, kind_of_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, RobertaTokenizer, XLMRobertaTokenizer

from bmae_lightning.encoder.spelling import UNSPACED
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.words import group_words

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return kind_of_tokenizer(request.param)


def grouped(tokenizer, text):
    """The pieces of every word of a text, each with its place in the text without blanks around it."""
    vocabulary = Vocabulary(tokenizer)
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    tokens = vocabulary.pad([np.array(encoding.ids)], len(encoding.ids) + 2)
    words = group_words(tokens, vocabulary).word_BL[0].tolist()
    assert words[0] == words[-1] == -1
    found = [[] for _ in range(max(words) + 1)]
    for piece, (start, end), word in zip(encoding.tokens, encoding.offsets, words[1:-1], strict=True):
        while start < end and text[start].isspace():
            start += 1
        found[word].append((piece, start, end))
    assert all(found), "words are numbered from left to right"
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_words_end_at_blanks_punctuation_and_characters_of_scripts_without_blanks(tokenizer, text):
    def breaks(character):
        return bool(UNSPACED.match(character)) or not re.match(r"\w", character)

    pieces = [(word, *piece) for word, inside in enumerate(grouped(tokenizer, text)) for piece in inside]
    pieces = [piece for piece in pieces if piece[1] != "▁" and piece[2] < piece[3]]  # others are a blank alone
    marked = type(tokenizer.backend_tokenizer.model).__name__ != "WordPiece"
    for (word, _, _, end), (other, piece, start, _) in pairwise(pieces):
        ends = marked and start >= end and (breaks(text[end - 1]) or breaks(text[start]))
        begins = start > end or ends or not (marked or piece.startswith("##"))
        assert other == word + begins or (begins and other == word + 2), (text[:end], text[start:])


def test_a_text_without_blanks_is_many_words(tokenizer):
    text = "今天天气很好我们去公园看花机器学习模型检索中文文档搜索引擎返回结果" * 3
    assert len(grouped(tokenizer, text)) >= len(text) / 8


def test_a_character_of_several_pieces_is_one_word():
    """The vocabulary was learnt without it."""
    words = grouped(kind_of_tokenizer("bpe"), "旖旎 the 旖")
    assert [len(pieces) for pieces in words] == [3, 3, 1, 1, 3]
    assert [words[2][0][0], words[3][0][0]] == ["Ġthe", "Ġ"]
    assert [len(pieces) for pieces in grouped(kind_of_tokenizer("unigram"), "旖旎")] == [1, 1]


def test_a_blank_in_front_changes_no_word():
    vocab = {token: index for index, token in enumerate([*SPECIAL, "Ġ", *"abc", "Ġa", "<mask>"])}
    merges = [("Ġ", "a")]
    with_blank, without = (
        grouped(RobertaTokenizer(vocab=vocab, merges=merges, add_prefix_space=prefixed), "abc ab")
        for prefixed in (True, False)
    )
    assert [[piece for piece, *_ in word] for word in with_blank] == [["Ġa", "b", "c"], ["Ġa", "b"]]
    assert [[piece for piece, *_ in word] for word in without] == [["a", "b", "c"], ["Ġa", "b"]]


def test_flags_of_published_layouts():
    pieces = ["Ġthe", "the", "Ġcat", "s", ",", "Ġ(", "'s", "Ċ", "ä", "»", "Ĭ", "à¸", "Ġ", "ĠU", ".", "ä»Ĭ", "€"]
    vocab = {token: index for index, token in enumerate([*SPECIAL, *pieces, "  ", "<mask>"])}
    roberta = RobertaTokenizer(vocab=vocab, merges=[])
    roberta.add_tokens([AddedToken("  ", normalized=False)])
    known = Vocabulary(roberta)
    # 1: continues the word before, 2: nothing continues it
    joints = [0, 1, 0, 1, 2, 2, 0, 2, 0, 1, 1, 0, 0, 0, 2, 2, 1]
    assert known.joint_V.tolist() == [2, 2, 2, 2, *joints, 2, 2]
    assert known.continuation_V.tolist() == [bool(joint & 1) for joint in known.joint_V.tolist()]
    assert known.spelling_V.tolist() == [0, 1, 2, 3, 4, 4, *range(6, 21), 16, 22]
    flagged = [piece for piece, flag in zip(vocab, known.function_V.tolist(), strict=True) if flag]
    assert flagged == ["Ġthe", "the", "s", ",", "Ġ(", "Ċ", "Ġ", ".", "€", "  "]
    assert known.separators == 2
    assert known.special_V.nonzero().flatten().tolist() == [0, 1, 2, 3, len(vocab) - 1]
    assert known.skip_V.nonzero().flatten().tolist() == [0, 2]

    pieces = ["▁the", "the", "▁", "今天", "▁AI", "s", "。", "▁(", "<0xE4>", "<0xBB>", "ไทย", "▁(the"]
    xlmr = XLMRobertaTokenizer(vocab=[(token, 0.0) for token in [*SPECIAL, *pieces, "<mask>"]])
    known = Vocabulary(xlmr)
    assert known.joint_V.tolist() == [2, 2, 2, 2, 0, 1, 0, 2, 0, 1, 2, 2, 0, 1, 2, 0, 2]
    flagged = [piece for piece, flag in zip([*SPECIAL, *pieces], known.function_V.tolist()[:-1], strict=True) if flag]
    assert flagged == ["▁the", "the", "▁", "s", "。", "▁("]


def test_names_and_gaps_of_other_layouts():
    """MPNet has RoBERTa's names over WordPiece; DeBERTa v3 BERT's over SentencePiece, its mask behind a gap."""
    words = ["<s>", "<pad>", "</s>", "<mask>", "[UNK]", "the", "##s"]
    names = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "mask": "<mask>", "unk": "[UNK]"}
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    mpnet = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=made, **{f"{k}_token": v for k, v in names.items()}))
    assert (mpnet.cls_id, mpnet.pad_id, mpnet.sep_id, mpnet.mask_id, mpnet.unk_id) == (0, 1, 2, 3, 4)
    assert mpnet.joint_V.tolist() == [0] * 6 + [1]
    scored = [(word, 0.0) for word in ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁the", "s"]]
    made = Tokenizer(models.Unigram(scored, unk_id=3))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    names = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}
    deberta = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=made, **names))
    assert (deberta.cls_id, deberta.mask_id, deberta.size) == (1, 6, 7)
    assert deberta.joint_V.tolist() == [2, 2, 2, 2, 0, 1, 2]


def test_the_scripts_without_blanks():
    assert all(map(UNSPACED.match, "今々〇のカーไทยລາວမြန်ខ្មែ𠀀豈"))
    assert not any(map(UNSPACED.match, "aé한हπЖא1"))
    assert re.sub(UNSPACED, "", "日本語 and 한국어") == " and 한국어"

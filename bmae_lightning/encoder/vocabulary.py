"""What masks and losses must know of a vocabulary: its size, the special ids, which pieces continue a word.

This is the vocabulary part of whole-word masking (BERT) as RetroMAE, DupMAE, SimLM and MASTER use it.
Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bmae_lightning.corpus.statistics.words import CONTINUES, WordRules
from bmae_lightning.corpus.tokens.wordpiece import fast_backend
from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.function_words import function_flags
from bmae_lightning.encoder.spelling import Spelling, marked_pieces, word_pieces
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


class Vocabulary(nn.Module):
    """Ids and per-id flags of a vocabulary; its buffers follow the model's device and are never saved.

    size: ids of the tokenizer; a model may embed more, which stand in no text.  special_V: [PAD] [UNK] [CLS] [SEP]
    [MASK] or what the tokenizer calls them, never labelled or replaced by a masked-language-model corruption.
    skip_V: [CLS] and [SEP], which belong to no word.  joint_V, spelling_V: see `WordRules`.  function_V: English
    function words and punctuation.  separators: how many [SEP] stand between the texts of a pair.
    Raises BadInput for a tokenizer that is not a fast WordPiece, byte-level BPE or SentencePiece tokenizer, or that
    lacks one of the five special tokens.
    """

    special_V: Tensor
    skip_V: Tensor
    joint_V: Tensor
    spelling_V: Tensor
    function_V: Tensor

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        name = f"tokenizer {getattr(tokenizer, 'name_or_path', '') or type(tokenizer).__name__!r}"
        backend = fast_backend(tokenizer)
        id_of = tokenizer.get_vocab()
        tokens = [""] * (max(id_of.values()) + 1)
        for token, index in id_of.items():
            tokens[index] = token
        names = {kind: getattr(tokenizer, f"{kind}_token", None) for kind in SPECIAL_TOKENS}
        model = backend.model
        if type(model).__name__ == "WordPiece":
            spelling = word_pieces(tokens, model.continuing_subword_prefix)
        else:
            spelling = marked_pieces(tokens, set(names.values()), backend)
        if spelling is None:
            raise BadInput(
                f"{name} is of a kind ({type(model).__name__}) whose words are not known; use an encoder with a "
                "WordPiece, byte-level BPE or SentencePiece tokenizer, as those of BERT, RoBERTa and XLM-R"
            )
        self._fill(tokens, names, spelling, name)
        self.separators = max(1, backend.num_special_tokens_to_add(is_pair=True) - 2)

    @classmethod
    def from_tokens(cls, tokens: Sequence[str]) -> Vocabulary:
        """The WordPiece vocabulary whose id i is tokens[i], with BERT's names for the special tokens."""
        vocabulary = cls.__new__(cls)
        vocabulary._fill(list(tokens), SPECIAL_TOKENS, word_pieces(tokens, "##"), "the token list")
        return vocabulary

    @property
    def continuation_V(self) -> Tensor:
        """Pieces that continue the word before them, if there is one and it goes on: bool."""
        return (self.joint_V & CONTINUES).bool()

    def rules(self) -> WordRules:
        """What the statistics of a corpus must know."""
        return WordRules(self.special_V.numpy(), self.joint_V.numpy(), self.spelling_V.numpy())

    def is_special(self, ids_BL: Tensor) -> Tensor:
        """Where ids are [PAD] [UNK] [CLS] [SEP] [MASK]: bool, the shape of ids_BL."""
        return self.special_V.index_select(0, ids_BL.flatten()).view_as(ids_BL)

    def pad(
        self, rows: Sequence[np.ndarray], max_length: int, values: Mapping[str, Sequence[np.ndarray]] | None = None
    ) -> Tokens:
        """Rows of content ids as Tokens: cut from the right to max_length - 2, [CLS] and [SEP] added, padded alike.

        rows: integer arrays [N_b] without special tokens; an empty row becomes `[CLS] [SEP]`.  values: name -> one
        array [N_b] per row, cut and padded (by 0) as the ids are, in float32.
        """
        if max_length < 3:
            raise ValueError(f"max_length must leave room for [CLS], a token and [SEP] (at least 3), got {max_length}")
        if not rows:
            raise ValueError("padding needs at least one row")
        size_B = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        flat = {name: np.concatenate(numbers) for name, numbers in (values or {}).items()}
        return self.cut(np.concatenate(rows), size_B.cumsum() - size_B, size_B.clip(max=max_length - 2), flat)

    def cut(
        self, flat: np.ndarray, start_B: np.ndarray, size_B: np.ndarray, values: Mapping[str, np.ndarray] | None = None
    ) -> Tokens:
        """Pieces of one long array of content ids as Tokens, [CLS] and [SEP] added, padded alike.

        flat: ids of all texts, which may lie on disk.  start_B, size_B: int64, where each text begins and how many ids
        it has.  values: name -> array aligned with flat, padded by 0, in float32.
        """
        position_L = np.arange(int(size_B.max()) + 2)
        place_BL = (start_B - 1)[:, None] + position_L
        last_B1 = size_B[:, None]
        ids_BL = _take(flat, place_BL, np.int64)
        ids_BL[position_L > last_B1] = self.pad_id
        ids_BL[:, 0] = self.cls_id
        ids_BL[np.arange(len(size_B)), size_B + 1] = self.sep_id
        padded = {}
        for name, numbers in (values or {}).items():
            value_BL = _take(numbers, place_BL, np.float32)
            value_BL[position_L > last_B1] = 0
            value_BL[:, 0] = 0
            padded[name] = torch.from_numpy(value_BL)
        return Tokens(torch.from_numpy(ids_BL), torch.from_numpy(position_L <= last_B1 + 1), padded)

    def _fill(self, tokens: list[str], special: dict[str, str | None], spelling: Spelling, source: str) -> None:
        super().__init__()
        id_of = {token: index for index, token in enumerate(tokens)}
        missing = [SPECIAL_TOKENS[kind] for kind, token in special.items() if token not in id_of]
        if missing:
            raise BadInput(f"{source} has no {' '.join(missing)}; add it, or use a BERT-type vocabulary")
        self.size, self.separators = len(tokens), 1
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            id_of[special[kind]] for kind in ("pad", "unk", "cls", "sep", "mask")
        )
        special_V = torch.zeros(self.size, dtype=torch.bool)
        special_V[[self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id]] = True
        skip_V = torch.zeros(self.size, dtype=torch.bool)
        skip_V[[self.cls_id, self.sep_id]] = True
        self.register_buffer("special_V", special_V, persistent=False)
        self.register_buffer("skip_V", skip_V, persistent=False)
        self.register_buffer("joint_V", torch.from_numpy(spelling.joint_V), persistent=False)
        self.register_buffer("spelling_V", torch.from_numpy(spelling.spelling_V), persistent=False)
        self.register_buffer("function_V", function_flags(spelling.texts), persistent=False)


def _take(flat: np.ndarray, place_BL: np.ndarray, dtype: type) -> np.ndarray:
    """flat at the places, anything at places outside."""
    return flat.take(place_BL, mode="clip").astype(dtype) if len(flat) else np.zeros(place_BL.shape, dtype)

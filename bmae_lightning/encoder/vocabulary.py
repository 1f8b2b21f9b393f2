"""What masks and losses must know of a WordPiece vocabulary: its size, the special ids, which pieces continue a word.

This is the vocabulary part of whole-word masking (BERT) as RetroMAE, DupMAE, SimLM and MASTER use it.
Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import Tokens, cut_rows, pad_rows
from bmae_lightning.encoder.function_words import function_flags
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONTINUATION = "##"
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


class Vocabulary(nn.Module):
    """Ids and per-id flags of a WordPiece vocabulary; its buffers follow the model's device and are never saved.

    special_V: [PAD] [UNK] [CLS] [SEP] [MASK], never labelled or replaced by a masked-language-model corruption.
    skip_V: [CLS] and [SEP], which belong to no word.  continuation_V: pieces that start with `##`.
    function_V: English function words and punctuation.
    Raises BadInput for a tokenizer that is not a fast WordPiece tokenizer or that lacks one of the five special tokens.
    """

    special_V: Tensor
    skip_V: Tensor
    continuation_V: Tensor
    function_V: Tensor

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        backend = getattr(tokenizer, "backend_tokenizer", None)
        model = type(backend.model).__name__ if backend is not None else "no fast tokenizer"
        name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        if model != "WordPiece":
            raise BadInput(
                f"tokenizer {name!r} is not a fast WordPiece tokenizer ({model}); whole-word masking reads the `##` "
                "pieces, use a BERT-type checkpoint such as bert-base-uncased"
            )
        prefix = backend.model.continuing_subword_prefix
        if prefix != CONTINUATION:
            raise BadInput(
                f"tokenizer {name!r} marks continuation pieces by {prefix!r}, only {CONTINUATION!r} is known"
            )
        id_of = tokenizer.get_vocab()
        tokens = [""] * (max(id_of.values()) + 1)
        for token, index in id_of.items():
            tokens[index] = token
        names = {kind: getattr(tokenizer, f"{kind}_token", None) for kind in SPECIAL_TOKENS}
        self._fill(tokens, names, f"tokenizer {name!r}")

    @classmethod
    def from_tokens(cls, tokens: Sequence[str]) -> Vocabulary:
        """The vocabulary whose id i is tokens[i], with BERT's names for the special tokens."""
        vocabulary = cls.__new__(cls)
        vocabulary._fill(list(tokens), SPECIAL_TOKENS, "the token list")
        return vocabulary

    def is_special(self, ids_BL: Tensor) -> Tensor:
        """Where ids are [PAD] [UNK] [CLS] [SEP] [MASK]: bool, the shape of ids_BL."""
        return self.special_V.index_select(0, ids_BL.flatten()).view_as(ids_BL)

    def pad(
        self,
        rows: Sequence[np.ndarray],
        max_length: int,
        values: Mapping[str, Sequence[np.ndarray]] | None = None,
    ) -> Tokens:
        """Rows of content ids, and numbers at them, as Tokens, see `pad_rows`."""
        return pad_rows(rows, **self._edges, max_length=max_length, values=values)

    def cut(
        self,
        flat: np.ndarray,
        start_B: np.ndarray,
        size_B: np.ndarray,
        values: Mapping[str, np.ndarray] | None = None,
    ) -> Tokens:
        """Pieces of one long array of content ids, and numbers at them, as Tokens, see `cut_rows`."""
        return cut_rows(flat, start_B, size_B, **self._edges, values=values)

    @property
    def _edges(self) -> dict[str, int]:
        return {"cls_id": self.cls_id, "sep_id": self.sep_id, "pad_id": self.pad_id}

    def _fill(self, tokens: list[str], special: dict[str, str | None], source: str) -> None:
        super().__init__()
        id_of = {token: index for index, token in enumerate(tokens)}
        missing = [SPECIAL_TOKENS[kind] for kind, token in special.items() if token not in id_of]
        if missing:
            raise BadInput(f"{source} has no {' '.join(missing)}; add it, or use a BERT-type vocabulary")
        self.size = len(tokens)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            id_of[special[kind]] for kind in ("pad", "unk", "cls", "sep", "mask")
        )
        special_V = torch.zeros(self.size, dtype=torch.bool)
        special_V[[self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id]] = True
        skip_V = torch.zeros(self.size, dtype=torch.bool)
        skip_V[[self.cls_id, self.sep_id]] = True
        continuation_V = torch.tensor([token.startswith(CONTINUATION) for token in tokens])
        self.register_buffer("special_V", special_V, persistent=False)
        self.register_buffer("skip_V", skip_V, persistent=False)
        self.register_buffer("continuation_V", continuation_V, persistent=False)
        self.register_buffer("function_V", function_flags(tokens), persistent=False)

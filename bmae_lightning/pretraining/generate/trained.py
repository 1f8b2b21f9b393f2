"""Small teachers for where nothing can be downloaded: trained from random weights on the collection itself.

The query teacher is a BART on the training split's (passage -> query) pairs, the other a GPT-2 on the passages' text;
both read and write the word pieces of the prepared corpus. They replace MASTER's outside teachers and are far weaker.
Shapes: B examples, L input length, T target length.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.scratch import check_heads
from bmae_lightning.pretraining.generate.sampling import Sampling
from bmae_lightning.pretraining.generate.writer import Writer
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput

IGNORED = -100
"""Label of a position without loss."""


class Examples(NamedTuple):
    """input_BL: ids.  real_BL: 1 on them, 0 on padding.  label_BT: ids to write, IGNORED on padding."""

    input_BL: Tensor
    real_BL: Tensor
    label_BT: Tensor


@dataclass(frozen=True)
class TrainedTeacher(ABC):
    """What both have in common.

    Args:
        sampling: how it draws tokens.
        layers, width, heads: of the model; the feed-forward size is 4 x width.
        length: word pieces of a passage that it reads.
        steps, batch_size, lr, warmup, weight_decay: of its training; warm-up below 1 is a share of the steps.
    """

    sampling: Sampling
    layers: int = 2
    width: int = 128
    heads: int = 4
    length: int = 64
    steps: int = 40
    batch_size: int = 32
    lr: float = 3e-3
    warmup: float = 0.1
    weight_decay: float = 0.0

    split = "train"
    needs_pairs = False

    def __post_init__(self) -> None:
        at_least(1, layers=self.layers, length=self.length, steps=self.steps, batch_size=self.batch_size)
        at_least(0, lr=self.lr, warmup=self.warmup, weight_decay=self.weight_decay)
        check_heads(self.width, self.heads)

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, for the report."""

    @abstractmethod
    def examples(
        self, passages: TokenStore, queries: TokenStore, qrels: dict[str, dict[str, int]], end_id: int
    ) -> tuple[Any, int]:
        """A function from (row, epoch) pairs to `Examples`, and the number of rows.

        Args:
            qrels: of the training split, query id -> passage id -> relevance.
            end_id: ends a text.
        """

    @abstractmethod
    def _model(self, size: int, pad_id: int, end_id: int) -> Any: ...

    def model(self, tokenizer: Any, seed: int) -> Any:
        """The model with random weights, a function of `seed`."""
        size = max(tokenizer.get_vocab().values()) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._model(size, tokenizer.pad_token_id, tokenizer.sep_token_id)

    def save(self, model: Any, tokenizer: Any, directory: Path) -> None:
        """Model and tokenizer in Hugging Face format; the tokenizer ends texts as `examples` do."""
        from tokenizers import Tokenizer, processors
        from transformers import PreTrainedTokenizerFast

        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        template = "$A:0 [SEP]:0" if self.needs_pairs else "$A:0"
        names = {name: getattr(tokenizer, name) for name in ("pad_token", "unk_token", "cls_token", "mask_token")}
        end = (tokenizer.sep_token, tokenizer.sep_token_id)
        backend.post_processor = processors.TemplateProcessing(
            single=template.replace("[SEP]", end[0]), special_tokens=[end]
        )
        backend.encode_special_tokens = True
        saved = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end[0], sep_token=end[0], **names)
        model.save_pretrained(directory)
        saved.save_pretrained(directory)

    def writer(self, directory: Path, key: str) -> Writer:
        """The trained model that `save` wrote, loaded."""
        return Writer(directory, self.sampling, self.length, key=key)


class TrainedQueryTeacher(TrainedTeacher):
    """A BART that learns to write the query of a passage."""

    needs_pairs = True

    @property
    def description(self) -> str:
        return f"BART {self.layers} x {self.width}, trained here: {self.steps} steps on the pairs of {self.split!r}"

    def examples(
        self, passages: TokenStore, queries: TokenStore, qrels: dict[str, dict[str, int]], end_id: int
    ) -> tuple["PairExamples", int]:
        pairs = [
            (passages.row_of(passage), queries.row_of(query))
            for query, judged in qrels.items()
            for passage, relevance in judged.items()
            if relevance > 0
        ]
        if not pairs:
            raise BadInput(f"generate.queries: the split {self.split!r} has no relevant passage to learn queries from")
        return PairExamples(passages, queries, pairs, self.length, self.sampling.tokens, end_id), len(pairs)

    def _model(self, size: int, pad_id: int, end_id: int) -> Any:
        from transformers import BartConfig, BartForConditionalGeneration

        config = BartConfig(
            vocab_size=size, d_model=self.width, encoder_layers=self.layers, decoder_layers=self.layers,
            encoder_attention_heads=self.heads, decoder_attention_heads=self.heads, encoder_ffn_dim=4 * self.width,
            decoder_ffn_dim=4 * self.width, max_position_embeddings=max(self.length, self.sampling.tokens + 1),
            dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, pad_token_id=pad_id, bos_token_id=end_id,
            eos_token_id=end_id, decoder_start_token_id=end_id, forced_eos_token_id=None,
        )  # fmt: skip
        return BartForConditionalGeneration(config)


class TrainedContinuationTeacher(TrainedTeacher):
    """A GPT-2 that learns the passages as one long text, so that it goes on after the end of a passage."""

    @property
    def description(self) -> str:
        return f"GPT-2 {self.layers} x {self.width}, trained here: {self.steps} steps on the passages"

    @property
    def window(self) -> int:
        """Word pieces that it sees at a time: a prompt and its continuation."""
        return self.length + self.sampling.tokens

    def examples(
        self, passages: TokenStore, queries: TokenStore, qrels: dict[str, dict[str, int]], end_id: int
    ) -> tuple["WindowExamples", int]:
        if len(passages.tokens) < 2:
            raise BadInput("generate.continuation: the passages have no text to learn from")
        return WindowExamples(passages, self.window), max(1, len(passages.tokens) // self.window)

    def _model(self, size: int, pad_id: int, end_id: int) -> Any:
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=size, n_embd=self.width, n_layer=self.layers, n_head=self.heads, n_positions=self.window,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=end_id, eos_token_id=end_id,
            pad_token_id=pad_id,
        )  # fmt: skip
        return GPT2LMHeadModel(config)


@dataclass(frozen=True)
class PairExamples:
    """Collates (pair, epoch) items: the beginning of a passage in, its query out, both ended."""

    passages: TokenStore
    queries: TokenStore
    pairs: list[tuple[int, int]]
    length: int
    tokens: int
    end_id: int

    def __call__(self, items: Sequence[tuple[int, int]]) -> Examples:
        pairs = [self.pairs[row] for row, _ in items]
        input_BL = _pad([self._ended(self.passages[passage], self.length) for passage, _ in pairs])
        label_BT = _pad([self._ended(self.queries[query], self.tokens) for _, query in pairs])
        real_BL = input_BL != IGNORED
        return Examples(input_BL.where(real_BL, 0), real_BL.long(), label_BT)

    def _ended(self, ids: np.ndarray, length: int) -> list[int]:
        return [*ids[: length - 1].tolist(), self.end_id]


@dataclass(frozen=True)
class WindowExamples:
    """Collates (window, epoch) items: consecutive word pieces of the passages; the model shifts the labels itself."""

    passages: TokenStore
    window: int

    def __call__(self, items: Sequence[tuple[int, int]]) -> Examples:
        tokens = self.passages.tokens
        ids_BL = _pad([tokens[row * self.window : (row + 1) * self.window].tolist() for row, _ in items])
        return Examples(ids_BL, torch.ones_like(ids_BL), ids_BL)


def _pad(rows: list[list[int]]) -> Tensor:
    padded_BL = torch.full((len(rows), max(map(len, rows))), IGNORED)
    for i, row in enumerate(rows):
        padded_BL[i, : len(row)] = torch.tensor(row)
    return padded_BL

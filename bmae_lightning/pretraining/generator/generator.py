"""A masked language model that puts other tokens in the place of selected ones (SimLM §3.1, after ELECTRA).

It reads a masked text; one id per selected position is drawn from softmax(logits / temperature).
Shapes: B passages, L positions, N rows at selected positions, E width that the output projection reads, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss.vocabulary import IGNORED, TokenLoss, vocabulary_loss
from bmae_lightning.pretraining.noise import Noise, widest_float
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHUNK = 256
"""Rows whose logits exist at a time."""


class Generator(nn.Module, ABC):
    """One file per place that the network comes from; `build` makes it, after that `replace` works.

    train: let it learn from the encoder's masked text, else it is frozen.  dropout: active in training mode although
    frozen, as in SimLM's released code; samples then depend on torch's random state.  temperature: above 1 draws are
    more even.  weight: of its own loss.
    """

    def __init__(self, train: bool = False, dropout: bool = False, temperature: float = 1.0, weight: float = 0.2):
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be a number of at least 0, got {weight}")
        self.trained = train
        self.dropout = dropout
        self.temperature = float(temperature)
        self.weight = float(weight)
        self.masked_lm: PreTrainedModel | None = None

    def preflight(self, tokenizer: Any) -> None:  # noqa: B027  most have nothing to look at
        """Check before any work; tokenizer: what makes the encoder's.  Raises BadInput for a network that cannot do."""

    @abstractmethod
    def network(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None) -> PreTrainedModel:
        """The masked language model over the vocabulary of `tokenizer`; directory: of the stage that trained one."""

    def build(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None = None) -> Generator:
        """Make the network; returns itself.

        Raises BadInput for no network, another vocabulary, or an output projection that cannot be used alone.
        """
        masked_lm = self.network(tokenizer, directory)
        projection = masked_lm.get_output_embeddings()
        if not isinstance(projection, nn.Linear):
            raise BadInput(
                f"a model of type {masked_lm.config.model_type!r} cannot be the generator: its output projection is "
                f"{type(projection).__name__}, not a linear map; use a BERT or ELECTRA type"
            )
        self.masked_lm = masked_lm.requires_grad_(self.trained).eval()
        with torch.no_grad():
            self.states(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool))
        self.train(self.training)
        return self

    def train(self, mode: bool = True) -> Generator:
        """A frozen generator stays in eval mode whatever the model around it does, unless its dropout is wanted."""
        return super().train(mode and (self.trained or self.dropout))

    def replace(
        self,
        shown_BL: Tensor,
        original_BL: Tensor,
        selected_BL: Tensor,
        real_BL: Tensor,
        noise: Noise,
        salt: str,
        types_BL: Tensor | None = None,
    ) -> tuple[Tensor, TokenLoss | None]:
        """original_BL with one draw at every selected position, and the generator's loss where it learns.

        shown_BL: the text it reads, corrupted at the selected positions.  types_BL: token types, None for all 0.  It
        learns where it is trained and gradients are enabled, to tell the original ids at the selected positions; no
        gradient passes through the draws.
        """
        learns = self.trained and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns):
            states_BLE = self.states(shown_BL, real_BL, types_BL)
            labels_BL = torch.where(selected_BL, original_BL, IGNORED)
            head = VocabularyHead(nn.Identity(), self.projection.weight, self.projection.bias)
            loss = vocabulary_loss(states_BLE, labels_BL, head) if learns else None
        ids_BL = original_BL.clone()
        uniform_N = noise.uniform(salt, ids_BL.shape[1])[selected_BL]
        states_NE = states_BLE[selected_BL].detach()
        parts = zip(states_NE.split(CHUNK), uniform_N.split(CHUNK), strict=True)
        ids_BL[selected_BL] = torch.cat([self.draw(states, uniform) for states, uniform in parts])
        return ids_BL, loss

    @property
    def projection(self) -> nn.Linear:
        return self.masked_lm.get_output_embeddings()

    def states(self, ids_BL: Tensor, real_BL: Tensor, types_BL: Tensor | None = None) -> Tensor:
        """What the output projection would read [B, L, E]: the network runs without any logits."""
        limit = self.masked_lm.config.max_position_embeddings
        if ids_BL.shape[1] > limit:
            raise BadInput(
                f"a text of {ids_BL.shape[1]} tokens does not fit the generator's {limit} positions; lower length"
            )
        read: list[Tensor] = []

        def catch(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            read.append(inputs[0])
            return (inputs[0][:, :0],)

        types = {} if types_BL is None else {"token_type_ids": types_BL}
        with self.projection.register_forward_pre_hook(catch):
            self.masked_lm(input_ids=ids_BL, attention_mask=real_BL.long(), **types)
        if not read:
            raise BadInput(
                f"a model of type {self.masked_lm.config.model_type!r} cannot be the generator: it does not call its "
                "output projection; use a BERT or ELECTRA type"
            )
        return read[0]

    @torch.no_grad()
    def draw(self, states_NE: Tensor, uniform_N: Tensor) -> Tensor:
        """One id per row by inverting the distribution: the first whose cumulated probability exceeds uniform_N."""
        with torch.autocast(states_NE.device.type, enabled=False):
            logits_NV = self.projection(states_NE.to(self.projection.weight.dtype))
        wide = torch.float64 if logits_NV.dtype == torch.float64 else torch.float32
        probability_NV = (logits_NV.to(wide) / self.temperature).softmax(-1)
        below_NV = probability_NV.cumsum(-1, dtype=widest_float(states_NE.device))
        target_N1 = uniform_N[:, None] * below_NV[:, -1:]
        return torch.searchsorted(below_NV, target_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)

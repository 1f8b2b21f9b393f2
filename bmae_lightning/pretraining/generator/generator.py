"""A masked language model that puts other tokens in the place of selected ones (SimLM §3.1, after ELECTRA).

It reads a masked text; one id per selected position is drawn from softmax(logits / temperature).
Shapes: B passages, L positions, N rows at selected positions, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bmae_lightning.pretraining.loss.vocabulary import IGNORED, TokenLoss, vocabulary_loss
from bmae_lightning.pretraining.noise import Noise, widest_float
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bmae_lightning.encoder.backbone.backbone import Backbone

CHUNK = 256
"""Rows whose logits exist at a time."""


class Generator(nn.Module, ABC):
    """One file per place that the network comes from; `build` makes it, after that `replace` works.

    train: let it learn from the encoder's masked text, else it is frozen.  dropout: active in training mode although
    frozen, as in SimLM's released code; samples then depend on torch's random state.  temperature: above 1 draws are
    more even.  weight: of its own loss.
    Attributes: packed, whether it computes real tokens only, as the encoder does.
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
        self.backbone: Backbone | None = None
        self.packed = True

    def preflight(self, tokenizer: Any) -> None:  # noqa: B027  most have nothing to look at
        """Check before any work; tokenizer: what makes the encoder's.  Raises BadInput for a network that cannot do."""

    @abstractmethod
    def network(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None) -> PreTrainedModel:
        """The masked language model over the vocabulary of `tokenizer`; directory: of the stage that trained one."""

    def build(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None = None) -> Generator:
        """Make the network; returns itself.

        Raises BadInput for no network, another vocabulary, or an unknown family.
        """
        from bmae_lightning.encoder.backbone.backbone import backbone_of

        self.masked_lm = self.network(tokenizer, directory).requires_grad_(self.trained).eval()
        self.backbone = backbone_of(self.masked_lm)
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
        size: int | None = None,
    ) -> tuple[Tensor, TokenLoss | None]:
        """original_BL with one draw at every selected position, and the generator's loss where it learns.

        shown_BL: the text it reads, corrupted at the selected positions.  types_BL: token types, None for all 0.
        size: draw ids below it only, as those of a padded vocabulary mean nothing; None for all.  It learns where it
        is trained and gradients are enabled, to tell the original ids at the selected positions; no gradient passes
        through the draws.
        """
        learns = self.trained and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns):
            hidden_BLD = self.states(shown_BL, real_BL, types_BL)
            labels_BL = torch.where(selected_BL, original_BL, IGNORED)
            loss = vocabulary_loss(hidden_BLD, labels_BL, self.backbone.head) if learns else None
        ids_BL = original_BL.clone()
        uniform_N = noise.uniform(salt, ids_BL.shape[1])[selected_BL]
        hidden_ND = hidden_BLD[selected_BL].detach()
        parts = zip(hidden_ND.split(CHUNK), uniform_N.split(CHUNK), strict=True)
        ids_BL[selected_BL] = torch.cat([self.draw(hidden, uniform, size) for hidden, uniform in parts])
        return ids_BL, loss

    def states(self, ids_BL: Tensor, real_BL: Tensor, types_BL: Tensor | None = None) -> Tensor:
        """The last hidden states [B, L, D]; what stands at padding has no meaning."""
        limit = self.backbone.limit
        if ids_BL.shape[1] > limit:
            raise BadInput(
                f"a text of {ids_BL.shape[1]} tokens does not fit the generator's {limit} positions; lower length"
            )
        return self.backbone.states(ids_BL, real_BL, types_BL, self.packed)[0]

    @torch.no_grad()
    def draw(self, hidden_ND: Tensor, uniform_N: Tensor, size: int | None = None) -> Tensor:
        """One id per row by inverting the distribution: the first whose cumulated probability exceeds uniform_N."""
        head = self.backbone.head
        with torch.autocast(hidden_ND.device.type, enabled=False):
            logits_NV = head(hidden_ND.to(head.weight_VD.dtype))[:, :size]
        wide = torch.float64 if logits_NV.dtype == torch.float64 else torch.float32
        probability_NV = (logits_NV.to(wide) / self.temperature).softmax(-1)
        below_NV = probability_NV.cumsum(-1, dtype=widest_float(hidden_ND.device))
        target_N1 = uniform_N[:, None] * below_NV[:, -1:]
        return torch.searchsorted(below_NV, target_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)

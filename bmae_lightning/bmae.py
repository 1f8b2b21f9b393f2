"""The bottlenecked masked auto-encoder: views -> encoder -> bottleneck -> decoders -> named losses.

An encoder reads a masked text; decoders recover weakened texts from its bottleneck (RetroMAE Eq. 1-8, and the same
skeleton in DupMAE, SimLM, MASTER and CDMAE). Views, masks, corruptions and decoders make the method.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmae_lightning.batch import TextBatch
from bmae_lightning.decoder.decoder import Decoder, Encoded, guess, share
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.loss.vocabulary import TokenLoss, vocabulary_loss
from bmae_lightning.noise import Noise
from bmae_lightning.view import View, nearest


@dataclass(frozen=True)
class Output:
    """losses: 'encoder/<view>' and '<decoder>', sums and counts.  weights: of each.  rates: realised mask shares."""

    losses: dict[str, TokenLoss]
    weights: dict[str, float]
    rates: dict[str, Tensor]


@dataclass(frozen=True)
class Rebuilt:
    """One passage as token ids without padding; masked and rebuilt are keyed by view and by loss name."""

    original: list[int]
    masked: dict[str, list[int]]
    rebuilt: dict[str, list[int]]


class BottleneckMAE(nn.Module):
    """encoder; bottleneck: hidden states -> one vector; views: what the encoder is shown; decoders: what is recovered.

    seed: of the masks.  encoder_weight: of the encoder's own masked-language-model loss, 0 to leave it out.
    Raises ValueError for a decoder that names an unknown view.
    """

    def __init__(
        self,
        encoder: Encoder,
        bottleneck: nn.Module,
        views: dict[str, View],
        decoders: dict[str, Decoder],
        seed: int = 0,
        encoder_weight: float = 1.0,
    ):
        super().__init__()
        for name, decoder in decoders.items():
            if decoder.view not in views:
                raise ValueError(
                    f"decoder {name!r} names the unknown view {decoder.view!r}; {nearest(decoder.view, views)}"
                )
            decoder.build(encoder)
        used = views if encoder_weight else {decoder.view for decoder in decoders.values()}
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.views = nn.ModuleDict({name: view for name, view in views.items() if name in used})
        self.decoders = nn.ModuleDict(decoders)
        self.seed = seed
        self.encoder_weight = encoder_weight

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every loss."""
        own = {f"encoder/{name}": self.encoder_weight for name in self.views if self.encoder_weight}
        return own | {name: decoder.weight for name, decoder in self.decoders.items()}

    @property
    def streams(self) -> set[str]:
        """The streams that a batch must hold."""
        return {part.stream for part in (*self.views.values(), *self.decoders.values()) if part.stream is not None}

    def forward(self, batch: TextBatch) -> Output:
        """Masks, encodes and decodes a batch of uncorrupted texts."""
        noise = Noise(self.seed, batch.epoch_B, batch.passage_B)
        encoded = {name: self.encode(name, batch, noise) for name in self.views}
        losses, rates = {}, {}
        for name, seen in encoded.items():
            text = seen.masked
            content_BL = ~self.encoder.vocabulary.special_V[text.tokens.ids_BL]
            rates[f"encoder/{name}"] = share(text.selected_BL, content_BL)
            if self.encoder_weight:
                losses[f"encoder/{name}"] = vocabulary_loss(seen.hidden_BLD, text.labels_BL, self.encoder.head)
        for name, decoder in self.decoders.items():
            decoded = decoder.decode(self.encoder, encoded[decoder.view], batch, noise, f"decoders.{name}")
            losses[name] = decoder.loss(self.encoder, decoded)
            rates[name] = decoded.rate
        return Output(losses, self.weights, rates)

    def encode(self, name: str, batch: TextBatch, noise: Noise) -> Encoded:
        """One pass of the encoder over a view."""
        text = self.views[name](batch, self.encoder.vocabulary, noise, f"views.{name}")
        early = {layer for decoder in self.decoders.values() if decoder.view == name for layer in decoder.early_layers}
        hidden_BLD, early_BLD = self.encoder.with_early(text.ids_BL, text.tokens.real_BL, sorted(early))
        return Encoded(hidden_BLD, self.bottleneck(hidden_BLD, text.tokens.real_BL), text, early_BLD)

    @torch.no_grad()
    def rebuild(self, batch: TextBatch, n: int) -> list[Rebuilt]:
        """What the encoder saw of the first n passages and what it and the decoders make of them (in eval mode)."""
        was_training = self.training
        self.eval()
        batch = batch.first(n)
        noise = Noise(self.seed, batch.epoch_B, batch.passage_B)
        encoded = {name: self.encode(name, batch, noise) for name in self.views}
        texts = {name: seen.masked for name, seen in encoded.items()}
        made: dict[str, tuple[Tensor, Tensor]] = {}
        for name, text in texts.items():
            ids_BL = guess(self.encoder, encoded[name].hidden_BLD, text.labels_BL, text.tokens.ids_BL)
            made[f"encoder/{name}"] = (ids_BL, text.tokens.real_BL)
        for name, decoder in self.decoders.items():
            decoded = decoder.decode(self.encoder, encoded[decoder.view], batch, noise, f"decoders.{name}")
            ids_BL = decoder.rebuilt(self.encoder, decoded)
            if ids_BL is not None:
                made[name] = (ids_BL, decoded.original_BL != self.encoder.vocabulary.pad_id)
        self.train(was_training)
        first = next(iter(texts.values())).tokens
        return [
            Rebuilt(
                first.ids_BL[row][first.real_BL[row]].tolist(),
                {name: text.ids_BL[row][text.tokens.real_BL[row]].tolist() for name, text in texts.items()},
                {name: ids_BL[row][real_BL[row]].tolist() for name, (ids_BL, real_BL) in made.items()},
            )
            for row in range(len(batch.passage_B))
        ]

"""Read this first. The bottlenecked masked auto-encoder: views -> encoder -> bottleneck -> decoders -> named losses.

An encoder reads a masked text; decoders recover weakened texts from its bottleneck (RetroMAE Eq. 1-8, and the same
skeleton in DupMAE, SimLM, MASTER and CDMAE). Views, masks, corruptions and decoders make the method. `forward` is a
training step without the optimiser. Read on in view.py (what is masked), mask/policy.py, mask/words.py (which words),
corruption/ (what becomes of them), decoder/ (what is recovered), loss/ (how that is measured) and noise.py (why a mask
does not depend on the batch). Functions marked `@compiled_twin` do what their code says, only faster on a CPU.
Shapes: B passages, L positions, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.pretraining.decoder.decoder import Decoder, Encoded, guess
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.pretraining.objective.objective import Objective
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.checks import nearest


@dataclass(frozen=True)
class Output:
    """losses: 'encoder/<view>', 'generator/<view>' and '<decoder>'.  weights: of each.  rates: realised mask shares."""

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

    seed: of the masks.  objective: what the encoder itself learns from its views, by default a masked language model.
    generator: a built network that replaces tokens, for corruptions that ask for one; left out where none does.
    Raises ValueError for a decoder that names an unknown view, and for parts that do not fit (see `check`).
    """

    def __init__(
        self,
        encoder: Encoder,
        bottleneck: nn.Module,
        views: dict[str, View],
        decoders: dict[str, Decoder],
        seed: int = 0,
        objective: Objective | None = None,
        generator: Generator | None = None,
    ):
        super().__init__()
        check(views, decoders, generator)
        objective = objective or MaskedObjective()
        if objective.weight:
            objective.build(encoder)
        for name, decoder in decoders.items():
            decoder.build(encoder, {other: decoders[other] for other in list(decoders)[: list(decoders).index(name)]})
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.views = nn.ModuleDict(used_views(views, decoders, objective))
        self.decoders = nn.ModuleDict(decoders)
        self.objective = objective
        self.seed = seed
        corruptions = [module.corruption for module in self.modules() if hasattr(module, "corruption")]
        for corruption in corruptions:
            corruption.bind(generator)
        self.generator = generator if any(corruption.generates for corruption in corruptions) else None
        if self.generator is not None:
            self.generator.packed = encoder.packed
        if not any(part.uses_head for part in (*decoders.values(), *[objective] * bool(objective.weight))):
            encoder.freeze_head()  # parameters without a gradient would stop distributed training

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every loss."""
        own = {f"encoder/{name}": self.objective.weight for name in self.views if self.objective.weight}
        if self.generator is not None and self.generator.trained:
            generating = [name for name, view in self.views.items() if view.corruption.generates]
            own |= {f"generator/{name}": self.generator.weight for name in generating}
        return own | {name: decoder.weight for name, decoder in self.decoders.items()}

    @property
    def streams(self) -> set[str]:
        """The streams that a batch must hold."""
        return {part.stream for part in (*self.views.values(), *self.decoders.values()) if part.stream is not None}

    @property
    def values(self) -> set[str]:
        """Names of the `Tokens.values` that the masks read."""
        return {name for module in self.modules() for name in getattr(getattr(module, "mask", None), "values", ())}

    def forward(self, batch: TextBatch) -> Output:
        """Mask, encode and decode a batch of uncorrupted texts; losses are sums over labels and not weighted yet."""
        noise = Noise(self.seed, batch.epoch_B, batch.passage_B)
        encoded = {name: self.encode(name, batch, noise) for name in self.views}
        losses, rates = {}, {}
        for name, seen in encoded.items():
            text = seen.masked
            rates[f"encoder/{name}"] = text.rate(self.encoder.vocabulary)
            if self.objective.weight:
                losses[f"encoder/{name}"] = self.objective.loss(self.encoder, seen.hidden_BLD, text)
            if text.loss is not None:
                losses[f"generator/{name}"] = text.loss
        for name, decoder in self.decoders.items():
            decoded = decoder.decode(self.encoder, encoded[decoder.view], batch, noise, f"decoders.{name}")
            losses[name] = decoder.loss(self.encoder, decoded)
            rates[name] = decoded.rate
        return Output(losses, self.weights, rates)

    def encode(self, name: str, batch: TextBatch, noise: Noise) -> Encoded:
        """One pass of the encoder over a view."""
        text = self.views[name](batch, self.encoder.vocabulary, noise, f"views.{name}")
        early = {layer for decoder in self.decoders.values() if decoder.view == name for layer in decoder.early_layers}
        hidden_BLD, early_BLD = self.encoder.with_early(text.ids_BL, text.tokens.real_BL, sorted(early), text.types_BL)
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
            if self.objective.uses_head:
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


def used_views(views: Mapping[str, View], decoders: Mapping[str, Decoder], objective: Objective) -> dict[str, View]:
    """The views that are encoded: those that a decoder reads, and with an objective those that stand `alone`.

    Raises ValueError if there is none, so that nothing would be learned.
    """
    read = {decoder.view for decoder in decoders.values()}
    used = {name: view for name, view in views.items() if name in read or (view.alone and objective.weight)}
    if not used:
        raise ValueError(
            "nothing would be learned: there is no decoder, and no view on which the encoder has an objective of its "
            "own; add a decoder, the view `passage`, or objective=masked"
        )
    return used


def check(views: Mapping[str, View], decoders: Mapping[str, Decoder], generator: Generator | None = None) -> None:
    """Whether the parts fit each other, before anything is built.

    Raises ValueError for a decoder with an unknown view, and for a mask that relates to the encoder's selection where
    there is none: in a view, or in a decoder whose text is not that of its view. Also for a corruption without the
    generator that it asks for, for a generator that would learn from no view, and for a name that torch's modules
    cannot have.
    """
    for name in (*views, *decoders):
        if "." in name or hasattr(nn.ModuleDict(), name):
            raise ValueError(f"torch has another use for the name {name!r}; give the view or decoder another one")
    corruptions = {f"view.{name}.corruption": view.corruption for name, view in views.items()}
    taught = any(corruption.generates for corruption in corruptions.values())
    corruptions |= {
        f"decoders.{name}.corruption": decoder.corruption
        for name, decoder in decoders.items()
        if hasattr(decoder, "corruption")
    }
    for key, corruption in corruptions.items():
        if corruption.generates and generator is None:
            raise ValueError(
                f"{key} asks for a generator, but there is none; set pretrain.generator (see conf/generator)"
            )
    if generator is not None and generator.trained and not taught:
        raise ValueError(
            "generator.train: the generator learns from what the encoder reads, but no view has the corruption "
            "`replace`; give it to a view or set generator.train=false"
        )
    for name, view in views.items():
        if view.mask.relative:
            raise ValueError(
                f"view.{name}.mask relates to an encoder's selection, but this view is the encoder's own; use "
                "another mask there"
            )
    for name, decoder in decoders.items():
        if decoder.view not in views:
            raise ValueError(f"decoders.{name}.view: there is no view {decoder.view!r}{nearest(decoder.view, views)}")
        view = views[decoder.view]
        mask = getattr(decoder, "mask", None)
        if mask is not None and mask.relative and (decoder.stream, decoder.span) != (view.stream, view.span):
            raise ValueError(
                f"decoders.{name}.mask relates to what the view {decoder.view!r} selected in the same text, but "
                f"the view reads {view.stream}/{view.span} and the decoder {decoder.stream}/{decoder.span}; give both "
                "the same stream and span, or choose another mask"
            )

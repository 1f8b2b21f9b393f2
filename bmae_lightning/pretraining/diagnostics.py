"""Measures on one batch whether the bottleneck is used, which loss moves the encoder, and which words are hidden.

The decoder losses of RetroMAE Eq. 8 and its kin, once more with another passage's vector and with none: the gap is what
the vector carries. All sums are over the batches of all processes; training is not changed.
Shapes: B passages, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, distributed, nn

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.decoder.decoder import Decoder, Encoded
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.pretraining.mask.words import group_words
from bmae_lightning.pretraining.noise import Noise, widest_float
from bmae_lightning.pretraining.view import take

SCALE = 2.0**10
"""Gradients are taken of the losses times this, so that they do not vanish in 16 bit; no share depends on it."""


@dataclass
class Sums:
    """What adds up over processes.  ratios: name -> (top, bottom).  squares: loss -> squared length of its gradient."""

    ratios: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, top: Tensor, bottom: Tensor) -> None:
        old_top, old_bottom = self.ratios.get(name, (0, 0))
        self.ratios[name] = (old_top + top, old_bottom + bottom)


def diagnose(model: BottleneckMAE, batch: TextBatch, norm: str = "global_mean") -> dict[str, float]:
    """Numbers about one batch, without dropout; all processes must call it, with batches of the same size.

    `bottleneck/<decoder>/true`, `/shuffled`, `/zero`: mean loss per label in nats with the passage's own bottleneck,
    with that of the passage before it in this process's batch (left out for a batch of one), and with zeros; the same
    masks and noise. Only for decoders that read one. `gradient_share/<loss>`: length of the gradient of the weighted
    mean loss (norm as in `mean_loss`) with respect to the encoder's last-layer states of the batch, as a share of the
    sum of these lengths. What reaches the encoder by shared embeddings or early layers is not in it.
    `function_words/<name>`: among hidden positions, the share in function words and punctuation; `function_words/text`:
    the same among all positions of the texts that the encoder reads, `function_words/text/<stream>`: of other streams.
    """
    sums = Sums()
    with undisturbed(model, batch.passage_B.device), torch.enable_grad():
        noise = Noise(model.seed, batch.epoch_B, batch.passage_B)
        with torch.no_grad():
            encoded = {name: model.encode(name, batch, noise) for name in model.views}
        for name, seen in encoded.items():
            if model.objective.weight:
                own = at_leaf(model, seen)
                loss = model.objective.loss(model.encoder, own.hidden_BLD, own.masked)
                sums.squares[f"encoder/{name}"] = squared_pull(loss, model.objective.weight, norm, own.hidden_BLD)
        for name, decoder in model.decoders.items():
            measure_decoder(model, name, decoder, encoded[decoder.view], batch, noise, norm, sums)
        measure_words(model, encoded, batch, sums)
        return finish(sums)


def measure_decoder(
    model: BottleneckMAE,
    name: str,
    decoder: Decoder,
    seen: Encoded,
    batch: TextBatch,
    noise: Noise,
    norm: str,
    sums: Sums,
) -> None:
    """Add one decoder's losses with three bottlenecks, its pull on the encoder and the words it hides."""

    def run(given: Encoded) -> tuple[Tensor | None, Tensor, TokenLoss]:
        decoded = decoder.decode(model.encoder, given, batch, noise, f"decoders.{name}")
        return decoded.masked_BL, decoded.original_BL, decoder.loss(model.encoder, decoded)

    own = at_leaf(model, seen)
    masked_BL, original_BL, loss = run(own)
    sums.squares[name] = squared_pull(loss, decoder.weight, norm, own.hidden_BLD)
    if masked_BL is not None:
        tokens = Tokens(original_BL, original_BL != model.encoder.vocabulary.pad_id)
        add_words(f"function_words/{name}", tokens, masked_BL, model.encoder.vocabulary, sums)
    if decoder.reads_bottleneck:
        vector_BD = own.bottleneck_BD.detach()
        sums.add(f"bottleneck/{name}/true", loss.total.detach(), loss.count)
        others = {"shuffled": vector_BD.roll(1, 0)} if len(vector_BD) > 1 else {}
        for kind, other_BD in (others | {"zero": torch.zeros_like(vector_BD)}).items():
            with torch.no_grad():
                _, _, loss = run(replace(own, bottleneck_BD=other_BD))
            sums.add(f"bottleneck/{name}/{kind}", loss.total, loss.count)


def at_leaf(model: BottleneckMAE, seen: Encoded) -> Encoded:
    """The same pass as if the encoder's last-layer states were inputs that want a gradient."""
    hidden_BLD = seen.hidden_BLD.detach().requires_grad_()
    return replace(seen, hidden_BLD=hidden_BLD, bottleneck_BD=model.bottleneck(hidden_BLD, seen.masked.tokens.real_BL))


def squared_pull(loss: TokenLoss, weight: float, norm: str, hidden_BLD: Tensor) -> Tensor:
    """Squared length of the gradient of the weighted mean loss with respect to the states (scalar)."""
    mean = SCALE * weight * mean_loss(loss, norm)
    (gradient_BLD,) = torch.autograd.grad(mean, [hidden_BLD], allow_unused=True, materialize_grads=True)
    return gradient_BLD.to(widest_float(hidden_BLD.device)).square().sum()


def measure_words(model: BottleneckMAE, encoded: dict[str, Encoded], batch: TextBatch, sums: Sums) -> None:
    """Add the words that the views hide, and all words of the texts for comparison."""
    vocabulary = model.encoder.vocabulary
    texts: dict[tuple[str, str], Tokens] = {}
    for name, seen in encoded.items():
        text = seen.masked
        add_words(f"function_words/encoder/{name}", text.tokens, text.selected_BL, vocabulary, sums)
        texts[text.stream, text.span] = text.tokens
    shown = {stream for stream, _ in texts}
    for decoder in model.decoders.values():
        if decoder.stream is not None and decoder.stream not in shown:
            texts[decoder.stream, decoder.span] = take(batch, decoder.stream, decoder.span, vocabulary)
    for (stream, _), tokens in texts.items():
        name = "function_words/text" + ("" if stream in shown else f"/{stream}")
        add_words(name, tokens, tokens.real_BL, vocabulary, sums)


def add_words(name: str, tokens: Tokens, masked_BL: Tensor, vocabulary: Vocabulary, sums: Sums) -> None:
    """Add how much of masked_BL (bool, or 0 to 1) at positions of content falls on function words and punctuation."""
    hidden_BL = masked_BL.float() * (tokens.real_BL & ~vocabulary.special_V[tokens.ids_BL])
    sums.add(name, (hidden_BL * function_positions(tokens, vocabulary)).sum(), hidden_BL.sum())


def function_positions(tokens: Tokens, vocabulary: Vocabulary) -> Tensor:
    """bool [B, L]: a word of a single piece that is a function word or punctuation."""
    words = group_words(tokens, vocabulary)
    whole_BL = (words.size_BW.gather(1, words.word_BL.clamp(min=0)) == 1) & (words.word_BL >= 0)
    return whole_BL & vocabulary.function_V[tokens.ids_BL]


def finish(sums: Sums) -> dict[str, float]:
    """Sums of all processes as numbers; a share of nothing is left out."""
    pairs = [part for ratio in sums.ratios.values() for part in ratio]
    parts = [*pairs, *sums.squares.values()]
    if not parts:
        return {}
    total_N = torch.stack([part.detach().to(widest_float(part.device)) for part in parts])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total_N)
    found = total_N.tolist()
    tops, bottoms = found[: len(pairs) : 2], found[1 : len(pairs) : 2]
    lengths = {name: square**0.5 for name, square in zip(sums.squares, found[len(pairs) :], strict=True)}
    whole = sum(lengths.values())
    values = {name: top / bottom for name, top, bottom in zip(sums.ratios, tops, bottoms, strict=True) if bottom}
    return values | {f"gradient_share/{name}": length / whole for name, length in lengths.items() if whole}


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Eval mode within; afterwards every module's own mode and the random states are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode

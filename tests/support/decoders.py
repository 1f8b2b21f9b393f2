"""What the tests of decoders and of the whole model share: a small encoder, texts, noise, a layer written out."""

import torch
from support.paths import GOLDEN
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.noise import Noise

VOCABULARY = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())


def small_encoder(layers=2, vocabulary=VOCABULARY, positions=64, dropout=0.0, scale=0.3):
    """An encoder of 32 dimensions and 4 heads in 64 bit; its weights (standard deviation `scale`) are always the same.

    Torch's random state is left as the weights have it, so that what is made next is always the same, too.
    """
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary.size, hidden_size=32, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=positions, initializer_range=scale,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return Encoder(BertForMaskedLM(config), vocabulary).double()


def batch(lengths=(12, 3, 7), pad=0, first=0):
    """Random texts of so many ordinary tokens, `pad` positions of padding more; first: number of the first passage."""
    size_B = torch.tensor(lengths)
    ids_BL = torch.randint(104, 200, (len(lengths), max(lengths) + 2), generator=torch.Generator().manual_seed(1))
    ids_BL = torch.nn.functional.pad(ids_BL, (0, pad))
    position_L = torch.arange(ids_BL.shape[1])
    ids_BL = ids_BL.masked_fill(position_L == size_B[:, None] + 1, 102).masked_fill(position_L == 0, 101)
    real_BL = position_L < size_B[:, None] + 2
    tokens = Tokens(ids_BL.masked_fill(~real_BL, 0), real_BL)
    return TextBatch({"passage": tokens}, torch.arange(len(lengths)) + first, torch.zeros(len(lengths)).long())


def encode(model, texts):
    """The pass over the view `passage`, and the noise of the texts."""
    noise = Noise(model.seed, texts.epoch_B, texts.passage_B)
    return model.encode("passage", texts, noise), noise


def layer_reference(layer, states_LD):
    """One post-norm layer over one unpadded text, head by head."""
    self = layer.attention.self
    size = self.attention_head_size
    query, key, value = self.query(states_LD), self.key(states_LD), self.value(states_LD)
    parts = []
    for head in range(self.num_attention_heads):
        part = slice(head * size, (head + 1) * size)
        parts.append((query[:, part] @ key[:, part].T / size**0.5).softmax(-1) @ value[:, part])
    out = layer.attention.output
    states_LD = out.LayerNorm(states_LD + out.dense(torch.cat(parts, -1)))
    inner = torch.nn.functional.gelu(layer.intermediate.dense(states_LD))
    return layer.output.LayerNorm(states_LD + layer.output.dense(inner))

"""Small generators and texts that the tests of replaced tokens share."""

import torch
from support.paths import GOLDEN
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.pretraining.noise import Noise

SIZE = 200
VOCABULARY = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *(f"w{i}" for i in range(155)), *(f"##p{i}" for i in range(40))]


def tokenizer(tmp_path, words=WORDS):
    """A tokenizer of SIZE word pieces."""
    path = tmp_path / f"vocab{len(list(tmp_path.iterdir()))}.txt"
    path.write_text("\n".join(words) + "\n")
    return BertTokenizerFast(vocab=str(path))


class TinyGenerator(Generator):
    """A random BERT with strong weights, so that its distributions differ from place to place."""

    def __init__(self, hidden_dropout=0.0, **options):
        super().__init__(**options)
        self.hidden_dropout = hidden_dropout

    def network(self, tokenizer, directory):
        config = BertConfig(
            vocab_size=SIZE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64, initializer_range=0.5, hidden_dropout_prob=self.hidden_dropout,
            attention_probs_dropout_prob=self.hidden_dropout,
        )  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return BertForMaskedLM(config)


class GivenLogits(TinyGenerator):
    """The same logits at every position."""

    def __init__(self, logits_V, **options):
        super().__init__(**options)
        self.logits_V = logits_V

    def network(self, tokenizer, directory):
        masked_lm = super().network(tokenizer, directory).to(self.logits_V.dtype)
        with torch.no_grad():
            masked_lm.cls.predictions.decoder.weight.zero_()
            masked_lm.cls.predictions.decoder.bias.copy_(self.logits_V)
        return masked_lm


class ReturnsOriginal(TinyGenerator):
    """Draws the original everywhere."""

    def replace(self, shown_BL, original_BL, selected_BL, real_BL, noise, salt, types_BL=None, size=None):
        return original_BL.clone(), None


def texts(lengths=(14, 3, 8, 1, 20), pad=0, seed=1, first=7):
    """A batch of random texts of ordinary words."""
    draw = torch.Generator().manual_seed(seed)
    rows = [torch.randint(104, SIZE, (size,), generator=draw).numpy() for size in lengths]
    tokens = VOCABULARY.pad(rows, 64).map(lambda tensor: torch.nn.functional.pad(tensor, (0, pad)))
    return TextBatch({"passage": tokens}, torch.arange(len(rows)) + first, torch.zeros(len(rows)).long())


def noise(batch, seed=0):
    return Noise(seed, batch.epoch_B, batch.passage_B)

"""The core trains in a raw loop with Lightning and Hydra out of reach."""

import subprocess
import sys

from support.paths import ROOT

SCRIPT = """
import sys
for name in ("pytorch_lightning", "lightning", "lightning_fabric", "hydra", "omegaconf"):
    sys.modules[name] = None  # importing it now raises

import numpy as np, torch
from transformers import BertConfig, BertForMaskedLM
from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View
from bmae_lightning.encoder.vocabulary import Vocabulary

torch.manual_seed(0)
vocabulary = Vocabulary.from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{i}" for i in range(45)])
config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
encoder = Encoder(BertForMaskedLM(config), vocabulary)
views = {"passage": View(UniformMask(0.3), BertCorruption())}
model = BottleneckMAE(encoder, ClsBottleneck(), views, {"enhanced": EnhancedDecoder(UniformMask(0.5))})
optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
rows = [np.arange(5, 5 + size) for size in (6, 9, 12, 15)]
tokens = vocabulary.pad(rows, 32)
curve = []
for epoch in range(40):
    batch = TextBatch({"passage": tokens}, torch.arange(4), torch.full((4,), epoch))
    output = model(batch)
    loss = sum(output.weights[name] * mean_loss(part, "micro_mean") for name, part in output.losses.items())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    curve.append(loss.item())
assert sum(curve[-5:]) < 0.7 * sum(curve[:5]), curve
"""


def test_raw_loop_learns_without_lightning():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, cwd=ROOT)

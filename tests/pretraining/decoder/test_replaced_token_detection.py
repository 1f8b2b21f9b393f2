"""ReplacedTokenDetectionDecoder and ReplacedObjective: one detector for both, binary losses at every content token."""

import torch
from support.decoders import batch, small_encoder
from torch.nn.functional import binary_cross_entropy_with_logits

from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.replaced_token_detection import ReplacedTokenDetectionDecoder
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.objective.replaced import ReplacedObjective
from bmae_lightning.pretraining.view import View

REPLACE = BertCorruption(mask=0.0, random=1.0)


def make():
    encoder = small_encoder(3, positions=32, scale=0.02)
    views = {"passage": View(UniformMask(0.3), REPLACE)}
    decoders = {"d": ReplacedTokenDetectionDecoder(UniformMask(0.5), REPLACE, layers=2)}
    return BottleneckMAE(encoder, ClsBottleneck(), views, decoders, objective=ReplacedObjective()).double()


def test_both_losses_are_binary_over_all_content_tokens():
    model, texts = make(), batch()
    losses = model(texts).losses
    assert losses["encoder/passage"].count_B.tolist() == losses["d"].count_B.tolist() == [12, 3, 7]
    noise = Noise(0, texts.epoch_B, texts.passage_B)
    seen = model.encode("passage", texts, noise)
    content_BL = ~model.encoder.vocabulary.special_V[seen.masked.tokens.ids_BL]
    logits_N = model.encoder.detection(seen.hidden_BLD[content_BL])[:, 0]
    target_N = (seen.masked.ids_BL != seen.masked.tokens.ids_BL)[content_BL].double()
    assert 0 < target_N.sum() < len(target_N)
    expected = binary_cross_entropy_with_logits(logits_N, target_N, reduction="sum")
    torch.testing.assert_close(losses["encoder/passage"].total, expected)


def test_one_detector_learns_from_both_sides():
    model = make()
    assert sum("detection" in name for name, _ in model.named_parameters()) == 4
    gradients = []
    for name in ("encoder/passage", "d"):
        model.zero_grad()
        model(batch()).losses[name].total.backward()
        gradients.append(model.encoder.detection[0].weight.grad.norm())
        assert model.encoder.masked_lm.bert.encoder.layer[0].output.dense.weight.grad.norm() > 0
    assert all(gradient > 0 for gradient in gradients)


def test_it_rebuilds_no_text():
    assert [one.rebuilt for one in make().rebuild(batch(), 2)] == [{}] * 2
